"""How long what the log holds is not shown yet, event by event."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable, Sequence
from typing import Self

from psycopg import AsyncConnection

from benchmarks import ledger

EVENTS = (
    "SELECT notification_id, extract(epoch FROM recorded_at)::float8 FROM events "
    "WHERE notification_id > %s AND topic LIKE 'execution.%%' ORDER BY notification_id"
)


class Lag:
    """Listens, while it is entered, to what projectors tell: up to which position everything is shown."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._shown: list[tuple[float, int]] = []
        self._from = 0

    async def __aenter__(self) -> Self:
        self._from = await ledger.head(self._dsn)
        listening = asyncio.Event()
        self._task = asyncio.create_task(self._listen(listening))
        await listening.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        await ledger.caught_up(self._dsn)
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def of_executions(self) -> list[float]:
        """Milliseconds from the record of each event about an execution until it was shown, in order."""
        async with await AsyncConnection.connect(self._dsn, autocommit=True) as connection:
            events = await (await connection.execute(EVENTS, (self._from,))).fetchall()
        return sorted(lags(events, self._shown))

    async def _listen(self, listening: asyncio.Event) -> None:
        async with await AsyncConnection.connect(self._dsn, autocommit=True) as connection:
            await connection.execute("LISTEN projected")
            listening.set()
            async for told in connection.notifies():
                self._shown.append((time.time(), int(told.payload)))


def lags(events: Iterable[tuple[int, float]], shown: Sequence[tuple[float, int]]) -> list[float]:
    """Milliseconds from each event (position, recorded at) until the first telling (at, position) that covers
    it; what was never told of is left out.
    """
    found = []
    tellings = iter(shown)
    telling = next(tellings, None)
    for position, recorded_at in events:
        while telling is not None and telling[1] < position:
            telling = next(tellings, None)
        if telling is not None:
            found.append((telling[0] - recorded_at) * 1_000)
    return found
