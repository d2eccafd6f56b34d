"""The group commit: what goes into one call, in which order, and what one group may do to the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from application.ports import Group, NewFact
from domain.facts import Answered, Attempt, ExecutionSucceeded
from infrastructure.event_store.appender import Appender
from tests.support.appends import Calls, stored
from tests.support.groups import NOON, created, group, meta, places

DEADLINE_SECONDS = 60


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
async def appender(database: str, calls: Calls) -> AsyncIterator[Appender]:
    async with Appender(database, calls) as appender:
        yield appender


async def test_what_is_queued_together_goes_in_one_call(appender: Appender, calls: Calls) -> None:
    await asyncio.gather(*(appender.append(group(uuid4(), 1)) for _ in range(100)))
    assert calls.answered == [(100, 0, 100)]


async def test_a_call_takes_no_more_than_a_thousand_events(appender: Appender, calls: Calls) -> None:
    await asyncio.gather(*(appender.append(group(uuid4(), 1), patience="patient") for _ in range(2_500)))
    assert [events for _, _, events in calls.answered] == [1_000, 1_000, 500]


async def test_a_call_takes_no_more_than_some_megabytes(appender: Appender, calls: Calls) -> None:
    large = Answered(status_code=200, body="x" * 1_000_000)
    attempt = Attempt(number=1, started_at=NOON, duration_ms=1, answer=large)
    fact = ExecutionSucceeded(at=NOON, task_id=uuid4(), attempt=attempt)
    await asyncio.gather(*(appender.append(group(uuid4(), 1, fact), patience="patient") for _ in range(20)))
    assert [events for _, _, events in calls.answered] == [9, 9, 2]


async def test_a_group_larger_than_a_call_goes_in_one(
    database: str, appender: Appender, calls: Calls
) -> None:
    stream = uuid4()
    assert await appender.append(group(stream, 1, *[created()] * 1_500)) is not None
    assert calls.answered == [(1, 0, 1_500)]
    assert places(await stored(database)) == [(stream, version) for version in range(1, 1_501)]


async def test_neighbours_of_a_refused_group_are_stored_by_the_same_call(
    appender: Appender, calls: Calls
) -> None:
    taken = uuid4()
    await appender.append(group(taken, 1))
    answers = await asyncio.gather(
        *(appender.append(group(stream, 1)) for stream in (uuid4(), taken, uuid4(), taken, uuid4()))
    )
    assert [answer is not None for answer in answers] == [True, False, True, False, True]
    # The second group on the same stream comes in a call of its own, after the first.
    assert calls.answered[1:] == [(3, 1, 4), (0, 1, 1)]


async def test_a_long_run_of_groups_on_one_stream_is_appended_in_order(
    database: str, appender: Appender
) -> None:
    stream = uuid4()
    async with asyncio.timeout(DEADLINE_SECONDS):
        answers = await asyncio.gather(
            *(appender.append(group(stream, version), patience="patient") for version in range(1, 1_201)),
            *(appender.append(group(uuid4(), 1), patience="patient") for _ in range(100)),
        )
    assert None not in answers
    versions = [event.version for event in await stored(database) if event.stream == stream]
    assert versions == list(range(1, 1_201))


async def test_a_group_that_the_database_chokes_on_fails_alone(
    database: str, appender: Appender, calls: Calls
) -> None:
    good = [group(uuid4(), 1) for _ in range(20)]
    first, second = NewFact(uuid4(), 1, created()), uuid4()
    impossible = Group(facts=(first, NewFact(second, 2**63, created())), meta=meta())
    answers = await asyncio.gather(
        *(appender.append(new, patience="patient") for new in (*good[:10], impossible, *good[10:])),
        return_exceptions=True,
    )
    assert isinstance(answers.pop(10), Exception)
    assert all(isinstance(answer, int) for answer in answers)
    events = await stored(database)
    assert [event.meta for event in events] == [new.meta for new in good]
    assert await appender.append(group(uuid4(), 1)) is not None


async def test_isolating_a_group_keeps_the_order_of_a_stream(database: str, appender: Appender) -> None:
    stream = uuid4()
    impossible = Group(facts=(NewFact(uuid4(), 2**63, created()),), meta=meta())
    groups = [group(stream, 1), impossible, group(stream, 2), group(uuid4(), 1), group(stream, 3)]
    answers = await asyncio.gather(
        *(appender.append(new, patience="patient") for new in groups), return_exceptions=True
    )
    assert [isinstance(answer, int) for answer in answers] == [True, False, True, True, True]
    versions = [event.version for event in await stored(database) if event.stream == stream]
    assert versions == [1, 2, 3]


async def test_an_appender_that_stops_while_it_isolates_answers_everybody(database: str) -> None:
    impossible = Group(facts=(NewFact(uuid4(), 2**63, created()),), meta=meta())

    class Stopper(Calls):
        """Stops the appender on its first good call, which is a group of the isolated batch."""

        def appended(self, *, accepted: int, refused: int, events: int, seconds: float) -> None:
            stop.set()

    stop = asyncio.Event()
    async with Appender(database, Stopper()) as appender:
        waiting = [
            asyncio.ensure_future(appender.append(new, patience="patient"))
            for new in (group(uuid4(), 1), impossible, *(group(uuid4(), 1) for _ in range(30)))
        ]
        async with asyncio.timeout(DEADLINE_SECONDS):
            await stop.wait()
    async with asyncio.timeout(DEADLINE_SECONDS):
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_an_observer_that_fails_does_not_stop_the_appender(database: str) -> None:
    class Failing(Calls):
        def appended(self, *, accepted: int, refused: int, events: int, seconds: float) -> None:
            raise ValueError("no metrics today")

    async with Appender(database, Failing()) as appender:
        for _ in range(3):
            assert await appender.append(group(uuid4(), 1)) is not None
