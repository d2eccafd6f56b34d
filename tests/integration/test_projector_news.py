"""What the log tells those who listen, and what the projector's session attends to."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from infrastructure.projector.ownership import ENOUGH_HEARD, owned
from tests.support.entries import (
    answered,
    attempt,
    completed,
    created,
    execution_cancelled,
    started,
    succeeded,
)
from tests.support.projecting import connect
from tests.support.stored import append

if TYPE_CHECKING:
    from application.ports import NewFact

LONG_AGO = -3_600.0
DEADLINE_SECONDS = 60.0


@pytest.mark.parametrize(
    ("facts", "channels"),
    [
        ([created()], {"events", "commands"}),
        ([started()], {"events"}),
        ([started(), succeeded(2, attempt(1, answered())), completed("succeeded", version=1)], {"events"}),
        ([started(), execution_cancelled(2)], {"events", "commands"}),
    ],
)
async def test_commands_are_told_of_apart_from_how_executions_go_on(
    database: str, facts: list[NewFact], channels: set[str]
) -> None:
    async with await connect(database) as connection, await connect(database) as writer:
        await connection.execute("LISTEN events; LISTEN commands")
        await append(writer, facts)
        heard = {told.channel async for told in connection.notifies(timeout=60, stop_after=len(channels))}
        assert heard == channels


async def test_under_load_a_session_attends_to_commands_alone_until_there_is_nothing_left(
    database: str,
) -> None:
    clock = asyncio.get_running_loop().time
    async with await connect(database) as writer, owned(database) as session:
        assert not await session.attend()
        for run in range(ENOUGH_HEARD + 1):
            await append(writer, [started(stream=UUID(int=run + 100))])
        # As if the next batch were due in an hour: all of them are heard first.
        await session.news(since=clock() + 3_600, applied=1_000_000)
        assert await session.attend()
        assert not await session.attend()


async def test_a_session_that_hears_little_attends_to_everything_still(database: str) -> None:
    async with await connect(database) as writer, owned(database) as session:
        await append(writer, [started()])
        await session.news(since=LONG_AGO, applied=0)
        assert not await session.attend()


async def test_a_command_that_follows_little_is_due_before_the_cadence_is_over(database: str) -> None:
    clock = asyncio.get_running_loop().time
    async with await connect(database) as writer, owned(database) as session:
        await append(writer, [created()])
        async with asyncio.timeout(DEADLINE_SECONDS):
            # As if the last batch had begun in an hour.
            await session.news(since=clock() + 3_600, applied=1)
