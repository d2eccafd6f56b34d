"""Several processes write at once: no event is lost to a reader, and no version is won twice."""

from __future__ import annotations

import asyncio
import multiprocessing
import random
from multiprocessing.synchronize import Barrier
from uuid import UUID, uuid4

import psycopg
import pytest

from application.ports import Recorded
from domain.facts import TaskCancelled, TaskUpdated
from infrastructure.event_store.appender import Appender
from infrastructure.event_store.follower import PostgresFollower
from tests.support.appends import stored
from tests.support.groups import cancelled, claim, created, group, places, updated
from tests.support.log import following

pytestmark = pytest.mark.race

DEADLINE_SECONDS = 120
WRITERS = 4
GROUPS_EACH = 600
ROLLED_BACK_EACH = 100
STREAMS = 2_000
SAFE = 100
ROLLED_BACK = (
    "SELECT * FROM append_groups(ARRAY[0, 0], ARRAY[%s, %s]::uuid[], ARRAY[1, 1]::bigint[],"
    " ARRAY['x', 'x'], ARRAY['', '']::bytea[], '{}', '{}', '{}')"
)

_processes = multiprocessing.get_context("spawn")


def write(dsn: str, barrier: Barrier, contested: list[UUID]) -> None:
    """Groups of one to three events, some of them on streams that the others write too."""
    barrier.wait(DEADLINE_SECONDS)
    asyncio.run(_write(dsn, contested))


async def _write(dsn: str, contested: list[UUID]) -> None:
    random.shuffle(contested)
    async with Appender(dsn) as appender, asyncio.timeout(DEADLINE_SECONDS):
        rolling_back = asyncio.create_task(asyncio.to_thread(_roll_back, dsn))
        for first in range(0, GROUPS_EACH, 20):
            own = [group(uuid4(), 1, *[created()] * random.randint(1, 3)) for _ in range(10)]
            shared = [group(stream, 1) for stream in contested[first : first + 10]]
            answers = await asyncio.gather(
                *(appender.append(new, patience="patient") for new in own + shared)
            )
            assert None not in answers[:10]
        await rolling_back


