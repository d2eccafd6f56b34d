"""Puts the HTTP applications together: the API, and the pages of a process that serves none."""

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import Mapping, Sequence
from email.utils import formatdate
from typing import Any

import structlog
from litestar import Litestar, MediaType, Response, get
from litestar.config.cors import CORSConfig
from litestar.datastructures import MutableScopeHeaders
from litestar.di import Provide
from litestar.enums import HttpMethod, ScopeType
from litestar.exceptions import NotFoundException
from litestar.params import FromPath
from litestar.routes import HTTPRoute
from litestar.types import (
    ASGIApp,
    ControllerRouterHandler,
    HTTPResponseStartEvent,
    HTTPScope,
    Message,
    Receive,
    Scope,
    Send,
)
from uuid_utils import uuid4

from interfaces.http.api import Api, Dependencies, HttpOptions, OpsDependencies, RequestObserver
from interfaces.http.contract import Contract, ProblemAnswers, allow
from interfaces.http.openapi import openapi_document, openapi_yaml
from interfaces.http.problems import BY_SLUG
from interfaces.http.routes import API_PREFIX, documented_routes
from interfaces.http.system import liveness, ops_metrics, root_health, swagger_handlers

_log = structlog.get_logger(__name__)
# Asked first: making one of structlog's loggers for every request costs more than most of what it does here.
_level = logging.getLogger(__name__)

_SANE_ID = re.compile(r"[A-Za-z0-9._:+/=-]{1,128}")
# Anything else becomes one label, so that a stranger cannot make metrics grow.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-XSS-Protection": "1; mode=block",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": (
        "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    ),
    "Cache-Control": "no-store",
}
"""Headers of every answer that does not set its own."""

_ENCODED = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
# A body that is larger may still be on its way when its request is refused.
_SURELY_SENT = 64 * 1024
# After a refusal so much of a body is read and dropped: closing at once would reset the connection under a
# client that is still sending, before it has read why.
DRAINED_BYTES = 64 * 1024 * 1024
DRAINED_SECONDS = 20.0
_CLOSE = (b"connection", b"close")
_last_date = (-1, (b"date", b""))
_STRICT = (b"strict-transport-security", b"max-age=31536000")


def dated() -> tuple[bytes, bytes]:
    """The header that tells the second in which an answer is given."""
    global _last_date  # noqa: PLW0603 - formatting it for each answer costs more than all other headers
    now = int(time.time())
    if _last_date[0] != now:
        _last_date = (now, (b"date", formatdate(now, usegmt=True).encode()))
    return _last_date[1]


class Envelope:
    """Wraps an ASGI application; websockets and lifespan pass untouched."""

    def __init__(
        self, app: ASGIApp, observer: RequestObserver, allowed: Mapping[str, str], *, debug: bool
    ) -> None:
        """`allowed` tells the methods of each route: Litestar answers OPTIONS with those of one handler only.

        `debug` False adds Strict-Transport-Security whatever the scheme, for a proxy that ends TLS.
        """
        self._app = app
        self._observer = observer
        self._allowed = allowed
        self._debug = debug
        self._in_progress = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        self._in_progress += 1
        exchange = _Exchange(scope, secure=not self._debug or scope["scheme"] == "https")
        exchange.scope["state"]["in_progress"] = self._in_progress
        # Not `bound_contextvars`, which searches all variables of the context, twice a request.
        bound = structlog.contextvars.bind_contextvars(request_id=exchange.request_id)
        try:
            await self._app(
                exchange.scope,
                exchange.receiving(receive) if exchange.body_unread else receive,
                self._dressing(exchange, send),
            )
        finally:
            self._in_progress -= 1
            self._account(exchange)
            structlog.contextvars.reset_contextvars(**bound)
        if exchange.lingers:
            await _drain(receive)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _dressing(self, exchange: "_Exchange", send: Send) -> Send:
        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._dress(exchange, message)
            elif message["type"] == "http.response.body" and exchange.method == "HEAD":
                message = {
                    "type": "http.response.body",
                    "body": b"",
                    "more_body": message.get("more_body", False),
                }
            elif (
                message["type"] == "http.response.body"
                and exchange.refused_unread
                and not message.get("more_body", False)
            ):
                exchange.lingers = True
                message["more_body"] = True
            await send(message)

        return dressed

    def _dress(self, exchange: "_Exchange", message: HTTPResponseStartEvent) -> None:
        exchange.status = message["status"]
        headers = list(message["headers"])
        given = {name for name, _ in headers}
        headers += [header for header in _ENCODED if header[0] not in given]
        headers += (dated(), (b"x-request-id", exchange.request_id.encode()))
        if exchange.secure:
            headers.append(_STRICT)
        if exchange.refused_unread:
            headers.append(_CLOSE)
        message["headers"] = headers
        if exchange.method == "OPTIONS" and b"allow" in given:
            MutableScopeHeaders.from_message(message)["Allow"] = self._allowed[exchange.route]

    def _account(self, exchange: "_Exchange") -> None:
        seconds = time.perf_counter() - exchange.started
        method = exchange.method if exchange.method in _METHODS else "other"
        self._observer.observe(method, exchange.route, exchange.status, seconds)
        if _level.isEnabledFor(logging.DEBUG):
            _log.debug(
                "http_request",
                method=method,
                route=exchange.route,
                status=exchange.status,
                duration_ms=round(seconds * 1000, 3),
            )


