"""Rebuilding: the same rows, byte for byte, beside whatever else goes on."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest
from psycopg import AsyncConnection

from infrastructure.postgres import pool
from infrastructure.projector.rebuild import RebuildRunning, TablesInUse, rebuild
from infrastructure.projector.runner import Projector
from infrastructure.sql import statements
from projections import PROJECTIONS, named
from tests.support.entries import created, updated
from tests.support.projecting import connect, contents, parked_in, project, reached, running, until
from tests.support.random_log import RandomLog
from tests.support.stored import append

statement = statements("infrastructure.projector")


async def filled(connection: AsyncConnection, events: int, seed: int = 1) -> int:
    """A random log, projected in batches of an odd size; answers its last position."""
    position = await append(connection, RandomLog(seed).grow(events))
    await project(connection, batch_events=97)
    return position


async def test_dropped_tables_come_back_byte_for_byte(database: str) -> None:
    async with await connect(database) as connection:
        position = await filled(connection, 5_000)
        before = await contents(connection)
        await connection.execute("DROP TABLE task_definitions, closed_results CASCADE")
        rebuilt = await rebuild(database, PROJECTIONS)
        assert rebuilt == (position, 0)
        assert await contents(connection) == before
        assert all(before[table] for table in ("tasks", "task_results", "statistics", "statistics_open"))


@pytest.mark.parametrize("batch_events", [1, 7, 1_000])
async def test_the_rows_do_not_depend_on_the_batches(database: str, batch_events: int) -> None:
    async with await connect(database) as connection:
        await append(connection, RandomLog(2).grow(700))
        await project(connection, batch_events=batch_events)
        before = await contents(connection)
        await rebuild(database, PROJECTIONS)
        assert await contents(connection) == before


async def test_a_rebuild_of_one_leaves_the_others_where_they_were(database: str) -> None:
    async with await connect(database) as connection:
        await filled(connection, 500)
        before = await contents(connection)
        await connection.execute("UPDATE task_definitions SET name = 'spoiled'")
        await connection.execute("UPDATE statistics SET total = total + 1")
        await rebuild(database, named(["tasks"]))
        after = await contents(connection)
        assert after["tasks"] == before["tasks"]
        assert after["statistics"] != before["statistics"]


async def test_a_database_where_nothing_was_ever_projected_can_be_rebuilt(database: str) -> None:
    async with await connect(database) as connection:
        position = await append(connection, [created()])
        await rebuild(database, PROJECTIONS)
        assert len((await contents(connection))["tasks"]) == 1
        await reached(connection, position)


async def test_new_tables_keep_their_keys_and_indexes(database: str) -> None:
    async def indexes(connection: AsyncConnection) -> set[tuple[str, str]]:
        cursor = await connection.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
        )
        return {(name, definition) for name, definition in await cursor.fetchall()}

    async with await connect(database) as connection:
        await filled(connection, 50)
        before = await indexes(connection)
        await rebuild(database, PROJECTIONS)
        assert await indexes(connection) == before
        assert any(name == "tasks_due" for name, _ in before)


async def test_a_rebuild_beside_a_projector_and_writers_loses_nothing(database: str) -> None:
    log = RandomLog(3)
    async with (
        await connect(database) as connection,
        await connect(database) as writer,
        pool(database, 4) as db,
    ):
        await append(connection, log.grow(3_000))
        async with running(Projector(db, database, PROJECTIONS)):
            rebuilding = asyncio.create_task(rebuild(database, PROJECTIONS))
            while not rebuilding.done():
                position = await append(writer, log.grow(40))
                await asyncio.sleep(0.005)
            await rebuilding
            position = await append(writer, log.grow(40))
            await reached(connection, position)
        live = await contents(connection)
        await rebuild(database, PROJECTIONS)
        assert await contents(connection) == live


async def test_the_second_of_two_rebuilds_is_refused(database: str) -> None:
    async with await connect(database) as connection:
        await filled(connection, 3_000)
        outcomes = await asyncio.gather(
            rebuild(database, PROJECTIONS), rebuild(database, PROJECTIONS), return_exceptions=True
        )
        refusals = [outcome for outcome in outcomes if isinstance(outcome, RebuildRunning)]
        assert [str(refusal) for refusal in refusals] == [
            "another rebuild is running on this database; wait until it is done"
        ]
        assert sum(not isinstance(outcome, BaseException) for outcome in outcomes) == 1


async def test_a_reader_that_never_ends_keeps_the_old_tables(database: str) -> None:
    async with await connect(database) as connection, await connect(database) as reader:
        await filled(connection, 100)
        async with reader.transaction():
            await reader.execute("SELECT count(*) FROM tasks")
            with pytest.raises(TablesInUse, match="end those"):
                await rebuild(database, PROJECTIONS, patience_seconds=0.2)
        await rebuild(database, PROJECTIONS)


async def test_what_cannot_be_applied_is_parked_anew(database: str) -> None:
    async with await connect(database) as connection:
        await append(connection, [created(), updated(name="n" * 256)])
        parked = await project(connection)
        assert [event.position for event in parked] == [2]
        assert (await rebuild(database, PROJECTIONS)).parked == 1
        assert [(name, position) for name, position, _ in await parked_in(connection)] == [("tasks", 2)]


async def test_while_a_read_model_is_rebuilt_nobody_is_told_what_is_visible(database: str) -> None:
    async with await connect(database) as connection, await connect(database) as listener:
        await filled(connection, 100)
        await connection.execute(
            "UPDATE projection_checkpoints SET version = version - 1 WHERE name = 'statistics'"
        )
        await listener.execute("LISTEN projected")
        await connection.execute(statement("take_rebuild"))  # so that the projector's does not begin

        async def place(name: str) -> tuple[int, int]:
            cursor = await connection.execute(
                "SELECT version, position FROM projection_checkpoints WHERE name = %s", (name,)
            )
            [(version, position)] = await cursor.fetchall()
            return version, position

        async def told(what: str) -> list[str]:
            await connection.execute("SELECT pg_notify('projected', %s)", (what,))
            heard: list[str] = []
            async for notification in listener.notifies(timeout=60):
                heard.append(notification.payload)
                if notification.payload == what:
                    break
            return heard

        async with pool(database, 4) as db, running(Projector(db, database, PROJECTIONS)):
            position = await append(connection, [created()])

            async def shown() -> bool:
                return (await place("tasks"))[1] == position

            await until(shown)
            assert await told("meanwhile") == ["meanwhile"]
            await connection.execute("SELECT pg_advisory_unlock_all()")
            [statistics] = named(["statistics"])

            async def rebuilt() -> bool:
                return (await place("statistics"))[0] == statistics.version

            await until(rebuilt)
            position = await append(connection, [created(stream=UUID(int=77))])
            await reached(connection, position)
            assert str(position) in await told("afterwards")
