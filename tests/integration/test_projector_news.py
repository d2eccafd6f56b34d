"""What the log tells those who listen, and what the projector's session attends to."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Iterator
from uuid import UUID

import pytest
from psycopg import AsyncConnection

from application.ports import NewFact
from infrastructure.projector import runner as ownership
from infrastructure.projector.runner import ENOUGH_HEARD, owned
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

LONG_AGO = -3_600.0
HOUR_SECONDS = 3_600.0
DEADLINE_SECONDS = 60.0
# More than come between two batches unless events come fast.
MANY = 10_000


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
        assert not await session.hear_all()
        for run in range(ENOUGH_HEARD + 1):
            await append(writer, [started(stream=UUID(int=run + 100))])
        # As if the next batch were due in an hour: all of them are heard first.
        await session.wait_for_batch(since=clock() + HOUR_SECONDS, applied=0, position=0)
        assert await session.hear_all()
        assert not await session.hear_all()


async def test_a_session_that_hears_little_attends_to_everything_still(database: str) -> None:
    async with await connect(database) as writer, owned(database) as session:
        await append(writer, [started()])
        await session.wait_for_batch(since=LONG_AGO, applied=0, position=0)
        assert not await session.hear_all()


async def test_a_command_that_follows_little_is_due_before_the_cadence_is_over(database: str) -> None:
    clock = asyncio.get_running_loop().time
    async with await connect(database) as writer, owned(database) as session:
        await append(writer, [created()])
        async with asyncio.timeout(DEADLINE_SECONDS):
            # As if the last batch had begun in an hour.
            await session.wait_for_batch(since=clock() + HOUR_SECONDS, applied=1, position=0)


def scripted(monkeypatch: pytest.MonkeyPatch, heads: Iterable[int]) -> Iterator[int]:
    """The log ends there when the session looks; neither time nor a full batch ends its wait."""
    positions = iter(heads)

    async def head(_: AsyncConnection) -> int:
        return next(positions)

    monkeypatch.setattr(ownership, "head", head)
    monkeypatch.setattr(ownership, "FAST_CADENCE_SECONDS", HOUR_SECONDS)
    monkeypatch.setattr(ownership, "NEARLY_FULL", MANY**4)
    return positions


async def waited_while_fast(database: str) -> None:
    """A session has waited for its next batch, the last one having taken in many events just now."""
    async with owned(database) as session, asyncio.timeout(DEADLINE_SECONDS):
        await session.wait_for_batch(since=asyncio.get_running_loop().time(), applied=MANY, position=0)


async def test_a_command_is_not_kept_waiting_by_events_that_come_fast(database: str) -> None:
    clock = asyncio.get_running_loop().time
    async with await connect(database) as writer, owned(database) as session:
        await append(writer, [created()])
        async with asyncio.timeout(DEADLINE_SECONDS):
            # As if the last batch had begun in an hour.
            await session.wait_for_batch(since=clock() + HOUR_SECONDS, applied=MANY, position=0)
        assert await session.hear_all()


async def test_a_batch_is_due_once_events_come_more_slowly(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    heads = scripted(monkeypatch, range(1, 1_000))
    await waited_while_fast(database)
    assert next(heads) == 2


async def test_a_batch_is_due_when_two_looks_in_a_row_find_nothing_new(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = MANY**3  # and more than any time could make slow
    heads = scripted(monkeypatch, [fast, fast, fast + 1, fast + 1, fast + 1, 7])
    await waited_while_fast(database)
    assert next(heads) == 7


async def test_a_batch_is_put_off_as_long_as_events_come_fast(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    heads = scripted(monkeypatch, [*range(MANY**3, MANY**3 + 9), 1, 7])
    await waited_while_fast(database)
    assert next(heads) == 7


async def test_a_batch_is_put_off_no_longer_than_the_longest_time(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, itertools.count(start=MANY**3))
    monkeypatch.setattr(ownership, "FAST_CADENCE_SECONDS", 0.3)
    await waited_while_fast(database)


async def test_a_batch_is_due_when_there_is_nearly_enough_for_one(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    heads = scripted(monkeypatch, itertools.count(start=1))
    monkeypatch.setattr(ownership, "FAST_EVENTS_A_SECOND", 0)
    monkeypatch.setattr(ownership, "NEARLY_FULL", 5)
    await waited_while_fast(database)
    assert next(heads) == 6


async def test_a_server_that_does_not_answer_is_not_waited_for_without_end(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(_: AsyncConnection) -> int:
        never: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        return await never

    monkeypatch.setattr(ownership, "head", silent)
    monkeypatch.setattr(ownership, "_ANSWER_SECONDS", 0.01)
    clock = asyncio.get_running_loop().time
    async with owned(database) as session:
        with pytest.raises(TimeoutError):
            await session.wait_for_batch(since=clock(), applied=MANY, position=0)
