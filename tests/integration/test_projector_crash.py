"""A crash of Postgres: what it takes back of the read models is made anew of the log."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from uuid import UUID

from psycopg import AsyncConnection

from infrastructure.event_store.mapper import FACT_TYPES
from infrastructure.migrator import migrate
from infrastructure.projector.batch import ROUTINE, Batch, apply_batch
from infrastructure.projector.reading import Entry
from infrastructure.projector.workplace import prepare
from projections.projection import Entry as AnyEntry
from projections.task_results import TaskResults
from tests.support.entries import answered, attempt, created, started, succeeded, updated
from tests.support.own_postgres import OwnPostgres
from tests.support.projecting import connect, contents, least_position, project
from tests.support.random_log import RandomLog
from tests.support.stored import append
from tests.support.supervisor import open_folder


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


class Watching(TaskResults):
    """Notes whether commits wait for the disk while it applies batches."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def apply(self, connection: AsyncConnection, entries: Sequence[AnyEntry]) -> AsyncGenerator[None]:
        steps = super().apply(connection, entries)
        await anext(steps)
        yield
        self.seen.append(await synchronous_commit(connection))
        await anext(steps)
        yield
        await anext(steps, None)


async def test_the_commit_of_what_users_were_told_of_waits_for_the_disk(database: str) -> None:
    watching = Watching()
    async with await connect(database) as connection:
        await prepare(connection, [watching])
        position = 0
        over = succeeded(2, attempt(1, answered()))
        for news in ([created()], [started()], [over], [updated(), started(stream=UUID(int=3))]):
            entries = [
                Entry(place, new.stream, new.version, new.fact)
                for place, new in enumerate(news, position + 1)
            ]
            await apply_batch(connection, Batch([watching], entries, position))
            position = entries[-1].position
        assert watching.seen == ["on", "off", "off", "on"]
        assert await synchronous_commit(connection) == "on"


def test_what_is_routine_is_what_the_database_tells_nobody_of_as_a_command() -> None:
    migrations = Path(__file__).parents[2] / "migrations"
    text = (migrations / "0007_archives.sql").read_text()
    listed = re.search(r"IF NOT topics <@ ARRAY\[(.*?)\]", text, re.DOTALL)
    assert listed is not None
    assert set(re.findall(r"'([^']+)'", listed[1])) == {fact.topic for fact in FACT_TYPES if fact in ROUTINE}


async def synchronous_commit(connection: AsyncConnection) -> str:
    cursor = await connection.execute("SHOW synchronous_commit")
    row = await cursor.fetchone()
    assert row is not None
    return str(row[0])
