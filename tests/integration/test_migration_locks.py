"""Migrations need tables for a moment, and do not hold up the service while others have them."""

from __future__ import annotations

import asyncio

import psycopg
import pytest
from psycopg import AsyncConnection

from infrastructure.migrator import TablesLocked, migrate, migrate_down
from tests.support.projecting import connect, until
from tests.support.random_log import RandomLog
from tests.support.stored import append


async def someone_waits(connection: AsyncConnection) -> bool:
    cursor = await connection.execute(
        "SELECT FROM pg_locks WHERE relation = 'events'::regclass AND NOT granted"
    )
    return await cursor.fetchone() is not None


async def test_events_are_appended_while_a_migration_waits_for_a_long_query(database: str) -> None:
    async with await connect(database) as reader, await connect(database) as connection:
        async with reader.transaction():
            await reader.execute("SELECT count(*) FROM events")
            migrating = asyncio.create_task(asyncio.to_thread(migrate_down, database))
            await until(lambda: someone_waits(connection))
            assert await append(connection, RandomLog(1).grow(5))
            assert not migrating.done()
        assert (await migrating)[-1] == "0001_event_store"


def test_a_migration_that_never_gets_its_tables_says_what_to_do(database: str) -> None:
    with psycopg.connect(database) as reader:
        reader.execute("SELECT count(*) FROM events")
        with pytest.raises(
            TablesLocked, match=r"the migration 0009_redaction needs tables .* pg_stat_activity"
        ):
            migrate_down(database, patience_seconds=0)
    assert migrate(database) == []
