"""What `/health` judges, read from a real database."""

from __future__ import annotations

from collections.abc import AsyncIterator

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from infrastructure.health import DatabaseAway, ReadinessReader
from infrastructure.postgres import pool
from infrastructure.transfer.database import IMPORTED, IMPORTING, lift_fence, raise_fence
from interfaces.bootstrap.pages import HealthChecks
from projections import NAMES, RELATIONS
from tests.support.projecting import connect, project
from tests.support.random_log import RandomLog
from tests.support.stored import append


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
    reader = ReadinessReader(connections, NAMES, RELATIONS)
    first = await append(connection, RandomLog(1).grow(20))
    before = await reader.read()
    assert (before.head, before.projected, before.missing) == (first, 0, list(RELATIONS))
    assert before.oldest_unprojected_seconds is not None
    await project(connection)
    after = await reader.read()
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
    signs = await ReadinessReader(connections, NAMES, RELATIONS).read()
    assert (signs.projected, signs.furthest, signs.parked) == (head, head, 0)
    assert signs.oldest_unprojected_seconds is None


async def test_a_database_on_which_no_scheduler_begins_says_so(
    database: str, connections: AsyncConnectionPool
) -> None:
    reader = ReadinessReader(connections, NAMES, RELATIONS)
    assert not (await reader.read()).fenced
    with psycopg.connect(database, autocommit=True) as connection:
        raise_fence(connection, IMPORTING)
        lift_fence(connection, IMPORTING, IMPORTED)
        assert (await reader.read()).fenced
        lift_fence(connection, IMPORTED)
    assert not (await reader.read()).fenced


async def test_a_database_without_the_tables_answers_but_cannot_be_used(empty_database: str) -> None:
    async with pool(empty_database, 2) as connections:
        reader = ReadinessReader(connections, NAMES, RELATIONS)
        with pytest.raises(psycopg.errors.UndefinedTable):
            await reader.read()
        report = await HealthChecks(reader).report()
    assert report.checks["database"].detail == (
        'The database cannot be used: relation "projection_checkpoints" does not exist'
    )


async def test_a_database_that_is_away_is_told_as_such() -> None:
    async with pool("host=127.0.0.1 port=9", 2) as connections:
        with pytest.raises(DatabaseAway):
            await ReadinessReader(connections, NAMES, RELATIONS).read()
