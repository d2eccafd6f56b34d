"""Read models see what is archived, however they come to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from psycopg import sql

from application.ports import ArchiveAway
from infrastructure.postgres import pool
from infrastructure.projector.batch import QuarantinedEventMissing, replay_quarantined
from infrastructure.projector.rebuild import rebuild
from infrastructure.projector.runner import Projector
from infrastructure.projector.workplace import prepare
from projections import PROJECTIONS, named
from projections.task_results import TaskResults
from tests.support.archives import Archivist, filled
from tests.support.months import APRIL, JANUARY, TASKS, run_of, started
from tests.support.projecting import connect, contents, project, running, until
from tests.support.stored import append

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from pathlib import Path
    from uuid import UUID

    from psycopg import AsyncConnection

    from projections.projection import Entry


@pytest.fixture
async def archivist(database: str, tmp_path: Path) -> Archivist:
    await filled(database, days=5)
    return Archivist(database, tmp_path / "archives")


class Refusing(TaskResults):
    """Cannot apply what happened to one execution."""

    def __init__(self, execution: UUID) -> None:
        super().__init__()
        self._execution = execution

    async def apply(self, connection: AsyncConnection, entries: Sequence[Entry]) -> AsyncGenerator[None]:
        if any(entry.stream == self._execution for entry in entries):
            raise ValueError("not by this release")
        async for _ in super().apply(connection, entries):
            yield


async def test_parked_events_that_are_archived_are_applied_by_a_replay(archivist: Archivist) -> None:
    [results] = named(["task_results"])
    async with await connect(archivist.dsn) as connection, pool(archivist.dsn, 2) as db:
        before = await contents(connection)
        archivist.archive(JANUARY)
        refusing = [Refusing(run_of(TASKS[0], JANUARY, 3))]
        assert (await rebuild(archivist.dsn, refusing, whole_log=archivist.whole_log)).parked == 2
        assert await contents(connection) != before
        with pytest.raises(ArchiveAway):
            await replay_quarantined(db, results)
        assert await replay_quarantined(db, results, archivist.whole_log) == (2, 0)
        assert await contents(connection) == before


async def test_another_event_is_never_applied_in_the_place_of_a_parked_one(archivist: Archivist) -> None:
    [results] = named(["task_results"])
    async with await connect(archivist.dsn) as connection, pool(archivist.dsn, 2) as db:
        gap = await (
            await connection.execute("SELECT nextval(pg_get_serial_sequence('events', 'notification_id'))")
        ).fetchone()
        await append(connection, [started(TASKS[0], APRIL, 2)])
        await project(connection)
        before = await contents(connection)
        await connection.execute(
            "INSERT INTO parked_events (projection, position, key, error) "
            "VALUES ('task_results', %s, %s, '')",
            (*gap, TASKS[0]),  # type: ignore[misc]
        )
        with pytest.raises(
            QuarantinedEventMissing, match=r"the log does not hold it; .* rebuild task_results"
        ):
            await replay_quarantined(db, results, archivist.whole_log)
        assert await contents(connection) == before


async def test_a_new_read_model_is_built_from_what_is_archived_as_well(archivist: Archivist) -> None:
    [statistics] = named(["statistics"])
    async with await connect(archivist.dsn) as connection, pool(archivist.dsn, 4) as db:
        before = await contents(connection)
        archivist.archive(JANUARY)
        for table in statistics.tables:
            await connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(table)))
        await connection.execute("DELETE FROM projection_checkpoints WHERE name = 'statistics'")
        assert (await prepare(connection, PROJECTIONS)).outdated == [statistics]

        async def there() -> bool:
            return not (await prepare(connection, PROJECTIONS)).outdated

        async with running(Projector(db, archivist.dsn, PROJECTIONS, whole_log=archivist.whole_log)):
            await until(there)
        assert await contents(connection) == before


async def test_a_read_model_that_is_behind_what_left_the_table_is_built_anew(archivist: Archivist) -> None:
    async with await connect(archivist.dsn) as connection:
        archived = archivist.archive(JANUARY)
        change = "UPDATE projection_checkpoints SET position = %s WHERE name = 'tasks'"
        await connection.execute(change, (archived.last_position,))
        assert (await prepare(connection, PROJECTIONS)).outdated == []
        await connection.execute(change, (archived.last_position - 1,))
        assert (await prepare(connection, PROJECTIONS)).outdated == [*named(["tasks"])]
        archivist.restore(JANUARY)
        assert (await prepare(connection, PROJECTIONS)).outdated == []
