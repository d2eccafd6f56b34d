"""Where read models are built anew: a schema of its own, which outlives a rebuild that was interrupted."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

from psycopg import sql

from infrastructure.event_store.log import head
from infrastructure.projector.checkpoints import (
    CheckpointMoved,
    lock_checkpoints,
    read_positions,
    set_checkpoint,
)
from infrastructure.projector.folding import this_fold
from infrastructure.projector.shares import at_work
from infrastructure.sql import statements

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import AsyncConnection

    from infrastructure.projector.ports import Projection

statement = statements("infrastructure.projector")

SCHEMA = sql.Identifier("rebuilding")
_INDEXED = "indexed"
_SHARES = " shares"


class NewTablesLost(Exception):
    """The tables that were being built are gone, or another process has written to them."""

    def __init__(self) -> None:
        super().__init__(
            "the tables that were being built are gone, or another process has written to them; rebuild again"
        )


class Workplace(NamedTuple):
    """Tables that reflect the log up to `position`, `parked` events left out; `indexed`: with all indexes.

    `shares`: so many processes each have folded their share of the log, at least up to there.
    """

    position: int
    parked: int = 0
    indexed: bool = False
    shares: int = 1


async def take_up(
    connection: AsyncConnection, projections: Sequence[Projection], live: sql.Identifier
) -> Workplace | None:
    """What an interrupted rebuild of the very same tables has left, first in the search path from now on.

    None when there is nothing to go on from: no such tables, others, some that other code has filled, or some
    that know of events which the log does not hold.
    """
    cursor = await connection.execute(statement("read_workplace"))
    [(told,)] = await cursor.fetchall()
    plan, _, state = (told or "").partition(" ")
    if plan != _plan(projections):
        return None
    await enter(connection, live)
    shares = int(state.removesuffix(_SHARES)) if state.endswith(_SHARES) else 1
    expected = at_work(projections, shares)
    positions = await read_positions(connection, expected)
    reached = set(positions.values())
    if len(positions) < len(expected) or max(reached) > await head(connection):
        return None
    if shares == 1 and len(reached) > 1:
        return None
    cursor = await connection.execute(statement("count_parked"))
    [(parked,)] = await cursor.fetchall()
    return Workplace(min(reached), parked, state == _INDEXED, shares)


async def set_up(
    connection: AsyncConnection, projections: Sequence[Projection], live: sql.Identifier, shares: int = 1
) -> Workplace:
    """Empty tables, with checkpoints and parked events of their own, first in the search path.

    With more `shares` than one so many processes fold the log, and have the checkpoints.
    """
    async with connection.transaction():
        await _do(connection, "DROP SCHEMA IF EXISTS {} CASCADE", SCHEMA)
        await _do(connection, "CREATE SCHEMA {}", SCHEMA)
        for name in ("projection_checkpoints", "parked_events"):
            table = sql.Identifier(name)
            await _do(connection, "CREATE TABLE {}.{} (LIKE {}.{} INCLUDING ALL)", SCHEMA, table, live, table)
        await enter(connection, live)
        for projection in projections:
            await connection.execute(projection.ddl)
        for each in at_work(projections, shares):
            await set_checkpoint(connection, each, 0)
        await _tell(connection, projections, f"{shares}{_SHARES}" if shares > 1 else "")
    return Workplace(0, shares=shares)


async def bring_together(
    connection: AsyncConnection, projections: Sequence[Projection], shares: int, position: int
) -> None:
    """All of them have come to a position: the tables are there as well. Raises `CheckpointMoved`."""
    parts = at_work(projections, shares)
    async with connection.transaction():
        reached = {checkpoint.position for checkpoint in (await lock_checkpoints(connection, parts)).values()}
        if reached != {position}:
            raise CheckpointMoved
        names = {"names": [part.name for part in parts]}
        await connection.execute(statement("forget_checkpoints"), names)
        for projection in projections:
            await set_checkpoint(connection, projection, position)
        await _tell(connection, projections, "")


async def index(connection: AsyncConnection, projections: Sequence[Projection]) -> None:
    """Make the indexes, all of them or none: kept up row by row, they cost more than the rows."""
    async with connection.transaction():
        for projection in projections:
            if projection.indexes:
                await connection.execute(projection.indexes)
        await _tell(connection, projections, _INDEXED)


def _plan(projections: Sequence[Projection]) -> str:
    """Tells what is being built: another release may build other tables under these names, or other rows."""
    parts = [(one.name, str(one.version), one.ddl, one.indexes or "") for one in projections]
    return hashlib.sha256(repr((parts, this_fold())).encode()).hexdigest()


async def enter(connection: AsyncConnection, live: sql.Identifier) -> None:
    """Have it first in the search path."""
    await _do(connection, "SET search_path TO {}, {}", SCHEMA, live)


async def _tell(connection: AsyncConnection, projections: Sequence[Projection], state: str) -> None:
    told = f"{_plan(projections)} {state}".rstrip()
    await _do(connection, "COMMENT ON SCHEMA {} IS {}", SCHEMA, sql.Literal(told))


async def _do(connection: AsyncConnection, text: str, *parts: sql.Composable) -> None:
    """Run a statement about schemas and tables, whose names no parameter can carry."""
    await connection.execute(sql.SQL(text).format(*parts))