def _roll_back(dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        for _ in range(ROLLED_BACK_EACH):
            connection.execute(ROLLED_BACK, (uuid4(), uuid4()))
            connection.rollback()


async def join(processes: list[multiprocessing.process.BaseProcess]) -> None:
    for process in processes:
        await asyncio.to_thread(process.join, DEADLINE_SECONDS)
        assert process.exitcode == 0
        process.close()


async def test_a_follower_sees_every_event_of_four_writers_once_and_in_order(database: str) -> None:
    barrier = _processes.Barrier(WRITERS + 1)
    contested = [uuid4() for _ in range(GROUPS_EACH)]
    writers: list[multiprocessing.process.BaseProcess] = [
        _processes.Process(target=write, args=(database, barrier, contested)) for _ in range(WRITERS)
    ]
    for writer in writers:
        writer.start()
    seen: list[Recorded] = []
    async with following(PostgresFollower(database), 0) as batches, asyncio.timeout(DEADLINE_SECONDS):
        await asyncio.to_thread(barrier.wait, DEADLINE_SECONDS)
        joining = asyncio.create_task(join(writers))
        finished = False
        async for batch in batches:
            seen += batch
            if finished and not batch:
                break
            finished = joining.done()
        await joining
    held = await stored(database)
    positions = [event.position for event in seen]
    assert positions == sorted(set(positions))
    assert seen == held
    # Each writer's own groups alone are so many; and the rolled-back ones have left gaps between them.
    assert len(positions) > WRITERS * GROUPS_EACH / 2
    assert positions[-1] > len(positions)
    heads = sorted(event.stream for event in seen if event.version == 1)
    assert len(heads) == len(set(heads))


def race(dsn: str, barrier: Barrier, node: str, tasks: list[UUID], executions: list[UUID]) -> None:
    """Claim every execution, in an order of its own."""
    barrier.wait(DEADLINE_SECONDS)
    asyncio.run(_race(dsn, node, list(zip(tasks, executions, strict=True))))


async def _race(dsn: str, node: str, pairs: list[tuple[UUID, UUID]]) -> None:
    random.shuffle(pairs)
    async with Appender(dsn) as appender, asyncio.timeout(DEADLINE_SECONDS):
        for first in range(0, len(pairs), 100):
            claims = [claim(execution, task, 1, node) for task, execution in pairs[first : first + 100]]
            await asyncio.gather(*(appender.append(new, patience="patient") for new in claims))


async def create(appender: Appender, tasks: list[UUID]) -> None:
    await asyncio.gather(*(appender.append(group(task, 1), patience="patient") for task in tasks))


async def test_two_processes_that_race_for_the_same_occurrences_win_each_once(database: str) -> None:
    tasks, executions = ([uuid4() for _ in range(STREAMS)] for _ in range(2))
    async with Appender(database) as appender:
        await create(appender, tasks)
    barrier = _processes.Barrier(2)
    racers: list[multiprocessing.process.BaseProcess] = [
        _processes.Process(target=race, args=(database, barrier, f"node-{number}", tasks, executions))
        for number in range(2)
    ]
    for racer in racers:
        racer.start()
    await join(racers)
    claims = [event for event in await stored(database) if event.stream in set(executions)]
    assert sorted(places(claims)) == sorted((execution, 1) for execution in executions)
    nodes = {getattr(event.fact, "node", None) for event in claims}
    assert nodes == {"node-0", "node-1"}


async def change(appender: Appender, tasks: list[UUID]) -> None:
    """Cancel every other task and update the rest: neither may be refused."""
    changes = [group(task, 2, cancelled() if place % 2 else updated()) for place, task in enumerate(tasks)]
    answers = await asyncio.gather(*(appender.append(new, patience="patient") for new in changes))
    assert None not in answers


async def test_no_claim_is_stored_after_the_change_that_it_did_not_know(database: str) -> None:
    """One process claims while this one cancels and updates: some before it, some after, most meanwhile."""
    tasks, executions = ([uuid4() for _ in range(STREAMS)] for _ in range(2))
    async with Appender(database) as appender:
        await create(appender, tasks)
        await change(appender, tasks[:SAFE])
        barrier = _processes.Barrier(2)
        racer = _processes.Process(target=race, args=(database, barrier, "node-0", tasks, executions))
        racer.start()
        await asyncio.to_thread(barrier.wait, DEADLINE_SECONDS)
        for first in range(SAFE, STREAMS - SAFE, 50):
            await change(appender, tasks[first : min(first + 50, STREAMS - SAFE)])
        await join([racer])
        await change(appender, tasks[STREAMS - SAFE :])
    events = await stored(database)
    changed = {event.stream: event.position for event in events if event.version == 2}
    claimed = {event.stream: event.position for event in events}
    won = [
        (task, execution) for task, execution in zip(tasks, executions, strict=True) if execution in claimed
    ]
    assert len(changed) == STREAMS
    assert all(claimed[execution] < changed[task] for task, execution in won)
    winners = {task for task, _ in won}
    assert winners.isdisjoint(tasks[:SAFE])
    assert winners.issuperset(tasks[STREAMS - SAFE :])


@pytest.mark.parametrize("change", [cancelled(), updated()], ids=["cancel", "update"])
async def test_a_change_that_commits_first_makes_the_claim_refused(
    database: str, change: TaskCancelled | TaskUpdated
) -> None:
    task, execution = uuid4(), uuid4()
    async with Appender(database) as user, Appender(database) as scheduler:
        await user.append(group(task, 1))
        await user.append(group(task, 2, change))
        assert await scheduler.append(claim(execution, task, 1)) is None
        assert await scheduler.append(claim(execution, task, 2)) is not None
