"""What the catalogue says is away is away, and it forgets nothing."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from domain.identity import Month
from infrastructure.archive.archiving import NotArchivable
from infrastructure.archive.catalog import archives
from tests.support.archives import Archivist, filled, rows, settle
from tests.support.months import APRIL, FEBRUARY, JANUARY, MARCH, TASKS, run_of, started
from tests.support.projecting import connect
from tests.support.stored import append


@pytest.fixture
def archivist(database: str, tmp_path: Path) -> Archivist:
    return Archivist(database, tmp_path / "archives")


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
