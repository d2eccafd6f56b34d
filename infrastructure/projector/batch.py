"""One batch: folded into several projections, with their checkpoints, in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from infrastructure.projector.checkpoints import CheckpointMoved, lock_checkpoints, move_checkpoints
from infrastructure.projector.parking import Parked, Sieve, held_keys, is_poison, store_parked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import AsyncConnection

    from infrastructure.projector.ports import Projection
    from infrastructure.projector.reading import Entry


class Batch(NamedTuple):
    """Events right after the checkpoint that these projections share.

    `visible`: what every projection has applied afterwards, to be told to those who wait; None tells nobody.
    """

    projections: Sequence[Projection]
    entries: Sequence[Entry]
    after: int
    visible: int | None = None


async def apply_batch(connection: AsyncConnection, batch: Batch) -> list[Parked]:
    """Apply a batch exactly once; answer the events that had to be set aside.

    Raises `CheckpointMoved` when a projection is not at `batch.after`, and whatever says that the database is
    away: nothing is applied then.
    """
    try:
        return await _transact(connection, batch, careful=False)
    except Exception as error:
        if not is_poison(error):
            raise
    return await _transact(connection, batch, careful=True)


async def _transact(connection: AsyncConnection, batch: Batch, *, careful: bool) -> list[Parked]:
    parked: list[Parked] = []
    async with connection.transaction():
        checkpoints = await lock_checkpoints(connection, batch.projections)
        if [checkpoint.position for checkpoint in checkpoints.values()] != [batch.after] * len(
            batch.projections
        ):
            raise CheckpointMoved
        for projection in batch.projections:
            if careful or checkpoints[projection.name].has_parked:
                parked += await _sift(connection, projection, batch.entries)
            else:
                await projection.apply(connection, batch.entries)
        last = batch.entries[-1].position
        await move_checkpoints(connection, batch.projections, batch.after, last, batch.visible)
    return parked


async def _sift(
    connection: AsyncConnection, projection: Projection, entries: Sequence[Entry]
) -> list[Parked]:
    sieve = Sieve(connection, projection, await held_keys(connection, projection, entries))
    await sieve.apply(entries)
    await store_parked(connection, projection, sieve.parked)
    return sieve.parked
