"""Waiting until the read models have passed a position, on a real Postgres."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from infrastructure.visibility import Visibility
from tests.support.projecting import connect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

DEADLINE_SECONDS = 60.0
TELL = "SELECT pg_notify('projected', %s)"


class Checkpoint:
    """Where the read models stand, for who reads it."""

    def __init__(self, position: int) -> None:
        self.position = position
        self.reads = 0

    async def read(self) -> int:
        return self.position


@contextlib.asynccontextmanager
async def following(dsn: str, checkpoint: Checkpoint) -> AsyncIterator[Visibility]:
    """One that listens by now."""
    visibility = Visibility(dsn, checkpoint.read)
    running = asyncio.create_task(visibility.run())
    try:
        assert await visibility.wait_for(checkpoint.position, DEADLINE_SECONDS)
        yield visibility
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_what_is_told_is_believed_without_reading(database: str) -> None:
    checkpoint = Checkpoint(1)
    async with following(database, checkpoint) as visibility, await connect(database) as teller:
        await teller.execute(TELL, ("7",))
        assert await visibility.wait_for(7, DEADLINE_SECONDS)
        assert checkpoint.position == 1


async def test_who_waits_for_less_than_was_told_is_answered(database: str) -> None:
    async with following(database, Checkpoint(1)) as visibility, await connect(database) as teller:
        waiting = [asyncio.create_task(visibility.wait_for(wanted, DEADLINE_SECONDS)) for wanted in (5, 6)]
        await asyncio.sleep(0)
        await teller.execute(TELL, ("6",))
        assert await asyncio.gather(*waiting) == [True, True]


async def test_nothing_is_waited_for_longer_than_asked(database: str) -> None:
    async with following(database, Checkpoint(1)) as visibility:
        assert not await visibility.wait_for(2, 0.01)


async def test_what_was_told_to_nobody_is_read(database: str) -> None:
    checkpoint = Checkpoint(1)
    async with following(database, checkpoint) as visibility:
        checkpoint.position = 9
        assert await visibility.wait_for(9, DEADLINE_SECONDS)


async def test_what_is_no_position_is_passed_over(database: str) -> None:
    async with following(database, Checkpoint(1)) as visibility, await connect(database) as teller:
        await teller.execute(TELL, ("soon",))
        await teller.execute(TELL, ("3",))
        assert await visibility.wait_for(3, DEADLINE_SECONDS)


async def test_a_lost_connection_is_made_again(database: str) -> None:
    async with following(database, Checkpoint(1)) as visibility, await connect(database) as teller:
        await teller.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        waiting = asyncio.create_task(visibility.wait_for(5, DEADLINE_SECONDS))
        while not waiting.done():  # until somebody listens again
            await teller.execute(TELL, ("5",))
            await asyncio.wait([waiting], timeout=0.02)
        assert waiting.result()
