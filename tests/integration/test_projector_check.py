"""Checking read models: nothing is found where nothing differs, and all that does is found."""

from __future__ import annotations

import asyncio

import psycopg
import pytest
from psycopg import AsyncConnection

from infrastructure.event_store.log import LogRewound
from infrastructure.postgres import pool
from infrastructure.projector.batch import QuarantinedEvent
from infrastructure.projector.check import (
    CheckRunning,
    DifferentColumn,
    NotCheckable,
    ReplayedMeanwhile,
    check,
)
from infrastructure.projector.rebuild import rebuild
from infrastructure.projector.runner import Projector
from projections import PROJECTIONS, named
from tests.support.checking import TABLES, Told, as_planted, checked, plant
from tests.support.entries import created, updated
from tests.support.projecting import connect, contents, project, reached, running
from tests.support.random_log import RandomLog
from tests.support.stored import append

TOO_LONG = "n" * 256


async def filled(connection: AsyncConnection, events: int, seed: int = 1) -> int:
    """A random log, projected in batches of an odd size; answers its last position."""
    position = await append(connection, RandomLog(seed).grow(events))
    await project(connection, batch_events=97)
    return position


async def own_schema(connection: AsyncConnection) -> bool:
    """Whether the check's own tables are there."""
    cursor = await connection.execute("SELECT to_regnamespace('checking') IS NOT NULL")
    return await cursor.fetchone() == (True,)


@pytest.mark.parametrize("seed", range(4))
async def test_nothing_differs_where_the_projector_did_its_work(database: str, seed: int) -> None:
    async with await connect(database) as connection:
        position = await filled(connection, 6_000, seed)
        found, told = await checked(database)
        assert told.differences == []
        assert found == (
            {"tasks": position, "task_results": position, "statistics": position},
            {"tasks": 0, "task_results": 0, "statistics": 0},
            0,
            0,
        )
        assert set(told.tables) == set(TABLES)
        assert told.positions[-1] == (position, position)
        assert not await own_schema(connection)


async def test_each_planted_difference_is_found_in_every_table(database: str) -> None:
    async with await connect(database) as connection:
        await filled(connection, 3_000)
        planted = [one for table in TABLES for one in await plant(connection, table)]
        found, told = await checked(database)
        assert sorted(as_planted(told.differences)) == sorted(planted)
        assert found.differences == len(planted) == 27


async def test_a_rebuild_mends_what_a_check_finds(database: str) -> None:
    async with await connect(database) as connection:
        await filled(connection, 1_000)
        await plant(connection, "task_states")
        await rebuild(database, PROJECTIONS)
        assert (await checked(database))[0].differences == 0


async def test_a_difference_names_its_row_and_both_values(database: str) -> None:
    async with await connect(database) as connection:
        task = created()
        await append(connection, [task])
        await project(connection)
        await connection.execute("UPDATE task_states SET status = 'paused', runs = 3")
        _, told = await checked(database)
        [difference] = told.differences
        assert (difference.projection, difference.table) == ("tasks", "task_states")
        assert difference.key == {"id": str(task.stream)}
        assert difference.columns == (
            DifferentColumn("status", True, "paused", "scheduled"),
            DifferentColumn("runs", True, "3", "0"),
        )


async def test_what_may_be_secret_is_named_but_not_shown(database: str) -> None:
    async with await connect(database) as connection:
        await append(connection, [created()])
        await project(connection)
        await connection.execute(
            """UPDATE task_definitions SET headers = '{"Authorization": "secret"}', url = 'http://secret/'"""
        )
        _, told = await checked(database)
        [difference] = told.differences
        assert difference.columns == (
            DifferentColumn("url", False, None, None),
            DifferentColumn("headers", False, None, None),
        )


async def test_one_read_model_can_be_checked_alone(database: str) -> None:
    async with await connect(database) as connection:
        await filled(connection, 500)
        await plant(connection, "statistics")
        assert (await checked(database, named(["tasks"])))[0].differences == 0
        assert (await checked(database, named(["statistics"])))[0].differences == 3


async def test_read_models_at_different_places_are_each_checked_where_they_stand(database: str) -> None:
    async with await connect(database) as connection:
        log = RandomLog(5)
        await append(connection, log.grow(300))
        await project(connection)
        behind = await append(connection, log.grow(300))
        await append(connection, log.grow(300))
        await project(connection, projections=named(["tasks"]))
        found, told = await checked(database)
        assert told.differences == []
        assert found.positions["task_results"] < behind < found.positions["tasks"]


async def test_beside_a_projector_and_writers_nothing_differs(database: str) -> None:
    log = RandomLog(3)
    async with (
        await connect(database) as connection,
        await connect(database) as writer,
        pool(database, 4) as db,
    ):
        await append(connection, log.grow(3_000))
        async with running(Projector(db, database, PROJECTIONS)):
            await reached(connection, 1_000)
            checking = asyncio.create_task(checked(database))
            while not checking.done():
                position = await append(writer, log.grow(40))
                await asyncio.sleep(0.005)
            found, told = await checking
            assert (found.differences, told.differences) == (0, [])
            await reached(connection, position)


