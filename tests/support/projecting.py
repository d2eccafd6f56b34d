"""Projectors to run in tests, and what their tables hold."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from time import monotonic
from typing import Any

from psycopg import AsyncConnection, sql

from application.ports import NewFact
from infrastructure.postgres import pool
from infrastructure.projector.batch import Batch, QuarantinedEvent, apply_batch
from infrastructure.projector.reading import read_entries
from infrastructure.projector.rebuild import Rebuilt, rebuild
from infrastructure.projector.runner import Projector
from infrastructure.projector.workplace import prepare
from projections import PROJECTIONS, named
from projections.projection import Projection
from tests.support.databases import Databases
from tests.support.random_log import RandomLog
from tests.support.stored import append

DEADLINE_SECONDS = 60.0

type Tables = dict[str, list[str]]


@contextlib.asynccontextmanager
async def running(projector: Projector) -> AsyncIterator[asyncio.Task[None]]:
    """The projector at work for the length of the block; a crash of it fails the test."""
    task = asyncio.create_task(projector.run())
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(what: Callable[[], object], *, seconds: float = DEADLINE_SECONDS) -> None:
    """Ask (and await the answer, if need be) until it is true; fail after the deadline."""
    deadline = monotonic() + seconds
    while True:
        answer = what()
        if isinstance(answer, Awaitable):
            answer = await answer
        if answer:
            return
        assert monotonic() < deadline, f"still {answer!r} after {seconds} s"
        await asyncio.sleep(0.02)


async def connect(dsn: str) -> AsyncConnection:
    """A connection of the test's own."""
    return await AsyncConnection.connect(dsn, autocommit=True)


async def project(
    connection: AsyncConnection,
    *,
    batch_events: int = 1_000,
    projections: Sequence[Projection] = PROJECTIONS,
) -> list[QuarantinedEvent]:
    """Apply all that is in the log, in batches of a size, without a projector."""
    await prepare(connection, projections)
    position, parked = await least_position(connection), []
    while entries := (await read_entries(connection, position, batch_events)).entries:
        parked += await apply_batch(connection, Batch(projections, entries, position))
        position = entries[-1].position
    return parked


@contextlib.contextmanager
def projected_log(databases: Databases, template: str, events: int) -> Iterator[str]:
    """The DSN of a database with a random log, projected, to copy: quicker than to project one for each."""

    async def fill(dsn: str) -> None:
        async with await connect(dsn) as connection:
            await append(connection, RandomLog(4).grow(events))
            await project(connection)

    with databases.copy(template) as dsn:
        asyncio.run(fill(dsn))
        yield dsn


async def least_position(connection: AsyncConnection) -> int:
    """What every projection has applied."""
    cursor = await connection.execute("SELECT coalesce(min(position), 0) FROM projection_checkpoints")
    row = await cursor.fetchone()
    return row[0] if row else 0


async def reached(connection: AsyncConnection, position: int) -> None:
    """Wait until every projection has applied a position."""

    async def passed() -> bool:
        return await least_position(connection) >= position

    await until(passed)


async def contents(connection: AsyncConnection) -> Tables:
    """Every row of every read model, as Postgres prints it."""
    tables: Tables = {}
    for projection in PROJECTIONS:
        for table in (*projection.views, *projection.tables):
            query = sql.SQL("SELECT row_text FROM (SELECT t::text AS row_text FROM {} AS t) AS r ORDER BY 1")
            cursor = await connection.execute(query.format(sql.Identifier(table)))
            tables[table] = [row[0] for row in await cursor.fetchall()]
    return tables


async def parked_in(connection: AsyncConnection) -> list[tuple[str, int, str]]:
    """What is parked: projection, position and error, in order."""
    cursor = await connection.execute(
        "SELECT projection, position, error FROM parked_events ORDER BY projection, position"
    )
    return [(name, position, error) for name, position, error in await cursor.fetchall()]


class Store:
    """One database, its log and its read models; `connection` commits by itself."""

    def __init__(self, dsn: str, connection: AsyncConnection) -> None:
        self.dsn = dsn
        self.connection = connection

    async def append(self, *facts: NewFact) -> int:
        """The position of the last."""
        return await append(self.connection, facts)

    async def happened(self, *facts: NewFact, batch_events: int = 1_000) -> int:
        """Append facts and project all there is; the position of the last."""
        position = await append(self.connection, facts) if facts else 0
        await project(self.connection, batch_events=batch_events)
        return position

    async def filled(self, events: int, seed: int = 1, batch_events: int = 97) -> int:
        """A random log, projected in batches of an odd size; its last position."""
        return await self.happened(*RandomLog(seed).grow(events), batch_events=batch_events)

    async def rows(self, query: str, *parameters: object) -> list[Any]:
        """What a query answers; of one column, its values."""
        cursor = await self.connection.execute(query.encode(), parameters or None)
        found = await cursor.fetchall() if cursor.description else []
        return [row[0] if len(row) == 1 else row for row in found]

    async def do(self, statements: str) -> None:
        """Run statements."""
        await self.connection.execute(statements.encode())

    async def contents(self) -> Tables:
        """See `contents`."""
        return await contents(self.connection)

    async def quarantined(self) -> list[tuple[str, int]]:
        """The projection and the position of each quarantined event."""
        return [(name, position) for name, position, _ in await parked_in(self.connection)]

    async def reached(self, position: int) -> None:
        """See `reached`."""
        await reached(self.connection, position)

    async def rebuild(self, names: Sequence[str] = (), **options: Any) -> Rebuilt:
        """See `rebuild`; without names, of all."""
        return await rebuild(self.dsn, named(names), **options)

    @contextlib.asynccontextmanager
    async def projecting(
        self, projections: Sequence[Projection] = PROJECTIONS, dsn: str | None = None, **options: Any
    ) -> AsyncIterator[Projector]:
        """A projector at work, on this database or through `dsn`."""
        async with pool(dsn or self.dsn, 4) as db:
            projector = Projector(db, dsn or self.dsn, projections, **options)
            async with running(projector):
                yield projector

    @contextlib.asynccontextmanager
    async def unchanged_by_a_rebuild(self) -> AsyncIterator[None]:
        """After the block the rows are those that a rebuild makes."""
        yield
        live = await self.contents()
        await self.rebuild()
        assert await self.contents() == live

    async def lose_after(self, position: int) -> None:
        """What restoring the log alone from a backup does to it."""
        async with self.connection.transaction():
            await self.do("SET LOCAL session_replication_role = replica")
            await self.rows("DELETE FROM events WHERE notification_id > %s", position)

    async def end_whoever_holds_a_lock(self) -> None:
        """Cut the connection of every projector, rebuild and check."""
        await self.do(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )


@contextlib.asynccontextmanager
async def store_of(dsn: str) -> AsyncIterator[Store]:
    """A `Store` with a connection of its own."""
    async with await connect(dsn) as connection:
        yield Store(dsn, connection)
