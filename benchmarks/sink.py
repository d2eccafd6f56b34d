"""A server that answers at once and remembers when each call came: the other end of the benchmarks.

It shares the machine with what it measures, so a call costs it two appends and a write; heads are looked at
when `GET /stats` asks.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from array import array
from collections import Counter

import msgspec
import uvloop
from msgspec import Struct

from benchmarks.figures import percentile

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"
END_OF_HEAD = b"\r\n\r\n"
KEY = b"\r\nidempotency-key:"
CURVE = (1, 5, 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 100)


class Told(Struct, frozen=True, kw_only=True):
    """What the sink has seen since it was last asked; instants are seconds since 1970.

    `timed` counts the calls that named their due instant, `early` those of them that came before it, and
    `executions` their Idempotency-Keys; `duplicates` are calls whose key had come already. `curve` are
    percentiles (percent, milliseconds) of the lateness.
    """

    calls: int
    timed: int
    early: int
    executions: int
    duplicates: int
    first_at: float | None
    last_at: float | None
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    max_ms: float = 0.0
    curve: list[tuple[float, float]] = []


class Calls:
    """Every call since `told`: when it came, and its head."""

    def __init__(self) -> None:
        self.at = array("d")
        self.heads: list[bytes] = []

    def forget(self) -> None:
        """Begin anew."""
        self.at, self.heads = array("d"), []

    def told(self) -> Told:
        """What came of all of them."""
        late = array("d")
        keys: Counter[bytes] = Counter()
        timed: set[bytes] = set()
        for at, head in zip(self.at, self.heads, strict=True):
            due, key = head.split(b" ", 2)[1][1:], _key(head)
            if due.isdigit():
                late.append(at * 1_000 - int(due) / 1_000)
                timed.add(key)
            keys[key] += 1
        del keys[b""]
        return Told(
            calls=len(self.at),
            timed=len(late),
            executions=len(timed - {b""}),
            early=sum(ms < 0 for ms in late),
            duplicates=keys.total() - len(keys),
            first_at=self.at[0] if self.at else None,
            last_at=self.at[-1] if self.at else None,
            **_lateness(sorted(late)),  # type: ignore[arg-type]
        )


def _key(head: bytes) -> bytes:
    _, found, rest = head.lower().partition(KEY)
    return rest.partition(b"\r\n")[0].strip() if found else b""


def _lateness(ordered: list[float]) -> dict[str, object]:
    if not ordered:
        return {}
    return {
        "p50_ms": percentile(ordered, 50),
        "p99_ms": percentile(ordered, 99),
        "max_ms": ordered[-1],
        "curve": [(percent, percentile(ordered, percent)) for percent in CURVE],
    }


class Sink(asyncio.Protocol):
    """Calls name their due instant: `GET /<microseconds since 1970>`; other paths are only counted.

    `GET /stats` tells and forgets, `GET /count` tells how many calls there were since.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        if not self._buffer and data.endswith(END_OF_HEAD) and data.count(END_OF_HEAD) == 1:
            self._answer(data)
            return
        self._buffer += data
        while END_OF_HEAD in self._buffer:
            head, _, self._buffer = self._buffer.partition(END_OF_HEAD)
            self._answer(head + END_OF_HEAD)

    def _answer(self, head: bytes) -> None:
        if head.startswith((b"GET /stats ", b"GET /count ")):
            self._tell(forget=head.startswith(b"GET /stats"))
            return
        self._calls.at.append(time.time())
        self._calls.heads.append(head)
        self._transport.write(ANSWER)

    def _tell(self, *, forget: bool) -> None:
        body = msgspec.json.encode(self._calls.told() if forget else len(self._calls.at))
        if forget:
            self._calls.forget()
        self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


async def main() -> None:
    """Print the port and serve until stdin ends, as it does with the process that holds it."""
    loop = asyncio.get_running_loop()
    calls, over = Calls(), asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), over.set)
    server = await loop.create_server(lambda: Sink(calls), "127.0.0.1", 0, backlog=1_024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await over.wait()


if __name__ == "__main__":
    # Nothing here makes cycles worth collecting, and a collection among so many heads would show as lateness.
    gc.disable()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