async def _drain(receive: Receive) -> None:
    """Read and drop the rest of a body, within the bounds."""
    left = DRAINED_BYTES
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAINED_SECONDS):
            while left > 0:
                message = await receive()
                if message["type"] != "http.request" or not message["more_body"]:
                    return
                left -= len(message["body"])


class _Exchange:
    """One request and what became of it."""

    def __init__(self, scope: HTTPScope, *, secure: bool) -> None:
        # RFC 9110: HEAD is GET without the content; routes need not know. The server must, and reads its own
        # scope again when it writes: given GET, it would miss the content.
        self.scope: HTTPScope = {**scope, "method": HttpMethod.GET} if scope["method"] == "HEAD" else scope
        self.secure = secure
        self.method: str = scope["method"]
        self.status = 500
        self.body_unread = _large_body(scope)
        self.lingers = False
        self.started = time.perf_counter()
        named = (value for name, value in scope["headers"] if name == b"x-request-id")
        sent = next(named, b"").decode("latin-1")
        self.request_id = sent if _SANE_ID.fullmatch(sent) else uuid4().hex
        self.scope["state"]["correlation_id"] = self.request_id
        # For routes whose content is long: nobody will read it.
        self.scope["state"]["without_content"] = self.method == "HEAD"

    def receiving(self, receive: Receive) -> Receive:
        """The same, watched for the end of the body."""

        async def watched() -> Any:
            message = await receive()
            if message["type"] != "http.request" or not message.get("more_body", False):
                self.body_unread = False
            return message

        return watched

    @property
    def refused_unread(self) -> bool:
        """True when the request was refused before all of a large body was read."""
        return self.body_unread and self.status >= 400

    @property
    def route(self) -> str:
        """The template of the path; known once the request was routed."""
        return self.scope.get("path_template") or "unmatched"


def _large_body(scope: HTTPScope) -> bool:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return len(value) > 9 or not value.isdigit() or int(value) > _SURELY_SENT
        if name == b"transfer-encoding":
            return True
    return False


_LINKS = {
    "name": "Chronoledger",
    "tasks": "/api/v1/tasks",
    "results": "/api/v1/results",
    "metrics": "/metrics",
    "health": "/health",
    "documentation": "/swagger/index.html",
    "openapi": "/openapi.json",
    "problems": "/problems",
}


@get(["/", API_PREFIX], include_in_schema=False)
async def index() -> dict[str, str]:
    """The paths of everything."""
    return _LINKS


@get("/problems", include_in_schema=False)
async def list_problems() -> list[dict[str, Any]]:
    """Every kind of problem."""
    return [
        {"type": kind.uri, "status": kind.status, "title": kind.title, "advice": kind.advice}
        for kind in BY_SLUG.values()
    ]


@get("/problems/{slug:str}", include_in_schema=False, media_type=MediaType.TEXT)
async def explain_problem(slug: FromPath[str]) -> str:
    """The page that the `type` of a problem leads to."""
    kind = BY_SLUG.get(slug)
    if kind is None:
        raise NotFoundException
    return f"{kind.title} (HTTP {kind.status})\n\n{kind.advice}\n"


@get("/openapi.json", include_in_schema=False)
async def openapi_as_json() -> dict[str, Any]:
    """The OpenAPI document."""
    return openapi_document()


@get("/openapi.yaml", include_in_schema=False)
async def openapi_as_yaml() -> Response[str]:
    """The OpenAPI document, as YAML."""
    return Response(openapi_yaml(), media_type="application/yaml")


page_handlers = [index, list_problems, explain_problem, openapi_as_json, openapi_as_yaml]


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
    contract = Contract(openapi_document(), options.max_requests)
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
