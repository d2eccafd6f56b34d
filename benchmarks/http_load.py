"""Clients of the API that cost little themselves: they share the machine with what they measure."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from benchmarks.figures import percentile

LENGTH = b"\r\ncontent-length:"
END_OF_HEAD = b"\r\n\r\n"


class Answered(NamedTuple):
    """What clients together got: requests a second, and milliseconds that one took."""

    rate: float
    p50_ms: float
    p99_ms: float


class UnexpectedAnswer(Exception):
    """The service refused what a benchmark asked: what it said."""


class Client(asyncio.Protocol):
    """One connection, one request at a time. It relies on Content-Length, which the service always sends."""

    def __init__(self) -> None:
        self._buffer = b""
        self._answer: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(END_OF_HEAD)
        if found and self._answer and len(body) >= _length(head):
            answer, self._answer, self._buffer = self._answer, None, b""
            if head.startswith(b"HTTP/1.1 2"):
                answer.set_result(body)
            else:
                answer.set_exception(UnexpectedAnswer(f"{head.partition(b'\r\n')[0]!r} {body[:500]!r}"))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer and not self._answer.done():
            self._answer.set_exception(exc or UnexpectedAnswer("the connection was closed"))

    async def ask(self, request: bytes) -> bytes:
        """The body of the answer. Raises `UnexpectedAnswer` unless it is a 2xx."""
        if self._transport.is_closing():
            raise UnexpectedAnswer("the connection was closed")
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        """Hang up."""
        self._transport.close()


def request(method: str, url: str, body: object = None, headers: Mapping[str, str] | None = None) -> bytes:
    """A request as it goes over the wire."""
    parts = urlsplit(url)
    sent = b"" if body is None else msgspec.json.encode(body)
    fields = {"Host": parts.netloc, "Content-Length": str(len(sent)), **(headers or {})}
    if sent:
        fields["Content-Type"] = "application/json"
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join(lines).encode() + END_OF_HEAD + sent


async def clients(url: str, count: int, seconds: float, asked: Sequence[bytes]) -> Answered:
    """What so many clients get when each asks as soon as it was answered, one request after the other.

    Raises `UnexpectedAnswer`.
    """
    requests = itertools.cycle(asked)
    connected = [await _connect(url) for _ in range(count)]
    took: list[float] = []
    started = time.perf_counter()

    async def ask(client: Client) -> None:
        while (begun := time.perf_counter()) < started + seconds:
            await client.ask(next(requests))
            took.append((time.perf_counter() - begun) * 1_000)

    try:
        await asyncio.gather(*map(ask, connected))
    finally:
        for client in connected:
            client.close()
    elapsed = time.perf_counter() - started
    took.sort()
    return Answered(len(took) / elapsed, percentile(took, 50), percentile(took, 99))


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[Client]:
    """A client, for the length of the block."""
    client = await _connect(url)
    try:
        yield client
    finally:
        client.close()


async def _connect(url: str) -> Client:
    host, _, port = urlsplit(url).netloc.partition(":")
    _, client = await asyncio.get_running_loop().create_connection(Client, host, int(port))
    return client


def _length(head: bytes) -> int:
    return int(head.lower().partition(LENGTH)[2].partition(b"\r\n")[0] or 0)
