"""Puts the HTTP applications together: the API, and the pages of a process that serves none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from litestar import Litestar
from litestar.config.cors import CORSConfig
from litestar.di import Provide
from litestar.routes import HTTPRoute

from interfaces.http.api import Api
from interfaces.http.contract import Contract
from interfaces.http.envelope import Envelope
from interfaces.http.openapi import openapi_document
from interfaces.http.pages import page_handlers
from interfaces.http.problem_answers import ProblemAnswers, allow
from interfaces.http.routes import documented_routes
from interfaces.http.service import liveness, ops_metrics, root_health
from interfaces.http.swagger_ui import swagger_handlers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from litestar.types import ControllerRouterHandler

    from interfaces.http.dependencies import Dependencies, HttpOptions, OpsDependencies, RequestObserver


def create_app(dependencies: Dependencies, options: HttpOptions) -> Litestar:
    """The API with its documents, Swagger UI, metrics and health."""
    injected = {
        "api": Api(dependencies, options),
        "health": dependencies.health,
        "exposition": dependencies.exposition,
    }
    routes = [*documented_routes(), *page_handlers, *swagger_handlers]
    return _application(routes, injected, options, dependencies.observer)


def create_ops_app(dependencies: OpsDependencies, options: HttpOptions) -> Litestar:
    """Only `/health` and `/metrics`, for a process whose work is another one."""
    injected = {"health": dependencies.health, "exposition": dependencies.exposition}
    return _application([root_health, liveness, ops_metrics], injected, options, dependencies.observer)


def _application(
    routes: Sequence[ControllerRouterHandler],
    injected: Mapping[str, object],
    options: HttpOptions,
    observer: RequestObserver,
) -> Litestar:
    contract = Contract(openapi_document())
    app = Litestar(
        route_handlers=routes,
        dependencies={name: _provided(value) for name, value in injected.items()},
        before_request=contract.check,
        cors_config=_cors(options),
        exception_handlers={Exception: ProblemAnswers(contract).answer},
        request_max_body_size=options.max_body_bytes,
        # The document is made once, apart from what is served, and logging is configured by the process.
        openapi_config=None,
        logging_config=None,
    )
    _resolve_in_turn(app)
    allowed = {route.path_format: allow(route.methods) for route in app.routes}
    app.asgi_handler = Envelope(app.asgi_handler, observer, allowed, debug=options.debug)
    return app


def _resolve_in_turn(app: Litestar) -> None:
    """Litestar resolves dependencies that do not need each other in a task group of their own.

    None of ours waits for anything, and the group takes a fifth of what reading a task costs.
    """
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            for _, model in route.route_handler_map.values():
                model.dependency_batches = [{one} for batch in model.dependency_batches for one in batch]


def _provided(value: object) -> Provide:
    return Provide(lambda: value, sync_to_thread=False)


def _cors(options: HttpOptions) -> CORSConfig | None:
    if not options.cors_allowed_origins:
        return None
    return CORSConfig(
        allow_origins=list(options.cors_allowed_origins),
        allow_methods=["GET", "POST", "PUT", "DELETE"],
        allow_headers=[
            "Content-Type",
            "Idempotency-Key",
            "If-Match",
            "Prefer",
            "X-Change-Reason",
            "X-Request-ID",
        ],
        expose_headers=[
            "ETag",
            "Location",
            "Preference-Applied",
            "Retry-After",
            "X-Event-Position",
            "X-Request-ID",
        ],
    )
