"""Answers that are written as they stand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from litestar import Response
from litestar.response.base import ASGIResponse
from litestar.serialization import encode_json

if TYPE_CHECKING:
    from litestar import Request
    from litestar.types import Receive, Scope, Send


class Written[T](Response[T]):
    """JSON with headers of its own and no others: Litestar's response looks for each among all the others.

    Who answers so gives a status code that may have a body.
    """

    def to_asgi_response(self, app: Any, request: Request[Any, Any, Any], **_: Any) -> ASGIResponse:
        """What sends it; nothing that is said about the route in general applies."""
        assert self.status_code is not None, "given by who answers so"
        return _Sending(encode_json(self.content), self.headers, self.status_code)


class _Sending(ASGIResponse):
    """Head and body, made of bytes alone."""

    __slots__ = ("_head",)

    def __init__(self, body: bytes, headers: dict[str, str], status_code: int) -> None:
        self.body = body
        self._head = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        self._head += [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        self.status_code = status_code

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self._head})
        await send({"type": "http.response.body", "body": self.body, "more_body": False})
