"""Headers as the user wrote them: aiohttp by itself writes their values in UTF-8."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
from aiohttp.http_writer import StreamWriter

from infrastructure.http_caller.outgoing import HEADER_ENCODING

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.client_reqrep import ClientResponse
    from aiohttp.connector import Connection


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
