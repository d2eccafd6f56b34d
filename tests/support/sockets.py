"""Connections without a network, and whole answers to feed to them."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from infrastructure.http_caller.bounds import Bounds
from infrastructure.http_caller.connection import Connection

OK = b"HTTP/1.1 200 OK\r\n"
HINT = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
WHOLE = {
    "length": OK + b"Content-Length: 5\r\nX-Empty:\r\n\r\nhello",
    "chunks": OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nT: 1\r\n\r\n",
    "hint": HINT + OK + b"Content-Length: 5\r\n\r\nhello",
    "line feeds": b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
    "no body": b"HTTP/1.1 204 No Content\r\n\r\n",
}


class Socket(asyncio.Transport):
    """What a connection is told to send, and whether it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += data

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 0


class Asked(NamedTuple):
    """A connection with a request under way."""

    connection: Connection
    socket: Socket
    head: asyncio.Task[None]


async def asked(*, of_head: bool = False, bounds: Bounds | None = None) -> Asked:
    """A new connection, asked for the first time."""
    connection, socket = Connection(bounds or Bounds(body=10)), Socket()
    connection.connection_made(socket)
    return Asked(connection, socket, await again(connection, of_head=of_head))


async def again(connection: Connection, *, of_head: bool = False) -> asyncio.Task[None]:
    """The next request on a connection."""
    head = asyncio.create_task(connection.ask(b"GET / HTTP/1.1\r\n\r\n", of_head=of_head))
    await asyncio.sleep(0)
    return head


async def fed(connection: Connection, *parts: bytes) -> None:
    """Have bytes arrive, each part in a turn of the loop of its own."""
    for part in parts:
        connection.data_received(part)
        await asyncio.sleep(0)