async def test_the_projector_goes_on_while_tables_are_compared(database: str) -> None:
    log = RandomLog(6)
    locked: list[int] = []

    def append_and_project() -> None:
        with psycopg.connect(database, autocommit=True) as other:
            other.execute("SET statement_timeout = '5s'")
            rows = other.execute("SELECT name FROM projection_checkpoints FOR UPDATE NOWAIT").fetchall()
            other.execute("UPDATE task_states SET runs = runs")
            locked.append(len(rows))

    async with await connect(database) as connection:
        await append(connection, log.grow(500))
        await project(connection)
        found = await check(database, PROJECTIONS, Told(append_and_project))
        assert locked == [3] * len(TABLES)
        assert found.differences == 0


async def test_what_is_parked_is_left_out_and_told(database: str) -> None:
    async with await connect(database) as connection:
        await append(connection, [created(), updated(name=TOO_LONG), updated(version=3)])
        await project(connection, batch_events=1)
        found, told = await checked(database)
        assert told.differences == []
        assert (found.parked, found.refused) == ({"tasks": 2, "task_results": 0, "statistics": 0}, 0)


async def test_an_event_that_cannot_be_applied_and_is_not_parked_is_told(database: str) -> None:
    async with await connect(database) as connection:
        await append(connection, [created(), updated(name=TOO_LONG)])
        await project(connection)
        await connection.execute("DELETE FROM parked_events")
        found, told = await checked(database)
        assert found.refused == 1
        [refusal] = told.refusals
        assert isinstance(refusal, QuarantinedEvent)
        assert (refusal.projection, refusal.position) == ("tasks", 2)
        assert "too long" in refusal.error


async def test_parked_events_that_are_replayed_meanwhile_call_for_another_check(database: str) -> None:
    class Replaying(Told):
        def folded(self, position: int, until: int) -> None:
            with psycopg.connect(database, autocommit=True) as other:
                other.execute("DELETE FROM parked_events")

    async with await connect(database) as connection:
        await append(connection, [created(), updated(name=TOO_LONG)])
        await project(connection)
        with pytest.raises(ReplayedMeanwhile, match="tasks were replayed"):
            await check(database, PROJECTIONS, Replaying())
        assert not await own_schema(connection)


async def test_a_rebuild_meanwhile_is_no_difference(database: str) -> None:
    class Rebuilding(Told):
        def folded(self, position: int, until: int) -> None:
            if not self.positions:
                asyncio.run_coroutine_threadsafe(rebuild(database, PROJECTIONS), loop).result(60)
            super().folded(position, until)

    async with await connect(database) as connection:
        await filled(connection, 1_500)
        loop = asyncio.get_running_loop()
        told = Rebuilding()
        found = await asyncio.to_thread(asyncio.run, check(database, PROJECTIONS, told))
        assert (found.differences, told.differences) == (0, [])


async def test_the_second_of_two_checks_is_refused(database: str) -> None:
    async with await connect(database) as connection:
        await filled(connection, 2_000)
        outcomes = await asyncio.gather(checked(database), checked(database), return_exceptions=True)
        refusals = [outcome for outcome in outcomes if isinstance(outcome, CheckRunning)]
        assert [str(one) for one in refusals] == [
            "another check is running on this database; wait until it is done"
        ]
        assert sum(not isinstance(outcome, BaseException) for outcome in outcomes) == 1


async def test_what_a_killed_check_left_behind_the_next_one_drops(database: str) -> None:
    class Killed(Told):
        def folded(self, position: int, until: int) -> None:
            with psycopg.connect(database, autocommit=True) as other:
                other.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND "
                    "database = (SELECT oid FROM pg_database WHERE datname = current_database())"
                )

    async with await connect(database) as connection:
        await filled(connection, 500)
        before = await contents(connection)
        with pytest.raises(psycopg.OperationalError):
            await check(database, PROJECTIONS, Killed())
        assert await own_schema(connection)
        assert (await checked(database))[0].differences == 0
        assert not await own_schema(connection)
        assert await contents(connection) == before


async def test_a_cancelled_check_leaves_nothing_behind(database: str) -> None:
    class Cancelled(Told):
        def folded(self, position: int, until: int) -> None:
            task.cancel()

    async with await connect(database) as connection:
        await filled(connection, 500)
        task = asyncio.create_task(check(database, PROJECTIONS, Cancelled()))
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not await own_schema(connection)


@pytest.mark.parametrize(
    ("damage", "advice"),
    [
        ("DROP TABLE task_definitions CASCADE", r"missing \(task_definitions\); start a projector"),
        ("DELETE FROM projection_checkpoints", "was never made here; start a projector"),
        ("UPDATE projection_checkpoints SET version = 1", "has version 1, this release"),
    ],
)
async def test_a_read_model_that_is_not_of_this_release_cannot_be_checked(
    database: str, damage: str, advice: str
) -> None:
    async with await connect(database) as connection:
        await filled(connection, 50)
        await connection.execute(damage.encode())
        with pytest.raises(NotCheckable, match=advice):
            await checked(database)
        assert not await own_schema(connection)


async def test_read_models_that_know_of_lost_events_cannot_be_checked(database: str) -> None:
    async with await connect(database) as connection:
        position = await filled(connection, 50)
        await connection.execute("UPDATE projection_checkpoints SET position = position + 5")
        with pytest.raises(LogRewound, match=f"ends at {position}, before {position + 5}"):
            await checked(database)


async def test_an_empty_log_is_as_its_read_models(database: str) -> None:
    async with await connect(database) as connection:
        await project(connection)
        found, _ = await checked(database)
        assert (found.positions["tasks"], found.differences) == (0, 0)
