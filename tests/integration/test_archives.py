"""Months leave the log for a file and come back, nobody can tell, and the catalog forgets nothing."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from application.ports import ArchiveAway
from domain.identity import Month
from infrastructure.archive.archiving import (
    ArchivingRunning,
    NoSuchArchive,
    NotArchivable,
    alone,
    months_before,
)
from infrastructure.archive.catalog import archives
from infrastructure.migrator import migrate_down, months_archived
from tests.support.archives import Archivist, filled, rows, settle
from tests.support.months import APRIL, FEBRUARY, JANUARY, MARCH, TASKS, created, run_of, started, succeeded
from tests.support.projecting import connect, project
from tests.support.sealing import seal
from tests.support.stored import append


@pytest.fixture
def archivist(database: str, tmp_path: Path) -> Archivist:
    return Archivist(database, tmp_path / "archives")


async def test_a_month_comes_back_to_the_byte(archivist: Archivist) -> None:
    await filled(archivist.dsn)
    async with await connect(archivist.dsn) as connection:
        before = await rows(connection)
        archived = archivist.archive(FEBRUARY)
        left = await rows(connection)
        assert archived.state == "archived"
        assert len(left) == len(before) - archived.events
        assert not [row for row in left if archived.has(row[1])]  # type: ignore[arg-type]
        assert archivist.restore(FEBRUARY).state == "restored"
        assert await rows(connection) == before


async def test_an_execution_of_more_events_than_are_removed_at_once_goes_as_well(
    archivist: Archivist, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infrastructure.archive.archiving.REMOVED_ROWS", 1)
    await filled(archivist.dsn, days=5)
    async with await connect(archivist.dsn) as connection:
        before = await rows(connection)
        archived = archivist.archive(JANUARY)
        assert len(await rows(connection)) == len(before) - archived.events
        archivist.restore(JANUARY)
        assert await rows(connection) == before


async def test_a_rollback_says_how_many_months_it_forgets_and_leaves_their_files(
    archivist: Archivist,
) -> None:
    await filled(archivist.dsn, days=5)
    assert months_archived(archivist.dsn) == 0
    archived = [archivist.archive(month).name for month in (JANUARY, MARCH)]
    archivist.archive(FEBRUARY)
    archivist.restore(FEBRUARY)
    assert months_archived(archivist.dsn) == 2
    migrate_down(archivist.dsn)
    assert months_archived(archivist.dsn) == 0
    assert {file.name for file in archivist.folder.iterdir()} > set(archived)


async def test_the_log_refuses_what_falls_into_an_archived_month_until_it_is_restored(
    archivist: Archivist,
) -> None:
    await filled(archivist.dsn, days=5)
    archivist.archive(JANUARY)
    archivist.archive(FEBRUARY)
    async with await connect(archivist.dsn) as connection:
        for month, day in ((JANUARY, 1), (JANUARY, 30), (FEBRUARY, 1)):
            with pytest.raises(AssertionError, match="refused"):
                await append(connection, [started(TASKS[0], month, day)])
        assert await append(connection, [started(TASKS[0], MARCH, 30), succeeded(TASKS[0], MARCH, 30)])
        archivist.restore(JANUARY)
        with pytest.raises(AssertionError, match="refused"):  # it is there
            await append(connection, [started(TASKS[0], JANUARY, 1)])
        with pytest.raises(AssertionError, match="refused"):
            await append(connection, [started(TASKS[0], FEBRUARY, 28)])
        assert await append(connection, [started(TASKS[0], JANUARY, 30)])


async def test_processes_of_earlier_releases_are_refused_as_well(archivist: Archivist) -> None:
    await filled(archivist.dsn, days=5)
    archivist.archive(JANUARY)
    call = (
        "SELECT accepted_group, last_position - first.position FROM append_events("
        "ARRAY[0, 1, 2, 1], %s::uuid[], ARRAY[1, 1, 1, 1]::bigint[], "
        "array_fill('execution.skipped.v1'::text, ARRAY[4]), array_fill('{}'::bytea, ARRAY[4]), "
        "'{}', '{}', '{}') "
        "CROSS JOIN (SELECT max(notification_id) AS position FROM events) AS first ORDER BY 1"
    )
    runs = [run_of(TASKS[0], *place) for place in ((JANUARY, 30), (APRIL, 2), (APRIL, 3), (APRIL, 4))]
    async with await connect(archivist.dsn) as connection:
        cursor = await connection.execute(call, (runs,))
        assert await cursor.fetchall() == [(1, 3), (2, 2)]


async def test_events_leave_the_log_for_an_archive_only(archivist: Archivist) -> None:
    await filled(archivist.dsn, days=5)
    archivist.archive(JANUARY)
    async with await connect(archivist.dsn) as connection:
        for statement in (
            "DELETE FROM events",
            "DELETE FROM events WHERE originator_id = (SELECT max(originator_id::text)::uuid FROM events)",
            "UPDATE events SET topic = ''",
            "TRUNCATE events",
        ):
            with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="append-only"):
                await connection.execute(statement)
        archivist.restore(JANUARY)
        with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="append-only"):
            await connection.execute(
                "DELETE FROM events WHERE originator_id = %s", (run_of(TASKS[0], JANUARY, 1),)
            )


async def test_a_restored_month_is_archived_anew_with_what_was_added(archivist: Archivist) -> None:
    await filled(archivist.dsn, days=5)
    first = archivist.archive(JANUARY)
    archivist.restore(JANUARY)
    assert archivist.archive(JANUARY).name == first.name
    archivist.restore(JANUARY)
    async with await connect(archivist.dsn) as connection:
        await append(connection, [started(TASKS[0], JANUARY, 30), succeeded(TASKS[0], JANUARY, 30)])
        await append(connection, [started(TASKS[0], APRIL, 2)])
        await settle(connection)
        second = archivist.archive(JANUARY)
        assert (second.events, second.executions) == (first.events + 2, first.executions + 1)
        assert [one.name for one in await archives(connection)] == [second.name]


async def test_the_months_of_a_log_are_found(archivist: Archivist) -> None:
    await filled(archivist.dsn, days=2)
    with alone(archivist.dsn) as connection:
        assert list(months_before(connection, APRIL.start)) == [JANUARY, FEBRUARY, MARCH]
        assert list(months_before(connection, MARCH.start)) == [JANUARY, FEBRUARY]
        assert list(months_before(connection, JANUARY.start)) == []
    archivist.archive(JANUARY)
    with alone(archivist.dsn) as connection:
        assert list(months_before(connection, MARCH.start)) == [FEBRUARY]


async def test_a_month_stays_while_anything_still_needs_it(archivist: Archivist) -> None:
    async with await connect(archivist.dsn) as connection:
        await append(connection, [created(TASKS[0]), started(TASKS[0], JANUARY, 1)])
        with pytest.raises(NotArchivable, match="1 of its executions are not over, such as"):
            archivist.archive(JANUARY)
        await append(connection, [succeeded(TASKS[0], JANUARY, 1)])
        with pytest.raises(NotArchivable, match="holds the newest event"):
            archivist.archive(JANUARY)
        await append(connection, [created(TASKS[1])])
        with pytest.raises(NotArchivable, match="let a projector run"):
            archivist.archive(JANUARY)
        await project(connection)
        with pytest.raises(
            NotArchivable, match=f"2 tasks have their next run in it or before, such as {TASKS[1]}"
        ):
            archivist.archive(JANUARY)
        await append(connection, [started(TASKS[0], MARCH, 1), started(TASKS[1], MARCH, 1)])
        await project(connection)
        await connection.execute(
            "INSERT INTO parked_events (projection, position, key, error) VALUES ('tasks', 2, %s, '')",
            (TASKS[0],),
        )
        with pytest.raises(NotArchivable, match="1 of its events are parked"):
            archivist.archive(JANUARY)
        await connection.execute("DELETE FROM parked_events")
        await connection.execute(
            "INSERT INTO parked_events (projection, position, key, error) VALUES ('tasks', 1, %s, '')",
            (TASKS[0],),
        )
        with pytest.raises(NotArchivable, match="1 events of the read model tasks are parked"):
            archivist.archive(JANUARY)
        await connection.execute("DELETE FROM parked_events")
        with pytest.raises(NotArchivable, match="it is not sealed"):
            archivist.archive(JANUARY)
        await seal(connection)
        assert archivist.archive(JANUARY).events == 2
        with pytest.raises(NotArchivable, match="there is nothing of it"):
            archivist.archive(JANUARY)


async def test_one_at_a_time_archives(archivist: Archivist) -> None:
    with alone(archivist.dsn), pytest.raises(ArchivingRunning):
        archivist.archive(JANUARY)


async def test_what_was_never_archived_cannot_be_restored(archivist: Archivist) -> None:
    with pytest.raises(NoSuchArchive, match="2026-01 was never archived"):
        archivist.restore(JANUARY)


async def test_a_damaged_archive_is_not_restored(archivist: Archivist) -> None:
    await filled(archivist.dsn, days=5)
    archived = archivist.archive(JANUARY)
    path = archivist.folder / archived.name
    whole_file = path.read_bytes()
    path.write_bytes(whole_file[:100] + bytes([whole_file[100] ^ 1]) + whole_file[101:])
    async with await connect(archivist.dsn) as connection:
        before = await rows(connection)
        with pytest.raises(ArchiveAway, match="SHA-256"):
            archivist.restore(JANUARY)
        assert await rows(connection) == before
        path.write_bytes(whole_file)
        archivist.restore(JANUARY)
        assert len(await rows(connection)) == len(before) + archived.events


def catalogue_row(**changed: object) -> tuple[str, dict[str, object]]:
    """A statement that says of February that it is archived, and its parameters."""
    told = {
        "month": FEBRUARY.start.date(),
        "name": "x",
        "size": 1,
        "sha256": "",
        "manifest_sha256": "",
        "events": 1,
        "executions": 1,
        "first_stream": FEBRUARY.first_execution,
        "end_stream": FEBRUARY.end_of_executions,
        "first_position": 1,
        "last_position": 2,
        "state": "archived",
    } | changed
    names = ", ".join(told)
    return f"INSERT INTO archives ({names}) VALUES ({', '.join(f'%({name})s' for name in told)})", told


@pytest.mark.parametrize(
    "changed",
    [
        {"first_stream": UUID(int=0)},
        {"end_stream": UUID(int=(1 << 128) - 1)},
        {"first_stream": JANUARY.first_execution},
        {"end_stream": MARCH.end_of_executions},
        {"month": MARCH.start.date()},
        {"month": (FEBRUARY.start + timedelta(days=1)).date()},
    ],
)
async def test_the_catalogue_says_of_a_month_that_it_is_away_and_of_nothing_else(
    database: str, changed: dict[str, object]
) -> None:
    async with await connect(database) as connection:
        with pytest.raises(psycopg.errors.CheckViolation):
            await connection.execute(*catalogue_row(**changed))
        await connection.execute(*catalogue_row())


async def test_bounds_of_months_are_the_same_in_the_database(database: str) -> None:
    months = [Month(year, month) for year in (1970, 2024, 2026, 2400, 4000) for month in range(1, 13)]
    async with await connect(database) as connection:
        for month in months:
            cursor = await connection.execute("SELECT first_execution_of(%s)", (month.start.date(),))
            assert await cursor.fetchall() == [(month.first_execution,)]


async def test_the_catalogue_forgets_nothing(archivist: Archivist) -> None:
    await filled(archivist.dsn, days=5)
    archivist.archive(JANUARY)
    everywhere = (
        "DELETE FROM archives",
        "TRUNCATE archives",
        "UPDATE archives SET month = '2020-01-01'",
        "UPDATE archives SET first_stream = gen_random_uuid()",
        "UPDATE archives SET end_stream = gen_random_uuid()",
    )
    while_archived = ("UPDATE archives SET name = ''", "UPDATE archives SET sha256 = '', state = 'restored'")
    async with await connect(archivist.dsn) as connection:
        for statement in (*everywhere, *while_archived):
            with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="stays in the catalogue"):
                await connection.execute(statement)
        archivist.restore(JANUARY)
        for statement in everywhere:
            with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="stays in the catalogue"):
                await connection.execute(statement)


async def test_what_is_archived_is_not_overwritten_by_what_came_after_it(archivist: Archivist) -> None:
    await filled(archivist.dsn, days=5)
    first = archivist.archive(JANUARY)
    async with await connect(archivist.dsn) as connection:
        await connection.execute(  # past what refuses it, as a foreign hand would
            "INSERT INTO events (originator_id, originator_version, topic, state) "
            "SELECT %s, originator_version, topic, state FROM events WHERE originator_id = %s",
            (run_of(TASKS[0], JANUARY, 30), run_of(TASKS[0], FEBRUARY, 1)),
        )
        await append(connection, [started(TASKS[0], APRIL, 2)])
        await settle(connection)
        before = await rows(connection)
        with pytest.raises(NotArchivable, match="a file has it already; restore the month"):
            archivist.archive(JANUARY)
        assert await archives(connection) == [first]
        assert await rows(connection) == before
