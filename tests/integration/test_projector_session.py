"""When the projector's next batch is due: what it is notified of, and how long it waits for more."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterable, Iterator
from uuid import UUID

import pytest
from psycopg import AsyncConnection

from application.ports import NewFact
from infrastructure.projector import runner
from infrastructure.projector.runner import ENOUGH_HEARD, Session, owned
from tests.support.entries import (
    answered,
    attempt,
    completed,
    created,
    execution_cancelled,
    started,
    succeeded,
)
from tests.support.projecting import Store, connect

HOUR_SECONDS = 3_600.0
DEADLINE_SECONDS = 60.0
# More than come between two batches unless events come fast.
MANY = 10_000
FAST = MANY**3  # and more than any time could make slow


@pytest.fixture
async def session(database: str) -> AsyncIterator[Session]:
    async with owned(database) as session, asyncio.timeout(DEADLINE_SECONDS):
        yield session


def now() -> float:
    return asyncio.get_running_loop().time()


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
    store: Store, facts: list[NewFact], channels: set[str]
) -> None:
    async with await connect(store.dsn) as listener:
        await listener.execute("LISTEN events; LISTEN commands")
        await store.append(*facts)
        assert {
            told.channel async for told in listener.notifies(timeout=60, stop_after=len(channels))
        } == channels


async def test_under_load_a_session_hears_commands_alone_until_there_is_nothing_left(
    store: Store, session: Session
) -> None:
    assert not await session.hear_all()
    for run in range(ENOUGH_HEARD + 1):
        await store.append(started(stream=UUID(int=run + 100)))
    # As if the last batch had begun in an hour: all of them are heard before the next one is due.
    await session.wait_for_batch(since=now() + HOUR_SECONDS, applied=0, position=0)
    assert await session.hear_all()
    assert not await session.hear_all()


async def test_a_session_that_hears_little_hears_everything_still(store: Store, session: Session) -> None:
    await store.append(started())
    await session.wait_for_batch(since=-HOUR_SECONDS, applied=0, position=0)
    assert not await session.hear_all()


@pytest.mark.parametrize("applied", [1, MANY], ids=["that follows little", "amid events that come fast"])
async def test_a_command_is_due_before_the_cadence_is_over(
    store: Store, session: Session, applied: int
) -> None:
    await store.append(created())
    await session.wait_for_batch(since=now() + HOUR_SECONDS, applied=applied, position=0)
    assert await session.hear_all() == (applied == MANY)


@pytest.mark.parametrize(
    ("heads", "patched", "looked_until"),
    [
        (range(1, 1_000), {}, 2),
        ([FAST, FAST, FAST + 1, FAST + 1, FAST + 1, 7], {}, 7),
        ([*range(FAST, FAST + 9), 1, 7], {}, 7),
        (itertools.count(start=FAST), {"FAST_CADENCE_SECONDS": 0.3}, None),
        (itertools.count(start=1), {"FAST_EVENTS_A_SECOND": 0, "NEARLY_FULL": 5}, 6),
    ],
    ids=[
        "once events come more slowly",
        "when two looks in a row find nothing new",
        "not as long as events come fast",
        "after the longest time",
        "when there is nearly enough for one",
    ],
)
async def test_a_batch_amid_fast_events_is_due(
    session: Session,
    monkeypatch: pytest.MonkeyPatch,
    heads: Iterable[int],
    patched: dict[str, float],
    looked_until: int | None,
) -> None:
    """The log ends at one of `heads` after the other, as the session looks."""
    positions: Iterator[int] = iter(heads)

    async def head(_: AsyncConnection) -> int:
        return next(positions)

    monkeypatch.setattr(runner, "head", head)
    for name, value in ({"FAST_CADENCE_SECONDS": HOUR_SECONDS, "NEARLY_FULL": MANY**4} | patched).items():
        monkeypatch.setattr(runner, name, value)
    await session.wait_for_batch(since=now(), applied=MANY, position=0)
    assert looked_until in (None, next(positions))


async def test_a_server_that_does_not_answer_is_not_waited_for_without_end(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(_: AsyncConnection) -> int:
        never: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        return await never

    monkeypatch.setattr(runner, "head", silent)
    monkeypatch.setattr(runner, "_ANSWER_SECONDS", 0.01)
    with pytest.raises(TimeoutError):
        await session.wait_for_batch(since=now(), applied=MANY, position=0)
