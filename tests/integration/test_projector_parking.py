"""Events that a projection cannot apply: set aside, told of, and applied after all."""

from __future__ import annotations

from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import AsyncConnection

from infrastructure.postgres import pool
from infrastructure.projector.batch import CheckpointMoved, is_poison, replay_quarantined
from infrastructure.projector.rebuild import rebuild
from infrastructure.projector.runner import Projector
from infrastructure.projector.workplace import prepare
from projections import PROJECTIONS, named
from projections.projection import PoisonEvent
from tests.support.entries import TASK, created, started, updated
from tests.support.projecting import connect, contents, parked_in, project, reached, running
from tests.support.random_log import RandomLog
from tests.support.stored import append

TOO_LONG = "n" * 256
PLANT = (
    "INSERT INTO events (originator_id, originator_version, topic, state) VALUES (%s, %s, %s, %s) "
    "RETURNING notification_id"
)


async def plant(connection: AsyncConnection, topic: str, state: bytes, stream: UUID, version: int = 1) -> int:
    """An event as it stands; its position."""
    cursor = await connection.execute(PLANT, (stream, version, topic, state))
    [(position,)] = await cursor.fetchall()
    return int(position)


async def test_what_cannot_be_read_is_parked_and_the_rest_goes_on(database: str) -> None:
    log = RandomLog(1)
    async with await connect(database) as connection, pool(database, 3) as db:
        async with running(Projector(db, database, PROJECTIONS)):
            await append(connection, log.grow(400))
            unknown = await plant(connection, "task.paused.v9", b"{}", uuid4())
            broken = await plant(connection, "task.created.v1", b"{no json", uuid4())
            await reached(connection, await append(connection, log.grow(400)))
        parked = await parked_in(connection)
        for name in ("statistics", "task_results", "tasks"):
            assert [position for owner, position, _ in parked if owner == name] == [unknown, broken]
        assert "task.paused.v9" in parked[0][2]
        before = await contents(connection)
        await rebuild(database, PROJECTIONS)
        assert await contents(connection) == before


async def test_one_bad_event_of_a_thousand_is_found(database: str) -> None:
    log = RandomLog(2)
    async with await connect(database) as connection:
        await append(connection, log.grow(600))
        bad = await append(connection, [created(stream=UUID(int=5), name=TOO_LONG)])
        await append(connection, log.grow(390))
        parked = await project(connection)
        # The ledger has no name of its own to refuse: only `tasks` cannot hold it.
        assert [(event.projection, event.position) for event in parked] == [("tasks", bad)]
        assert parked[0].error == "StringDataRightTruncation: value too long for type character varying(255)"
        cursor = await connection.execute("SELECT count(*) FROM tasks WHERE id = %s", (UUID(int=5),))
        assert await cursor.fetchone() == (0,)


async def test_later_events_of_a_task_wait_behind_a_parked_one(database: str) -> None:
    async with await connect(database) as connection:
        await append(connection, [created(), created(stream=UUID(int=5))])
        await project(connection)
        await append(connection, [updated(name=TOO_LONG), updated(version=3), started(task_version=3)])
        await project(connection, batch_events=1)
        await append(connection, [updated(version=4, name="last")])
        await project(connection)
        assert [(name, position) for name, position, _ in await parked_in(connection)] == [
            ("tasks", position) for position in (3, 4, 5, 6)
        ]
        assert (await parked_in(connection))[1][2].startswith("waits behind the event at position 3")
        cursor = await connection.execute("SELECT name, version FROM tasks WHERE id = %s", (TASK,))
        assert await cursor.fetchone() == ("report", 1)


async def test_a_replay_goes_on_where_the_task_stopped(database: str) -> None:
    async with await connect(database) as connection, pool(database, 2) as db:
        await append(
            connection, [created(), updated(name="bad"), updated(version=3), started(task_version=3)]
        )
        await prepare(connection, PROJECTIONS)
        await connection.execute("ALTER TABLE task_definitions ADD CONSTRAINT sealed CHECK (name <> 'bad')")
        await project(connection, batch_events=1)
        [tasks] = named(["tasks"])
        assert await replay_quarantined(db, tasks) == (0, 3)
        assert len(await parked_in(connection)) == 3
        await connection.execute("ALTER TABLE task_definitions DROP CONSTRAINT sealed")
        assert await replay_quarantined(db, tasks) == (3, 0)
        assert await parked_in(connection) == []
        replayed = await contents(connection)
        await connection.execute("DROP TABLE task_states CASCADE")
        await rebuild(database, PROJECTIONS)
        assert await contents(connection) == replayed


async def test_many_parked_events_are_replayed_in_order(database: str) -> None:
    log = RandomLog(3)
    async with await connect(database) as connection, pool(database, 2) as db:
        await append(connection, log.grow(10))
        await project(connection)
        await connection.execute(
            "ALTER TABLE task_states ADD CONSTRAINT sealed CHECK (version < 0) NOT VALID"
        )
        await append(connection, log.grow(900))
        parked = await project(connection)
        assert len(parked) > 450
        await connection.execute("ALTER TABLE task_states DROP CONSTRAINT sealed")
        [tasks] = named(["tasks"])
        assert await replay_quarantined(db, tasks) == (len(parked), 0)
        replayed = await contents(connection)
        await rebuild(database, PROJECTIONS)
        assert await contents(connection) == replayed


@pytest.mark.parametrize(
    ("error", "poison"),
    [
        (psycopg.errors.StringDataRightTruncation(), True),
        (psycopg.errors.CheckViolation(), True),
        (psycopg.errors.ProgramLimitExceeded(), True),
        (psycopg.DataError("text fields cannot contain NUL"), True),
        (psycopg.ProgrammingError("cannot adapt type"), True),
        (PoisonEvent("unknown"), True),
        (KeyError("a fold's mistake"), True),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"), True),
        (psycopg.errors.UndefinedTable(), False),
        (psycopg.errors.DeadlockDetected(), False),
        (psycopg.errors.ReadOnlySqlTransaction(), False),
        (psycopg.errors.DiskFull(), False),
        (psycopg.OperationalError("the connection is lost"), False),
        (CheckpointMoved(), False),
        (ConnectionResetError(), False),
        (TimeoutError(), False),
        (MemoryError(), False),
    ],
)
def test_only_what_would_fail_again_is_poison(error: Exception, poison: bool) -> None:
    assert is_poison(error) is poison
