"""The projector and its tables: missing, dropped, of another version."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import ClassVar

import pytest
from psycopg import AsyncConnection
from structlog.testing import capture_logs

from infrastructure.event_store.log import LogRewound
from infrastructure.migrator import migrate
from infrastructure.postgres import pool
from infrastructure.projector.rebuild import rebuild
from infrastructure.projector.runner import Projector, TablesMissing
from infrastructure.projector.workplace import LaterRelease, prepare
from projections import PROJECTIONS, named
from projections.statistics import Statistics
from projections.task_results import TaskResults
from projections.tasks import Tasks
from tests.support.entries import created
from tests.support.projecting import (
    DEADLINE_SECONDS,
    connect,
    contents,
    project,
    reached,
    running,
    until,
)
from tests.support.proxy import Proxy
from tests.support.random_log import RandomLog
from tests.support.stored import append


async def expected(connection: AsyncConnection, dsn: str) -> None:
    """The live rows are those that a rebuild makes."""
    live = await contents(connection)
    await rebuild(dsn, PROJECTIONS)
    assert await contents(connection) == live


async def test_a_dropped_table_is_waited_for_and_parks_nothing(database: str) -> None:
    log = RandomLog(9)
    async with await connect(database) as connection, pool(database, 3) as db:
        projector = Projector(db, database, PROJECTIONS)
        async with running(projector):
            await reached(connection, await append(connection, log.grow(300)))
            await connection.execute("DROP TABLE task_states, open_results CASCADE")
            position = await append(connection, log.grow(300))

            async def gave_up() -> bool:
                return not projector.owns

            await until(gave_up)
            await rebuild(database, named(["tasks", "task_results"]))
            await reached(connection, position)
        cursor = await connection.execute("SELECT count(*) FROM parked_events")
        assert await cursor.fetchone() == (0,)
        await expected(connection, database)


async def test_tables_that_are_missing_at_the_start_are_rebuilt(database: str) -> None:
    log = RandomLog(10)
    async with await connect(database) as connection, pool(database, 4) as db:
        await append(connection, log.grow(1_500))
        await project(connection)
        before = await contents(connection)
        await connection.execute("DROP TABLE task_states, result_counts CASCADE")
        async with running(Projector(db, database, PROJECTIONS)):
            await until(lambda: has_table(connection, "tasks"))
            await until(lambda: has_table(connection, "result_counts"))
        assert await contents(connection) == before


async def has_table(connection: AsyncConnection, name: str) -> bool:
    cursor = await connection.execute("SELECT to_regclass(%s) IS NOT NULL", (name,))
    return await cursor.fetchone() == (True,)


class NextTasks(Tasks):
    """The same rows, said to be made in a new way."""

    version: ClassVar[int] = Tasks.version + 1


async def versions(connection: AsyncConnection) -> dict[str, int]:
    cursor = await connection.execute("SELECT name, version FROM projection_checkpoints")
    return dict(await cursor.fetchall())


async def test_a_new_version_is_rebuilt_beside_the_others(database: str) -> None:
    log = RandomLog(11)
    async with await connect(database) as connection, pool(database, 4) as db:
        await append(connection, log.grow(2_000))
        await project(connection)
        await connection.execute("UPDATE task_definitions SET name = 'old way'")
        async with running(Projector(db, database, (NextTasks(), TaskResults(), Statistics()))):
            position = await append(connection, log.grow(500))
            await reached(connection, position)

            async def renewed() -> bool:
                return (await versions(connection))["tasks"] == NextTasks.version

            await until(renewed)
            await reached(connection, await append(connection, log.grow(100)))
        live = await contents(connection)
        await rebuild(database, PROJECTIONS)
        assert await contents(connection) == live
        assert not any("old way" in row for row in live["tasks"])


async def test_what_a_later_release_wrote_is_left_alone(database: str) -> None:
    async with await connect(database) as connection, pool(database, 3) as db:
        await prepare(connection, (NextTasks(), TaskResults(), Statistics()))
        later = f"tasks has version {NextTasks.version}, this release knows {Tasks.version}; run the later"
        with pytest.raises(LaterRelease, match=later):
            await prepare(connection, PROJECTIONS)
        with capture_logs() as logged:
            async with running(Projector(db, database, PROJECTIONS)):
                await append(connection, [created()])
                await until(lambda: said(logged, "run the later release, or `chronoledger rebuild tasks`"))
        assert (await contents(connection))["tasks"] == []
        # Who says so means it: a rebuild goes back to this release's version.
        await rebuild(database, PROJECTIONS)
        assert (await versions(connection))["tasks"] == Tasks.version


async def said(logged: Sequence[Mapping[str, object]], words: str) -> bool:
    return any(words in str(entry.get("error", "")) for entry in logged)


async def test_a_projection_whose_checkpoint_is_gone_is_rebuilt(database: str) -> None:
    async with await connect(database) as connection, pool(database, 4) as db:
        await append(connection, RandomLog(12).grow(500))
        await project(connection)
        before = await contents(connection)
        await connection.execute("DELETE FROM projection_checkpoints WHERE name = 'statistics'")
        assert (await prepare(connection, PROJECTIONS)).outdated == [PROJECTIONS[2]]
        async with running(Projector(db, database, PROJECTIONS)):
            await until(lambda: has_checkpoint(connection, "statistics"))
        assert await contents(connection) == before


async def test_a_checkpoint_that_vanishes_under_a_projector_stops_it_until_a_rebuild(database: str) -> None:
    log = RandomLog(13)
    async with await connect(database) as connection, pool(database, 4) as db:
        with capture_logs() as logged:
            async with running(Projector(db, database, PROJECTIONS)):
                await reached(connection, await append(connection, log.grow(300)))
                await connection.execute("DELETE FROM projection_checkpoints WHERE name = 'statistics'")
                position = await append(connection, log.grow(300))
                await until(lambda: said(logged, "make them again with `chronoledger rebuild"))
                await rebuild(database, named(["statistics"]))
                await reached(connection, position)
        await expected(connection, database)


async def lose_after(connection: AsyncConnection, position: int) -> None:
    """What restoring the log alone from a backup does to it."""
    async with connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute("DELETE FROM events WHERE notification_id > %s", (position,))


async def rebuilt_up_to(connection: AsyncConnection, position: int) -> bool:
    cursor = await connection.execute(
        "SELECT bool_and(position = %s) FROM projection_checkpoints", (position,)
    )
    return await cursor.fetchone() == (True,)


async def test_read_models_of_events_that_were_lost_are_rebuilt_at_the_start(database: str) -> None:
    async with await connect(database) as connection, pool(database, 4) as db:
        await append(connection, RandomLog(15).grow(500))
        await project(connection)
        await lose_after(connection, 400)
        prepared = await prepare(connection, PROJECTIONS)
        assert (prepared.current, prepared.outdated) == ([], list(PROJECTIONS))
        assert str(prepared.rewound) == "the log ends at 400, before 500: was a backup restored?"
        async with running(Projector(db, database, PROJECTIONS)):
            await until(lambda: rebuilt_up_to(connection, 400))
        await expected(connection, database)


async def test_a_rebuild_mends_what_knows_of_lost_events(database: str) -> None:
    async with await connect(database) as connection:
        await append(connection, RandomLog(16).grow(100))
        await project(connection)
        await lose_after(connection, 90)
        assert (await rebuild(database, PROJECTIONS)).position == 90
        assert (await prepare(connection, PROJECTIONS)).rewound is None


async def test_a_log_that_becomes_shorter_under_a_projector_ends_it(database: str) -> None:
    ended = pytest.RaisesExc(LogRewound, match=r"the log ends at 200, before 30\d: was a backup restored\?")
    async with await connect(database) as connection, pool(database, 4) as db:
        projecting = asyncio.create_task(Projector(db, database, PROJECTIONS).run())
        await reached(connection, await append(connection, RandomLog(17).grow(300)))
        await lose_after(connection, 200)
        with pytest.RaisesGroup(ended, flatten_subgroups=True):
            await asyncio.wait_for(projecting, DEADLINE_SECONDS)


async def test_a_projector_that_was_cut_off_meanwhile_ends_too(database: str) -> None:
    async with await connect(database) as connection, pool(database, 4) as db, Proxy(database) as proxy:
        projecting = asyncio.create_task(Projector(db, proxy.dsn, PROJECTIONS).run())
        await reached(connection, await append(connection, RandomLog(18).grow(300)))
        proxy.refuse()
        await until(lambda: refused(proxy))
        await lose_after(connection, 200)
        proxy.accept()
        with pytest.raises(LogRewound, match=r"before 30\d"):
            await asyncio.wait_for(projecting, DEADLINE_SECONDS)


async def refused(proxy: Proxy) -> bool:
    return proxy.refused > 0


async def test_a_projector_that_has_to_rebuild_lets_another_rebuild_end_first(database: str) -> None:
    async with (
        await connect(database) as connection,
        await connect(database) as other,
        pool(database, 4) as db,
    ):
        await append(connection, RandomLog(14).grow(300))
        await project(connection)
        before = await contents(connection)
        await connection.execute("DROP TABLE task_states CASCADE")
        await other.execute("SELECT pg_advisory_lock(hashtextextended('chronoledger.rebuild', 0))")
        with capture_logs() as logged:
            async with running(Projector(db, database, PROJECTIONS)):
                await until(lambda: said(logged, "another rebuild is running"))
                assert not await has_table(connection, "tasks")
                await other.close()
                await until(lambda: has_table(connection, "tasks"))
        assert await contents(connection) == before


async def has_checkpoint(connection: AsyncConnection, name: str) -> bool:
    return name in await versions(connection)


async def test_an_unmigrated_database_is_waited_for(empty_database: str) -> None:
    async with pool(empty_database, 3) as db:
        with capture_logs() as logged:
            async with running(Projector(db, empty_database, PROJECTIONS)):
                await until(lambda: said(logged, 'relation "projection_checkpoints" does not exist'))
                await asyncio.to_thread(migrate, empty_database)
                async with await connect(empty_database) as connection:
                    await reached(connection, await append(connection, [created()]))
        assert [entry["event"] for entry in logged].count("projector waits") == 1


def test_the_sentence_names_what_is_to_be_rebuilt() -> None:
    assert str(TablesMissing(PROJECTIONS[:2])).endswith("`chronoledger rebuild tasks task_results`")
