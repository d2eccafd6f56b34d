"""The projector on a real database: prompt, exactly once, and not easily stopped."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import pytest
from psycopg import AsyncConnection

from infrastructure.postgres import pool
from infrastructure.projector.batch import Batch, CheckpointMoved, apply_batch
from infrastructure.projector.reading import read_entries
from infrastructure.projector.rebuild import rebuild
from infrastructure.projector.runner import Projector
from infrastructure.projector.workplace import prepare
from projections import PROJECTIONS
from tests.support.entries import answered, attempt, created, started, succeeded
from tests.support.projecting import connect, contents, least_position, reached, running, until
from tests.support.proxy import Proxy
from tests.support.random_log import RandomLog
from tests.support.stored import append

PLANT = (
    "INSERT INTO events (originator_id, originator_version, topic, state) "
    "SELECT %s, 1, topic, state FROM events WHERE topic = 'idempotency.key_used.v1' LIMIT 1"
)


async def expected(connection: AsyncConnection, dsn: str) -> None:
    """The live rows are those that a rebuild makes."""
    live = await contents(connection)
    await rebuild(dsn, PROJECTIONS)
    assert await contents(connection) == live


class Heard:
    """Counts what the projector tells."""

    def __init__(self) -> None:
        self.events: dict[str, int] = {}

    def projected(self, projection: str, events: int) -> None:
        self.events[projection] = self.events.get(projection, 0) + events


async def test_it_applies_what_is_there_and_what_comes(database: str) -> None:
    log, heard = RandomLog(1), Heard()
    async with await connect(database) as connection, pool(database, 3) as db:
        await append(connection, log.grow(2_500))
        async with running(Projector(db, database, PROJECTIONS, heard)):
            for _ in range(30):
                position = await append(connection, log.grow(20))
                await asyncio.sleep(0.003)
            await reached(connection, position)
        await expected(connection, database)
    assert heard.events == dict.fromkeys(("tasks", "task_results", "statistics"), len(log.facts))


async def test_a_batch_tells_those_who_wait_what_is_visible(database: str) -> None:
    async with await connect(database) as connection, pool(database, 3) as db:
        await connection.execute("LISTEN projected")
        async with running(Projector(db, database, PROJECTIONS)):
            async with await connect(database) as writer:
                position = await append(writer, [created()])
            async for notification in connection.notifies(timeout=60, stop_after=1):
                assert notification.payload == str(position)
                break
            else:
                pytest.fail("nothing was told")
            assert await least_position(connection) == position


async def test_an_event_without_a_notification_is_found(database: str) -> None:
    async with await connect(database) as connection, pool(database, 3) as db:
        await append(connection, RandomLog(1).grow(200))
        async with running(Projector(db, database, PROJECTIONS)):
            await reached(connection, 200)
            cursor = await connection.execute(PLANT + " RETURNING notification_id", (uuid4(),))
            [(position,)] = await cursor.fetchall()
            await reached(connection, position)


async def test_one_works_and_the_other_stands_by_until_it_is_needed(database: str) -> None:
    log = RandomLog(4)
    async with await connect(database) as connection, pool(database, 4) as db:
        first, second = (Projector(db, database, PROJECTIONS) for _ in range(2))

        async def working(projector: Projector) -> bool:
            return projector.owns

        async with running(second):
            await until(lambda: working(second))
            async with running(first):
                position = await append(connection, log.grow(300))
                await reached(connection, position)
                assert not first.owns
        async with running(first):
            await until(lambda: working(first))
            position = await append(connection, log.grow(300))
            await reached(connection, position)
        await expected(connection, database)


async def test_an_owner_that_loses_its_lock_hands_over_and_nothing_is_applied_twice(database: str) -> None:
    log = RandomLog(5)
    kill = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = 'advisory' AND granted "
        "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    async with await connect(database) as connection, pool(database, 4) as db:
        projectors = [Projector(db, database, PROJECTIONS) for _ in range(2)]

        async def owned() -> bool:
            return any(projector.owns for projector in projectors)

        async with running(projectors[0]), running(projectors[1]):
            for _ in range(4):
                await until(owned)
                position = await append(connection, log.grow(400))
                await connection.execute(kill)
                position = await append(connection, log.grow(400))
                await reached(connection, position)
        await expected(connection, database)


@pytest.mark.race
async def test_of_two_that_apply_the_same_batch_one_is_refused(database: str) -> None:
    async with await connect(database) as one, await connect(database) as two:
        await append(one, RandomLog(6).grow(300))
        await prepare(one, PROJECTIONS)
        batch = Batch(PROJECTIONS, (await read_entries(one, 0, 1_000)).entries, 0)
        outcomes = await asyncio.gather(
            apply_batch(one, batch), apply_batch(two, batch), return_exceptions=True
        )
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["CheckpointMoved", "list"]
        with pytest.raises(CheckpointMoved):
            await apply_batch(one, batch)
        await expected(one, database)


@pytest.mark.race
async def test_any_number_of_processes_may_prepare_at_once(database: str) -> None:
    connections = [await connect(database) for _ in range(4)]
    try:
        prepared = await asyncio.gather(*(prepare(connection, PROJECTIONS) for connection in connections))
        assert all(answer.current == list(PROJECTIONS) and not answer.outdated for answer in prepared)
    finally:
        for connection in connections:
            await connection.close()


async def test_steps_of_one_execution_meet_in_whatever_batch(database: str) -> None:
    execution = UUID(int=99)
    async with await connect(database) as connection, pool(database, 3) as db:
        async with running(Projector(db, database, PROJECTIONS)):
            await reached(connection, await append(connection, [created(), started(stream=execution)]))
            done = succeeded(2, attempt(1, answered()), stream=execution)
            await reached(connection, await append(connection, [done]))
        cursor = await connection.execute("SELECT status, success, attempts FROM task_results")
        assert await cursor.fetchall() == [("succeeded", True, 1)]
        cursor = await connection.execute("SELECT count(*) FROM statistics_open")
        assert await cursor.fetchone() == (0,)


async def test_an_outage_is_waited_out(database: str) -> None:
    log = RandomLog(7)
    async with await connect(database) as connection, Proxy(database) as proxy, pool(proxy.dsn, 3) as db:
        async with running(Projector(db, proxy.dsn, PROJECTIONS)):
            for _ in range(3):
                await reached(connection, await append(connection, log.grow(200)))
                proxy.refuse()
                position = await append(connection, log.grow(200))

                async def tried_again(before: int = proxy.refused) -> bool:
                    return proxy.refused > before

                await until(tried_again)
                assert await least_position(connection) < position
                proxy.accept()
                await reached(connection, position)
        await expected(connection, database)


async def test_a_commit_whose_answer_got_lost_is_not_repeated(database: str) -> None:
    log = RandomLog(8)
    async with await connect(database) as connection, Proxy(database) as proxy, pool(proxy.dsn, 3) as db:
        async with running(Projector(db, proxy.dsn, PROJECTIONS)):
            await reached(connection, await append(connection, log.grow(100)))
            for _ in range(3):
                sprung = proxy.cut_after_commit("COMMIT")
                position = await append(connection, log.grow(50))
                await asyncio.wait_for(sprung.wait(), 20)
                await reached(connection, position)
        await expected(connection, database)
