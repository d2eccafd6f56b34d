"""How far the projections have come; and the lock without which nobody writes to their tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from infrastructure.sql import statements

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from psycopg import AsyncConnection, AsyncCursor

    from infrastructure.projector.ports import Projection

statement = statements("infrastructure.projector")


class Checkpoint(NamedTuple):
    """A projection's place in the log."""

    version: int
    position: int
    has_parked: bool


class CheckpointMoved(Exception):
    """Somebody else applied a batch meanwhile; read the checkpoints again."""


async def lock_checkpoints(
    connection: AsyncConnection, projections: Iterable[Projection]
) -> dict[str, Checkpoint]:
    """Read checkpoints and keep others from the projections' tables until the transaction ends."""
    return await locked(await locking(connection, projections))


async def locking(
    connection: AsyncConnection, projections: Iterable[Projection], *, relaxed: bool = False
) -> AsyncCursor:
    """Ask for what `lock_checkpoints` does; in a pipeline, `locked` answers once that is over.

    `relaxed`: a crash of the database may take the transaction back.
    """
    names = [projection.name for projection in projections]
    return await connection.execute(statement("lock_checkpoints"), {"names": names, "relaxed": relaxed})


async def locked(asked: AsyncCursor) -> dict[str, Checkpoint]:
    """The answer to `locking`."""
    rows = await asked.fetchall()
    return {name: Checkpoint(version, position, parked) for name, version, position, parked, *_ in rows}


async def read_positions(connection: AsyncConnection, projections: Iterable[Projection]) -> dict[str, int]:
    """Where projections stand, without a lock."""
    names = [projection.name for projection in projections]
    cursor = await connection.execute(statement("read_checkpoints"), {"names": names})
    return dict(await cursor.fetchall())


async def move_checkpoints(
    connection: AsyncConnection,
    projections: Sequence[Projection],
    expected: int,
    position: int,
    visible: int | None,
) -> None:
    """Move on from the expected position, and tell what is visible then, unless that is None.

    The checkpoints are locked, and were seen to be there.
    """
    names = [projection.name for projection in projections]
    parameters = {"names": names, "expected": expected, "position": position, "visible": visible}
    await connection.execute(statement("move_checkpoints"), parameters)


async def set_checkpoint(connection: AsyncConnection, projection: Projection, position: int) -> None:
    """Write a projection's checkpoint, whatever was there."""
    parameters = {"name": projection.name, "version": projection.version, "position": position}
    await connection.execute(statement("set_checkpoint"), parameters)
