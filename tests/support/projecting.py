"""Projectors to run in tests, and what their tables hold."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from time import monotonic

from psycopg import AsyncConnection, sql

from infrastructure.projector.batch import Batch, QuarantinedEvent, apply_batch
from infrastructure.projector.reading import read_entries
from infrastructure.projector.runner import Projector
from infrastructure.projector.workplace import prepare
from projections import PROJECTIONS
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


async def until[T](what: Callable[[], Awaitable[T]], *, seconds: float = DEADLINE_SECONDS) -> T:
    """Ask until the answer is true, and return it; fail after the deadline."""
    deadline = monotonic() + seconds
    while not (answer := await what()):
        assert monotonic() < deadline, f"still {answer!r} after {seconds} s"
        await asyncio.sleep(0.02)
    return answer


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
