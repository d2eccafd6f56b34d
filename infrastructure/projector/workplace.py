"""Where read models are built anew: a schema of its own, which outlives a rebuild that was interrupted."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

from psycopg import sql

from infrastructure.event_store.log import head
from infrastructure.projector.checkpoints import read_positions, set_checkpoint
from infrastructure.projector.folding import this_fold
from infrastructure.projector.statements import statement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import AsyncConnection

    from infrastructure.projector.ports import Projection

SCHEMA = sql.Identifier("rebuilding")
_INDEXED = " indexed"


class Workplace(NamedTuple):
    """Tables that reflect the log up to `position`, `parked` events left out; `indexed`: with all indexes."""

    position: int
    parked: int
    indexed: bool


async def take_up(
    connection: AsyncConnection, projections: Sequence[Projection], live: sql.Identifier
) -> Workplace | None:
    """What an interrupted rebuild of the very same tables has left, first in the search path from now on.

    None when there is nothing to go on from: no such tables, others, some that other code has filled, or some
    that know of events which the log does not hold.
    """
    cursor = await connection.execute(statement("read_workplace"))
    [(told,)] = await cursor.fetchall()
    if told not in (plan := _plan(projections), plan + _INDEXED):
        return None
    await _enter(connection, live)
    positions = set((await read_positions(connection, projections)).values())
    if len(positions) != 1 or max(positions) > await head(connection):
        return None
    cursor = await connection.execute(statement("count_parked"))
    [(parked,)] = await cursor.fetchall()
    return Workplace(positions.pop(), parked, indexed=told != plan)


async def set_up(
    connection: AsyncConnection, projections: Sequence[Projection], live: sql.Identifier
) -> Workplace:
    """Empty tables, with checkpoints and parked events of their own, first in the search path."""
    async with connection.transaction():
        await _do(connection, "DROP SCHEMA IF EXISTS {} CASCADE", SCHEMA)
        await _do(connection, "CREATE SCHEMA {}", SCHEMA)
        for name in ("projection_checkpoints", "parked_events"):
            table = sql.Identifier(name)
            await _do(connection, "CREATE TABLE {}.{} (LIKE {}.{} INCLUDING ALL)", SCHEMA, table, live, table)
        await _enter(connection, live)
        for projection in projections:
            await connection.execute(projection.ddl)
            await set_checkpoint(connection, projection, 0)
        await _tell(connection, _plan(projections))
    return Workplace(0, 0, indexed=False)


async def index(connection: AsyncConnection, projections: Sequence[Projection]) -> None:
    """Make the indexes, all of them or none: kept up row by row, they cost more than the rows."""
    async with connection.transaction():
        for projection in projections:
            if projection.indexes:
                await connection.execute(projection.indexes)
        await _tell(connection, _plan(projections) + _INDEXED)


def _plan(projections: Sequence[Projection]) -> str:
    """Tells what is being built: another release may build other tables under these names, or other rows."""
    parts = [(one.name, str(one.version), one.ddl, one.indexes or "") for one in projections]
    return hashlib.sha256(repr((parts, this_fold())).encode()).hexdigest()


async def _enter(connection: AsyncConnection, live: sql.Identifier) -> None:
    await _do(connection, "SET search_path TO {}, {}", SCHEMA, live)


async def _tell(connection: AsyncConnection, what: str) -> None:
    await _do(connection, "COMMENT ON SCHEMA {} IS {}", SCHEMA, sql.Literal(what))


async def _do(connection: AsyncConnection, text: str, *parts: sql.Composable) -> None:
    """Run a statement about schemas and tables, whose names no parameter can carry."""
    await connection.execute(sql.SQL(text).format(*parts))
