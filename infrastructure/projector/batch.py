"""One batch: folded into several projections, with their checkpoints, in one transaction."""

from __future__ import annotations

from contextlib import AsyncExitStack, aclosing
from typing import TYPE_CHECKING, NamedTuple

from psycopg import AsyncTransaction

from domain.facts import (
    AttemptFailed,
    AttemptStarted,
    ExecutionFailed,
    ExecutionQueued,
    ExecutionSkipped,
    ExecutionStarted,
    ExecutionSucceeded,
    ExecutionTakenOver,
    TaskCompleted,
    TaskFailuresCounted,
)
from infrastructure.projector.checkpoints import (
    CheckpointMoved,
    lock_checkpoints,
    locked,
    locking,
    move_checkpoints,
)
from infrastructure.projector.parking import Parked, Sieve, apply, held_keys, is_poison, store_parked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from psycopg import AsyncConnection

    from infrastructure.projector.checkpoints import Checkpoint
    from infrastructure.projector.ports import Projection
    from infrastructure.projector.reading import Entry


ROUTINE = frozenset(
    {
        ExecutionStarted,
        ExecutionSucceeded,
        ExecutionFailed,
        ExecutionQueued,
        ExecutionSkipped,
        ExecutionTakenOver,
        AttemptStarted,
        AttemptFailed,
        TaskCompleted,
        TaskFailuresCounted,
    }
)
"""What schedulers write as executions go on; `append_groups` tells `commands` of all else."""


class Batch(NamedTuple):
    """Events right after the checkpoint that these projections share.

    `visible`: what every projection has applied afterwards, to be told to those who wait; None tells nobody.
    """

    projections: Sequence[Projection]
    entries: Sequence[Entry]
    after: int
    visible: int | None = None

    def is_routine(self) -> bool:
        """Whether it tells only how executions go on, which nobody was promised to see after a crash."""
        return {type(entry.fact) for entry in self.entries} <= ROUTINE


async def apply_batch(connection: AsyncConnection, batch: Batch) -> list[Parked]:
    """Apply a batch exactly once; answer the events that had to be set aside.

    Raises `CheckpointMoved` when a projection is not at `batch.after`, and whatever says that the database is
    away: nothing is applied then.
    """
    careful = False
    try:
        await apply_together(connection, batch)
    except SomeParked:
        pass
    except Exception as error:
        if not is_poison(error):
            raise
        careful = True
    else:
        return []
    return await _apply_apart(connection, batch, careful=careful)


class SomeParked(Exception):
    """Events may have to wait behind parked ones, which the rows must not be taken out for."""


async def apply_together(connection: AsyncConnection, batch: Batch) -> None:
    """Apply a batch exactly once: a round trip for what all projections ask, and one for what they add up.

    Raises `SomeParked`, `CheckpointMoved`, and what an event that cannot be applied does: nothing is applied
    then.
    """
    async with AsyncExitStack() as stack:
        applied = [projection.apply(connection, batch.entries) for projection in batch.projections]
        for steps in applied:
            await stack.enter_async_context(aclosing(steps))
        async with connection.pipeline():
            # `connection.transaction()`, begun in a pipeline, would go on in one until it ends.
            await stack.enter_async_context(AsyncTransaction(connection))
            asked = await locking(connection, batch.projections, relaxed=batch.is_routine())
            for steps in applied:
                await anext(steps)
        checkpoints = await locked(asked)
        _expect(checkpoints, batch)
        if any(checkpoint.has_parked for checkpoint in checkpoints.values()):
            raise SomeParked
        for steps in applied:
            await anext(steps)
        async with connection.pipeline():
            for steps in applied:
                await anext(steps, None)
            await _move(connection, batch)


async def _apply_apart(connection: AsyncConnection, batch: Batch, *, careful: bool) -> list[Parked]:
    parked: list[Parked] = []
    async with connection.transaction():
        checkpoints = await lock_checkpoints(connection, batch.projections)
        _expect(checkpoints, batch)
        for projection in batch.projections:
            if careful or checkpoints[projection.name].has_parked:
                parked += await _sift(connection, projection, batch.entries)
            else:
                await apply(connection, projection, batch.entries)
        await _move(connection, batch)
    return parked


def _expect(checkpoints: Mapping[str, Checkpoint], batch: Batch) -> None:
    positions = [checkpoint.position for checkpoint in checkpoints.values()]
    if positions != [batch.after] * len(batch.projections):
        raise CheckpointMoved


async def _move(connection: AsyncConnection, batch: Batch) -> None:
    last = batch.entries[-1].position
    await move_checkpoints(connection, batch.projections, batch.after, last, batch.visible)


async def _sift(
    connection: AsyncConnection, projection: Projection, entries: Sequence[Entry]
) -> list[Parked]:
    sieve = Sieve(connection, projection, await held_keys(connection, projection, entries))
    await sieve.apply(entries)
    await store_parked(connection, projection, sieve.parked)
    return sieve.parked
