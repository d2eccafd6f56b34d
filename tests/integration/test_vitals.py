"""The vital signs, read from a real database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from infrastructure.carry import database as standstill
from infrastructure.postgres import pool
from infrastructure.vitals import DatabaseAway, Vitals
from interfaces.bootstrap.pages import HealthChecks
from projections import NAMES, RELATIONS
from tests.support.projecting import connect, project
from tests.support.random_log import RandomLog
from tests.support.stored import append

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from psycopg import AsyncConnection
    from psycopg_pool import AsyncConnectionPool


@pytest.fixture
async def connection(database: str) -> AsyncIterator[AsyncConnection]:
    async with await connect(database) as connection:
        yield connection


@pytest.fixture
async def connections(database: str) -> AsyncIterator[AsyncConnectionPool]:
    async with pool(database, 2) as connections:
        yield connections


async def test_what_is_not_projected_yet_has_an_age(
    connection: AsyncConnection, connections: AsyncConnectionPool
) -> None:
    vitals = Vitals(connections, NAMES, RELATIONS)
    first = await append(connection, RandomLog(1).grow(20))
    before = await vitals.read()
    assert (before.head, before.projected, before.missing) == (first, 0, list(RELATIONS))
    assert before.oldest_unprojected_seconds is not None
    await project(connection)
    after = await vitals.read()
    assert (after.projected, after.furthest, after.missing) == (first, first, [])
    assert after.oldest_unprojected_seconds is None


async def test_what_a_retired_projection_left_behind_is_not_waited_for(
    connection: AsyncConnection, connections: AsyncConnectionPool
) -> None:
    head = await append(connection, RandomLog(2).grow(20))
    await project(connection)
    await connection.execute(
        "INSERT INTO projection_checkpoints (name, version, position) "
        "VALUES ('retired', 1, 3), ('tried', 1, 999)"
    )
    await connection.execute(
        "INSERT INTO parked_events (projection, position, key, error) "
        "VALUES ('retired', 3, '00000000-0000-0000-0000-000000000000', '')"
    )
    signs = await Vitals(connections, NAMES, RELATIONS).read()
    assert (signs.projected, signs.furthest, signs.parked) == (head, head, 0)
    assert signs.oldest_unprojected_seconds is None


async def test_a_database_on_which_no_scheduler_begins_says_so(
    database: str, connections: AsyncConnectionPool
) -> None:
    vitals = Vitals(connections, NAMES, RELATIONS)
    assert not (await vitals.read()).stands_still
    with psycopg.connect(database, autocommit=True) as connection:
        standstill.begin(connection, standstill.IMPORTING)
        standstill.end(connection, standstill.IMPORTING, standstill.IMPORTED)
        assert (await vitals.read()).stands_still
        standstill.end(connection, standstill.IMPORTED)
    assert not (await vitals.read()).stands_still


async def test_a_database_without_the_tables_answers_but_cannot_be_used(empty_database: str) -> None:
    async with pool(empty_database, 2) as connections:
        vitals = Vitals(connections, NAMES, RELATIONS)
        with pytest.raises(psycopg.errors.UndefinedTable):
            await vitals.read()
        report = await HealthChecks(vitals).report()
    assert report.checks["database"].detail == (
        'The database cannot be used: relation "projection_checkpoints" does not exist'
    )


async def test_a_database_that_is_away_is_told_as_such() -> None:
    async with pool("host=127.0.0.1 port=9", 2) as connections:
        with pytest.raises(DatabaseAway):
            await Vitals(connections, NAMES, RELATIONS).read()
