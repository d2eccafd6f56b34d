"""A local HTTP server that records every request and answers as badly as its path asks.

In a test: `async with Receiver() as receiver: … receiver.url("/status/503") …`. As a process of its own, for
tests that kill the service: `python -m tests.support.receiver --port 0 --log FILE` prints its port, then
appends one JSON line a request to FILE, flushed before the answer is sent.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import socket
import struct
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self
from urllib.parse import urlsplit

import msgspec

if TYPE_CHECKING:
    import ssl

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
    "flaky": flaky,
    "stale": stale,
    "big": big,
    "endless": endless,
    "header-bomb": header_bomb,
    "header-line-bomb": header_line_bomb,
    "trailer-bomb": trailer_bomb,
    "informational-bomb": informational_bomb,
    "hang": hang,
    "stall": stall,
    "half-close": half_close,
    "close": close,
    "reset": reset,
    "garbage": raw(b"\x16\x03\x01 this is no HTTP\n\n" * 8),
    "invalid-utf8": raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab\xff\xfe\xc3(\x00cd"),
    "chunked-bad": raw(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\nno size\r\n"
    ),
}
"""First path segment → behaviour; the second one is its argument, as in /status/503."""


class Receiver:
    """The server. `scripts` adds or replaces behaviours; `log` takes one JSON line a request."""

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        scripts: dict[str, Script] | None = None,
        log: Path | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.calls: list[Call] = []
        self.connections = 0
        self.failures: Counter[str] = Counter()
        self.doomed: set[int] = set()
        self.port = port
        self._host = host
        self._scripts = SCRIPTS | (scripts or {})
        self._log_path = log
        self._log: IO[bytes] | None = None
        self._tls = tls
        self._serving: set[asyncio.Task[None]] = set()
        self._arrived = asyncio.Condition()

    async def __aenter__(self) -> Self:
        if self._log_path is not None:
            self._log = self._log_path.open("ab")
        self._server = await asyncio.start_server(
            self._connected, self._host, self.port, ssl=self._tls, backlog=1024
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        if self._log is not None:
            self._log.close()

    @property
    def open_connections(self) -> int:
        """How many connections are open now."""
        return len(self._serving)

    def url(self, path: str) -> str:
        """The address of a path, such as `/status/503?task=7`."""
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://{self._host}:{self.port}{path}"

    def calls_to(self, path: str) -> list[Call]:
        """The recorded requests for exactly this path and query."""
        return [call for call in self.calls if call.path == path]

    async def wait_for(self, count: int, *, deadline_seconds: float = 30) -> list[Call]:
        """The recorded requests once there are `count`; raises TimeoutError when they do not come."""
        async with asyncio.timeout(deadline_seconds), self._arrived:
            await self._arrived.wait_for(lambda: len(self.calls) >= count)
        return self.calls

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        self.connections += 1
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._serve(self.connections, reader, writer)
        finally:
            self._serving.discard(task)
            writer.transport.close() if self._tls is None else writer.transport.abort()

    async def _serve(
        self, connection: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        keep = True
        while keep:
            head = await reader.readuntil(b"\r\n\r\n")
            if connection in self.doomed:
                return
            call = await self._read(head, connection, reader)
            await self._record(call)
            name, _, argument = urlsplit(call.path).path.lstrip("/").partition("/")
            script = self._scripts.get(name, SCRIPTS["status"])
            keep = bool(await script(Exchange(call, argument or "404", self, reader, writer)))

    async def _read(self, head: bytes, connection: int, reader: asyncio.StreamReader) -> Call:
        request_line, *lines = head.decode("latin-1").split("\r\n")[:-2]
        method, path, _ = request_line.split(" ", 2)
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            key, text = name.lower(), value.strip()
            headers[key] = f"{headers[key]}, {text}" if key in headers else text
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        text = body.decode("utf-8", "replace")
        return Call(
            method=method, path=path, headers=headers, body=text, at=time.time(), connection=connection
        )

    async def _record(self, call: Call) -> None:
        self.calls.append(call)
        if self._log is not None:
            self._log.write(msgspec.json.encode(call) + b"\n")
            self._log.flush()
        async with self._arrived:
            self._arrived.notify_all()


async def serve(port: int, log: Path | None) -> None:
    """Print the port and answer until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    async with Receiver(port=port, log=log) as receiver:
        print(receiver.port, flush=True)
        await stop.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.support.receiver")
    parser.add_argument("--port", type=int, default=0, help="0 (the default): any free port")
    parser.add_argument("--log", type=Path, help="append one JSON line a request to this file")
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.port, arguments.log))
