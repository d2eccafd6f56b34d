"""The service about itself: health and metrics."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from litestar import MediaType, Request, Response, get

from interfaces.http import documentation as doc
from interfaces.http.answers import Metrics
from interfaces.http.api import Api
from interfaces.http.as_of import AsOf, reflecting
from interfaces.http.dependencies import Exposition, Health
from interfaces.http.health import Alive, HealthReport
from interfaces.http.injection import Injected
from interfaces.http.parameters import Freshness
from interfaces.http.problem_types import (
    ARCHIVE_AWAY,
    DATABASE_UNAVAILABLE,
    READ_MODELS_MISSING,
    TOO_MUCH_HISTORY,
)


async def _health(health: Injected[Health]) -> Response[HealthReport]:
    """200 when everything works, else 503 with the failing part."""
    report = await health.report()
    return Response(report, status_code=200 if report.status == "healthy" else 503)


async def _figures(
    api: Injected[Api], freshness: Injected[Freshness], past: Injected[AsOf]
) -> Response[Metrics]:
    """Counted over what is stored, so they survive a restart and are the same at every process."""
    moment = await api.moment(past)
    if moment is None:
        await api.reach(freshness.min_position)
        figures = await api.parts.queries.figures(datetime.now(UTC))
    else:
        figures = await api.parts.past.figures(moment)
    return Response(Metrics.of_figures(figures), headers=reflecting(moment))


def _health_at(path: str, operation_id: str) -> Any:
    return get(
        path,
        operation_id=operation_id,
        summary="Health",
        description="Whether the database answers, the projectors keep up and a scheduler is alive.",
        response_description="Everything works.",
        responses=doc.UNHEALTHY | doc.problems(),
        tags=["service"],
    )(_health)


@get(
    "/health/live",
    operation_id="getLiveness",
    summary="Liveness",
    description="That this process serves requests, whatever it stands on: what to restart it by.",
    media_type=MediaType.JSON,
    response_description="It does.",
    responses=doc.problems(),
    tags=["service"],
)
async def liveness() -> Alive:
    """Asks nothing of anybody: a restart does not mend a database."""
    return Alive()


api_health = _health_at("/health", "getApiHealth")
root_health = _health_at("/health", "getHealth")

api_metrics = get(
    "/metrics",
    operation_id="getApiMetrics",
    summary="Metrics as JSON",
    response_headers=[doc.REFLECTED_POSITION],
    response_description="The figures.",
    responses=doc.problems(TOO_MUCH_HISTORY, *doc.READING, ARCHIVE_AWAY),
    tags=["service"],
)(_figures)


@get(
    "/metrics",
    operation_id="getMetrics",
    summary="Metrics for Prometheus",
    description="Prometheus' text format; the figures of `/api/v1/metrics` when `Accept` prefers JSON.",
    media_type=MediaType.TEXT,
    response_description="The metrics.",
    responses=doc.problems(DATABASE_UNAVAILABLE, READ_MODELS_MISSING),
    tags=["service"],
)
async def root_metrics(
    request: Request[Any, Any, Any],
    api: Injected[Api],
    exposition: Injected[Exposition],
) -> Response[Any]:
    """Both readers are served at the same place."""
    if (
        request.accept.best_match(["text/plain", "application/json"], default="text/plain")
        == "application/json"
    ):
        figures = await api.parts.queries.figures(datetime.now(UTC))
        return Response(Metrics.of_figures(figures), media_type=MediaType.JSON)
    return await _exposed(exposition)


@get("/metrics", media_type=MediaType.TEXT)
async def ops_metrics(exposition: Injected[Exposition]) -> Response[Any]:
    """The metrics of a process that serves no API."""
    return await _exposed(exposition)


async def _exposed(exposition: Exposition) -> Response[Any]:
    text, content_type = await exposition.render()
    # Litestar names the charset of every text by itself.
    return Response(text, media_type=content_type.removesuffix("; charset=utf-8"))
