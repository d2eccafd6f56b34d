"""A server that answers at once and remembers how late each call was: the other end of the benchmarks."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import ClassVar

import uvloop

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"


class Sink(asyncio.Protocol):
    """Calls name their due instant: `GET /<microseconds since 1970>`; `GET /stats` tells and forgets."""

    lateness_us: ClassVar[list[int]] = []
    first_at = 0.0
    last_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while b"\r\n\r\n" in self._buffer:
            head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
            self._answer(head.split(b" ", 2)[1])

    def _answer(self, path: bytes) -> None:
        if path == b"/stats":
            body = json.dumps(_stats()).encode()
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            return
        now = time.time()
        Sink.first_at = Sink.first_at or now
        Sink.last_at = now
        Sink.lateness_us.append(int(now * 1_000_000) - int(path[1:]))
        self._transport.write(ANSWER)


def _stats() -> dict[str, float]:
    late = sorted(Sink.lateness_us)
    told: dict[str, float] = {"calls": len(late)}
    if late:
        told |= {
            "p50_ms": late[len(late) // 2] / 1000,
            "p99_ms": late[len(late) * 99 // 100] / 1000,
            "max_ms": late[-1] / 1000,
            "seconds": Sink.last_at - Sink.first_at,
        }
    Sink.lateness_us.clear()
    Sink.first_at = 0.0
    return told


async def main() -> None:
    """Print the port and serve until killed."""
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sys.exit(runner.run(main()))
