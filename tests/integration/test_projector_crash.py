"""A crash of Postgres: what it takes back of the read models is made anew of the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infrastructure.migrator import migrate
from infrastructure.projector import prepare
from infrastructure.projector.checkpoints import lock_checkpoints
from projections.catalogue import PROJECTIONS
from tests.support.own_postgres import OwnPostgres
from tests.support.projecting import connect, contents, least_position, project
from tests.support.random_log import RandomLog
from tests.support.stored import append
from tests.support.supervisor import open_folder

if TYPE_CHECKING:
    from psycopg import AsyncConnection


async def test_what_a_crash_takes_back_is_applied_again() -> None:
    with open_folder() as folder, OwnPostgres(folder, connections=20) as postgres:
        migrate(postgres.dsn)
        async with await connect(postgres.dsn) as connection:
            end = await append(connection, RandomLog(5).grow(1_000))
            await project(connection, batch_events=50)
            before = await contents(connection)
            postgres.restart_immediately()
        async with await connect(postgres.dsn) as connection:
            assert await least_position(connection) <= end
            await project(connection)
            assert await least_position(connection) == end
            assert await contents(connection) == before


async def test_only_the_commits_of_batches_do_not_wait_for_the_disk(database: str) -> None:
    async with await connect(database) as connection:
        await prepare(connection, PROJECTIONS)
        async with connection.transaction():
            await lock_checkpoints(connection, PROJECTIONS)
            assert await synchronous_commit(connection) == "off"
        assert await synchronous_commit(connection) == "on"


async def synchronous_commit(connection: AsyncConnection) -> str:
    cursor = await connection.execute("SHOW synchronous_commit")
    row = await cursor.fetchone()
    assert row is not None
    return str(row[0])
