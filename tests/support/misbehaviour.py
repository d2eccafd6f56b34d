"""How the receiver answers: one function a behaviour, from the well-formed to the hostile."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import msgspec

if TYPE_CHECKING:
    from tests.support.receiver import Receiver

CHUNK = 64 * 1024
REASONS = {200: "OK", 302: "Found", 503: "Service Unavailable"}
BODILESS = {101, 204, 304}


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One request as it arrived; `at` is `time.time()`, `connection` counts connections from 1."""

    method: str
    path: str
    headers: dict[str, str]
    body: str
    at: float
    connection: int


class Exchange:
    """The request being answered, its path's argument, and the connection to answer on."""

    def __init__(
        self,
        call: Call,
        argument: str,
        receiver: Receiver,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.call = call
        self.argument = argument
        self.receiver = receiver
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        """Write and wait until the peer takes it; raises ConnectionError when the peer is gone."""
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, status: int, body: bytes = b'{"ok":true}', *headers: str) -> None:
        """Send a whole, well-formed answer on a connection that stays open."""
        lines = [
            f"HTTP/1.1 {status} {REASONS.get(status, 'Whatever')}",
            "Content-Type: application/json",
            *([] if status in BODILESS else [f"Content-Length: {len(body)}"]),
            *headers,
        ]
        content = b"" if self.call.method == "HEAD" or status in BODILESS else body
        await self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + content)

    async def repeat(self, data: bytes) -> None:
        """Send the same bytes until the peer goes away."""
        while True:
            await self.send(data)

    async def wait_until_gone(self) -> None:
        """Say nothing more; return when the peer has closed the connection."""
        while await self.reader.read(CHUNK):
            pass


type Script = Callable[[Exchange], Awaitable[bool | None]]
"""Answers one exchange; True keeps the connection for another request, else it is closed."""


async def ok(exchange: Exchange) -> bool:
    await exchange.answer(200)
    return True


async def echo(exchange: Exchange) -> bool:
    await exchange.answer(200, msgspec.json.encode(exchange.call))
    return True


async def status(exchange: Exchange) -> bool:
    await exchange.answer(int(exchange.argument))
    return True


async def slow(exchange: Exchange) -> bool:
    await asyncio.sleep(float(exchange.argument))
    await exchange.answer(200)
    return True


async def redirect(exchange: Exchange) -> bool:
    await exchange.answer(302, b"", "Location: /ok", "Set-Cookie: seen=1")
    return True


async def onward(exchange: Exchange) -> bool:
    """/onward/307?to=URL redirects with that status to the percent-encoded URL; without one, nowhere."""
    places = parse_qs(urlsplit(exchange.call.path).query).get("to", [])
    await exchange.answer(int(exchange.argument), b"", *(f"Location: {place}" for place in places))
    return True


async def flaky(exchange: Exchange) -> bool:
    """503 for the first N requests with one Idempotency-Key (or of one path, without a key); then 200."""
    key = exchange.call.headers.get("idempotency-key", exchange.call.path)
    exchange.receiver.failures[key] += 1
    await exchange.answer(503 if exchange.receiver.failures[key] <= int(exchange.argument) else 200)
    return True


async def stale(exchange: Exchange) -> bool:
    """200, and the connection dies under the next request, as if it had been closed while idle."""
    exchange.receiver.doomed.add(exchange.call.connection)
    await exchange.answer(200)
    return True


async def big(exchange: Exchange) -> None:
    size = int(exchange.argument)
    await exchange.send(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode())
    for start in range(0, size, CHUNK):
        await exchange.send(b"b" * min(CHUNK, size - start))


async def endless(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    await exchange.repeat(f"{CHUNK:x}\r\n".encode() + b"e" * CHUNK + b"\r\n")


async def header_bomb(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\n")
    await exchange.repeat(b"X-Bomb: " + b"h" * 1000 + b"\r\n")


async def header_line_bomb(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\nX-Bomb: ")
    await exchange.repeat(b"h" * CHUNK)


async def trailer_bomb(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n")
    await exchange.repeat(b"X-Bomb: " + b"h" * 1000 + b"\r\n")


async def trailer_line_bomb(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Bomb: ")
    await exchange.repeat(b"h" * CHUNK)


async def informational_bomb(exchange: Exchange) -> None:
    await exchange.repeat(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 100)


async def hang(exchange: Exchange) -> None:
    await exchange.wait_until_gone()


async def stall(exchange: Exchange) -> None:
    """The status line and half of the body arrive; the rest never does."""
    await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf ")
    await exchange.wait_until_gone()


async def half_close(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf ")


async def close(exchange: Exchange) -> None:
    """Read the request and close without a word."""


async def reset(exchange: Exchange) -> None:
    sock: socket.socket = exchange.writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    exchange.writer.transport.abort()


def followed_by_reset(data: bytes) -> Script:
    """A script that sends these bytes and breaks off the connection."""

    async def send(exchange: Exchange) -> None:
        await exchange.send(data)
        for _ in range(
            10
        ):  # rounds of the loop, in which the peer reads: a reset may overtake what it follows
            await asyncio.sleep(0)
        await reset(exchange)

    return send


def raw(data: bytes) -> Script:
    """A script that sends these bytes and closes."""

    async def send(exchange: Exchange) -> None:
        await exchange.send(data)

    return send


SCRIPTS: dict[str, Script] = {
    "ok": ok,
    "echo": echo,
    "status": status,
    "slow": slow,
    "redirect": redirect,
    "onward": onward,
    "flaky": flaky,
    "stale": stale,
    "big": big,
    "endless": endless,
    "header-bomb": header_bomb,
    "header-line-bomb": header_line_bomb,
    "trailer-bomb": trailer_bomb,
    "trailer-line-bomb": trailer_line_bomb,
    "informational-bomb": informational_bomb,
    "hang": hang,
    "stall": stall,
    "half-close": half_close,
    "close": close,
    "reset": reset,
    "torn": raw(b"HTTP/1.1 200 OK\r\nContent-Le"),
    "torn-by-reset": followed_by_reset(b"HTTP/1.1 200 OK\r\nContent-Le"),
    "body-reset": followed_by_reset(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf "),
    "unframed": raw(b"HTTP/1.1 200 OK\r\n\r\nall of it"),
    "unframed-reset": followed_by_reset(b"HTTP/1.1 200 OK\r\n\r\nhalf "),
    "long-header": raw(b"HTTP/1.1 200 OK\r\nX-Long: " + b"h" * 40_000 + b"\r\nContent-Length: 0\r\n\r\n"),
    "hinted": raw(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
    "garbage": raw(b"\x16\x03\x01 this is no HTTP\n\n" * 8),
    "invalid-utf8": raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab\xff\xfe\xc3(\x00cd"),
    "two-lengths": raw(
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    ),
    "chunked-bad": raw(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\nno size\r\n"
    ),
}
"""First path segment → behaviour; the second one is its argument, as in /status/503."""


class Crowd:
    """Answers so slowly that calls meet, and remembers how many there were at most."""

    def __init__(self) -> None:
        self._under_way = 0
        self.most = 0

    async def answer(self, exchange: Exchange) -> bool:
        """A script of the receiver."""
        self._under_way += 1
        self.most = max(self.most, self._under_way)
        await asyncio.sleep(0.02)
        self._under_way -= 1
        await exchange.answer(200)
        return True
