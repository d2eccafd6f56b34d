"""The outermost layer around every answer, whoever gives it: ids, headers, HEAD, measuring, the access log.

It wraps the whole application because Litestar's own middleware starts behind the router, so that an unknown
path or a refused method would go without.
"""

from __future__ import annotations

import logging
import re
import time
from typing import TYPE_CHECKING

import structlog
from litestar.datastructures import MutableScopeHeaders
from litestar.enums import HttpMethod, ScopeType
from uuid_utils import uuid4

if TYPE_CHECKING:
    from collections.abc import Mapping

    from litestar.types import (
        ASGIApp,
        HTTPResponseStartEvent,
        HTTPScope,
        Message,
        Receive,
        Scope,
        Send,
    )

    from interfaces.http.dependencies import RequestObserver

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
"""What every answer has, unless it says otherwise."""

_ENCODED = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
_STRICT = (b"strict-transport-security", b"max-age=31536000")


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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, secure=not self._debug or scope["scheme"] == "https")
        # Not `bound_contextvars`, which searches all variables of the context, twice a request.
        bound = structlog.contextvars.bind_contextvars(request_id=exchange.request_id)
        try:
            await self._app(exchange.scope, receive, self._dressing(exchange, send))
        finally:
            self._account(exchange)
            structlog.contextvars.reset_contextvars(**bound)

    def _dressing(self, exchange: _Exchange, send: Send) -> Send:
        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._dress(exchange, message)
            elif message["type"] == "http.response.body" and exchange.method == "HEAD":
                message = {
                    "type": "http.response.body",
                    "body": b"",
                    "more_body": message.get("more_body", False),
                }
            await send(message)

        return dressed

    def _dress(self, exchange: _Exchange, message: HTTPResponseStartEvent) -> None:
        exchange.status = message["status"]
        headers = list(message["headers"])
        given = {name for name, _ in headers}
        headers += [header for header in _ENCODED if header[0] not in given]
        headers.append((b"x-request-id", exchange.request_id.encode()))
        if exchange.secure:
            headers.append(_STRICT)
        message["headers"] = headers
        if exchange.method == "OPTIONS" and b"allow" in given:
            MutableScopeHeaders.from_message(message)["Allow"] = self._allowed[exchange.route]

    def _account(self, exchange: _Exchange) -> None:
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


class _Exchange:
    """One request and what became of it."""

    def __init__(self, scope: HTTPScope, *, secure: bool) -> None:
        # RFC 9110: HEAD is GET without the content; routes need not know. The server must, and reads its own
        # scope again when it writes: given GET, it would miss the content.
        self.scope: HTTPScope = {**scope, "method": HttpMethod.GET} if scope["method"] == "HEAD" else scope
        self.secure = secure
        self.method: str = scope["method"]
        self.status = 500
        self.started = time.perf_counter()
        named = (value for name, value in scope["headers"] if name == b"x-request-id")
        sent = next(named, b"").decode("latin-1")
        self.request_id = sent if _SANE_ID.fullmatch(sent) else uuid4().hex
        self.scope["state"]["correlation_id"] = self.request_id
        # For routes whose content is long: nobody will read it.
        self.scope["state"]["without_content"] = self.method == "HEAD"

    @property
    def route(self) -> str:
        """The template of the path; known once the request was routed."""
        return self.scope.get("path_template") or "unmatched"
