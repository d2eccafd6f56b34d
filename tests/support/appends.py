"""Watching an appender from outside."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from application.ports import Recorded
from infrastructure.event_store.appender import Appender
from infrastructure.event_store.log import PostgresEventLog
from infrastructure.postgres import pool

DEADLINE_SECONDS = 60


@dataclass
class Calls:
    """Every call of the database that was answered (groups accepted and refused, events), and the others."""

    answered: list[tuple[int, int, int]] = field(default_factory=list)
    unanswered: int = 0

    def appended(self, *, accepted: int, refused: int, events: int, seconds: float) -> None:
        assert seconds > 0
        self.answered.append((accepted, refused, events))

    def unavailable(self) -> None:
        self.unanswered += 1


async def stored(dsn: str) -> list[Recorded]:
    """What the log holds."""
    async with pool(dsn, 1) as connections, Appender(dsn) as appender:
        return list(await PostgresEventLog(connections, appender).read_after(0, 100_000))


async def until(condition: Callable[[], bool]) -> None:
    """Wait for it, with a deadline."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():
            await asyncio.sleep(0.01)
