"""Requests as the user wrote them: aiohttp and httpx by themselves tidy URLs and write headers in UTF-8."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
import httpx
from aiohttp.http_writer import StreamWriter
from httpx_aiohttp import AiohttpTransport
from httpx_aiohttp.transport import AiohttpResponseStream, map_aiohttp_exceptions
from yarl import URL

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.client_reqrep import ClientResponse
    from aiohttp.connector import Connection

TARGET = "target"
"""The extension of a request that holds its path and query, as httpcore has it."""

HEADER_ENCODING = "iso-8859-1"
"""Of values; RFC 9110, 5.5."""


class VerbatimTransport(AiohttpTransport):
    """httpx's transport over aiohttp; a request's `target` extension is sent byte by byte."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request. Raises `httpx.TransportError`."""
        if not isinstance(self.client, aiohttp.ClientSession):
            self.client = self.get_client()
        with map_aiohttp_exceptions():
            response = await self.client.request(
                request.method,
                address(request),
                headers=request.headers,
                data=request.content or None,
                allow_redirects=False,
            )
        return httpx.Response(
            response.status,
            headers=response.raw_headers,
            stream=AiohttpResponseStream(response),
            request=request,
        )


def address(request: httpx.Request) -> URL:
    """The request's URL for aiohttp. As a path, the target keeps even a `?` that nothing follows."""
    target: bytes = request.extensions[TARGET]
    where = request.url.netloc.decode("ascii")
    return URL.build(scheme=request.url.scheme, authority=where, path=target.decode("ascii"), encoded=True)


class VerbatimRequest(aiohttp.ClientRequest):
    """Writes header values in ISO 8859-1, one byte a character."""

    async def send(self, conn: Connection) -> ClientResponse:
        """Write the request's head and begin to write its body."""
        if self._body is None and not all(value.isascii() for value in self.headers.values()):
            self._body = aiohttp.BytesPayload(b"")  # so that `write_bytes` has its turn
        return await super().send(conn)

    async def write_bytes(
        self, writer: AbstractStreamWriter, conn: Connection, content_length: int | None = None
    ) -> None:
        """Write what is left to write: the head, which the writer holds back in UTF-8, and the body."""
        assert isinstance(writer, StreamWriter)
        if (head := writer._headers_buf) is not None and not head.isascii():
            writer._headers_buf = head.decode().encode(HEADER_ENCODING)
        await super().write_bytes(writer, conn, content_length)
