"""The outermost layer around every answer, whoever gives it: ids, headers, HEAD, measuring, the access log.

It wraps the whole application because Litestar's own middleware starts behind the router, so that an unknown
path or a refused method would go without.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING
from uuid import uuid4

import structlog
from litestar.datastructures import Headers, MutableScopeHeaders
from litestar.enums import ScopeType

if TYPE_CHECKING:
    from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

    from interfaces.http.dependencies import RequestObserver

_log = structlog.get_logger(__name__)

_SANE_ID = re.compile(r"[A-Za-z0-9._:+/=-]{1,128}")
# Anything else becomes one label, so that a stranger cannot make metrics grow.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-XSS-Protection": "1; mode=block",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": (
        "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    ),
    "Cache-Control": "no-store",
}
_ONE_YEAR = "max-age=31536000"


class Envelope:
    """Wraps an ASGI application; websockets and lifespan pass untouched."""

    def __init__(self, app: ASGIApp, observer: RequestObserver, *, debug: bool) -> None:
        """`debug` False adds Strict-Transport-Security whatever the scheme, for a proxy that ends TLS."""
        self._app = app
        self._observer = observer
        self._debug = debug

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == ScopeType.HTTP:
            await _Exchange(scope, self._observer, secure=_secure(scope, debug=self._debug)).run(
                self._app, receive, send
            )
        else:
            await self._app(scope, receive, send)


def _secure(scope: HTTPScope, *, debug: bool) -> bool:
    return not debug or scope["scheme"] == "https"


class _Exchange:
    """One request and its answer."""

    def __init__(self, scope: HTTPScope, observer: RequestObserver, *, secure: bool) -> None:
        self._scope = scope
        self._observer = observer
        self._method: str = scope["method"]
        self._secure = secure
        self._status = 500
        self._started = time.perf_counter()
        self._request_id = _request_id(scope)

    async def run(self, app: ASGIApp, receive: Receive, send: Send) -> None:
        self._scope["state"]["correlation_id"] = self._request_id
        if self._method == "HEAD":
            # RFC 9110: HEAD is GET without the content; routes need not know.
            self._scope["method"] = "GET"

        async def enveloped(message: Message) -> None:
            await send(self._dressed(message))

        with structlog.contextvars.bound_contextvars(request_id=self._request_id):
            try:
                await app(self._scope, receive, enveloped)
            finally:
                self._account()

    def _dressed(self, message: Message) -> Message:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            headers = MutableScopeHeaders.from_message(message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            if self._secure:
                headers["Strict-Transport-Security"] = _ONE_YEAR
            headers["X-Request-ID"] = self._request_id
        elif message["type"] == "http.response.body" and self._method == "HEAD":
            return {"type": "http.response.body", "body": b"", "more_body": message["more_body"]}
        return message

    def _account(self) -> None:
        seconds = time.perf_counter() - self._started
        method = self._method if self._method in _METHODS else "other"
        route = self._scope.get("path_template") or "unmatched"
        self._observer.observe(method, route, self._status, seconds)
        _log.debug(
            "http_request",
            method=method,
            route=route,
            status=self._status,
            duration_ms=round(seconds * 1000, 3),
        )


def _request_id(scope: HTTPScope) -> str:
    sent = Headers.from_scope(scope).get("x-request-id", "")
    return sent if _SANE_ID.fullmatch(sent) else uuid4().hex
