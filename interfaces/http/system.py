"""The processes that do the work: who is alive, and how they share it."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

from litestar import MediaType, Request, Response, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath
from litestar.response import Redirect
from msgspec import Meta, Struct

from interfaces.http import documentation as doc
from interfaces.http.answers import Alive, HealthReport, Metrics
from interfaces.http.api import Api
from interfaces.http.dependencies import Exposition, Health
from interfaces.http.parameters import AsOf, Freshness, Injected, reflecting
from interfaces.http.problems import ARCHIVE_AWAY, DATABASE_UNAVAILABLE, READ_MODELS_MISSING, TOO_MUCH_HISTORY


class Node(Struct, frozen=True, kw_only=True):
    """A process as it was at its last heartbeat, one a second; a run is a node of its own."""

    name: Annotated[str, Meta(description="`NODE_NAME` and what tells this run from others.")]
    role: Literal["projector", "scheduler"]
    alive: Annotated[bool, Meta(description="false: silent for `NODE_EXPIRY_SECONDS`, and taken over.")]
    started_at: datetime
    heartbeat_age_seconds: float
    claims: Annotated[
        bool | None,
        Meta(description="false: it starts, stops, is silent, or its clock is wrong. Schedulers only."),
    ]
    clock_right: Annotated[
        bool | None, Meta(description="Within `MAX_CLOCK_OFFSET_SECONDS` of the database's. Schedulers only.")
    ]
    clock_offset_seconds: Annotated[
        float | None, Meta(description="Its clock minus the database's. Schedulers only.")
    ]
    share: Annotated[
        float | None,
        Meta(description="Part of the tasks due soon that is its own, 0 to 1, by a sample. Schedulers only."),
    ]
    in_flight: Annotated[int | None, Meta(description="Calls being made. Schedulers only.")]
    due_index_entries: Annotated[
        int | None, Meta(description="Tasks due soon that it knows. Schedulers only.")
    ]
    lag_events: Annotated[
        int | None,
        Meta(
            description="Events that a scheduler has not followed, or that the projectors have not applied."
        ),
    ]


class NodeList(Struct, frozen=True):
    """All that have beaten within a day and did not leave in peace."""

    items: list[Node]


@get(
    "/nodes",
    operation_id="listNodes",
    summary="List nodes",
    description="Schedulers and projectors. Schedulers share the tasks among those that claim.",
    response_description="The nodes, those that started first coming first.",
    responses=doc.problems(DATABASE_UNAVAILABLE, READ_MODELS_MISSING),
    tags=["service"],
)
async def list_nodes(api: Injected[Api]) -> NodeList:
    """Who is there, and in what state."""
    return NodeList(list(await api.parts.nodes.nodes()))


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
        responses=doc.problems() | doc.UNHEALTHY,  # told when the service is too busy as well
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


# Strict but for inline styles, which Swagger UI sets on its elements.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>Chronoledger API</title>
  <link rel="icon" href="assets/favicon-32x32.png" type="image/png">
  <link rel="stylesheet" href="assets/swagger-ui.css">
</head>
<body>
  <div id="swagger-ui"></div>
  <script src="assets/swagger-ui-bundle.js"></script>
  <script src="start.js"></script>
</body>
</html>
"""
# A file of its own, because the policy above allows no inline script. No validator: it is on the internet.
_START = """window.onload = () => {
  SwaggerUIBundle({
    url: "../openapi.json",
    dom_id: "#swagger-ui",
    deepLinking: true,
    validatorUrl: null,
    presets: [SwaggerUIBundle.presets.apis],
  });
};
"""
# By name, so no path ever reaches the disk.
_ASSETS = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}


class _Asset(Struct, frozen=True):
    content: bytes
    media_type: str
    etag: str


@get("/swagger", include_in_schema=False)
async def swagger_root() -> Redirect:
    """To the page."""
    return Redirect("/swagger/index.html")


@get("/swagger/index.html", include_in_schema=False, media_type=MediaType.HTML)
async def swagger_page() -> Response[str]:
    """The page."""
    return Response(_PAGE, media_type=MediaType.HTML, headers={"Content-Security-Policy": _POLICY})


@get("/swagger/start.js", include_in_schema=False)
async def swagger_start() -> Response[str]:
    """What starts Swagger UI on our document."""
    return Response(_START, media_type="text/javascript")


@get("/swagger/assets/{name:str}", include_in_schema=False)
async def swagger_asset(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[bytes]:
    """A file of Swagger UI; browsers keep it and ask again only whether it is still the same."""
    if name not in _ASSETS:
        raise NotFoundException
    asset = _asset(name)
    headers = {"ETag": asset.etag, "Cache-Control": "public, max-age=3600"}
    if request.headers.get("if-none-match") == asset.etag:
        return Response(b"", status_code=304, headers=headers, media_type=asset.media_type)
    return Response(asset.content, headers=headers, media_type=asset.media_type)


@lru_cache
def _asset(name: str) -> _Asset:
    content = (static_folder() / name).read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:32]
    return _Asset(content=content, media_type=_ASSETS[name], etag=f'"{digest}"')


def static_folder() -> Path:
    """Where the installed files are. Raises `FileNotFoundError` when they are not installed."""
    # Found, not imported: the package's code, a server of its own kind, is of no use here.
    spec = find_spec("swagger_ui")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("Install swagger-ui-py: it holds the files of Swagger UI.")
    return Path(spec.origin).parent / "static"


swagger_handlers = [swagger_root, swagger_page, swagger_start, swagger_asset]
