"""One batch: folded into several projections, with their checkpoints, in one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import NamedTuple
from uuid import UUID

import psycopg
import structlog
from psycopg import AsyncConnection, AsyncCursor, AsyncTransaction
from psycopg_pool import AsyncConnectionPool

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
from infrastructure.projector.reading import NOTHING_ARCHIVED, Entry, WholeLog
from infrastructure.sql import statements
from projections.projection import Projection

statement = statements("infrastructure.projector")

log = structlog.get_logger(__name__)


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


# Class 54 (program limit exceeded: a value too large or too deep) counts as operational for the driver, but
# waiting does not cure it.
_LIMIT_EXCEEDED = "54"
_ERROR_LENGTH = 300


class QuarantinedEvent(NamedTuple):
    """An event that a projection cannot apply, kept in `parked_events`, and why."""

    projection: str
    position: int
    key: UUID
    error: str


def is_poison(error: Exception) -> bool:
    """Whether an error speaks of the data: tried again, it would only come back."""
    match error:
        case psycopg.DataError() | psycopg.IntegrityError():
            return True
        case psycopg.Error(sqlstate=None):
            return isinstance(error, psycopg.ProgrammingError)  # the driver has no dump for a value
        case psycopg.Error(sqlstate=str(state)):
            return state.startswith(_LIMIT_EXCEEDED)
        case CheckpointMoved() | OSError() | MemoryError():
            return False
        case _:
            return True


class Quarantine:
    """Applies what can be applied of a projection's events and keeps the others in `events`.

    An event that cannot be applied holds back the later ones of its key, so that what is in the tables is
    always a beginning of every key's history.
    """

    def __init__(self, connection: AsyncConnection, projection: Projection, held: dict[UUID, int]) -> None:
        self._connection = connection
        self._projection = projection
        self._held = held
        self.events: list[QuarantinedEvent] = []

    async def apply(self, entries: Sequence[Entry]) -> None:
        """Halve the events until those that cannot be applied stand alone."""
        free = [entry for entry in entries if not self._holds_back(entry)]
        if not free:
            return
        try:
            async with self._connection.transaction():
                await apply(self._connection, self._projection, free)
        except Exception as error:
            if not is_poison(error):
                raise
            await self._divide(free, error)

    async def _divide(self, entries: Sequence[Entry], error: Exception) -> None:
        if len(entries) == 1:
            self._add(entries[0], _sentence(error))
            return
        middle = len(entries) // 2
        await self.apply(entries[:middle])
        await self.apply(entries[middle:])

    def _holds_back(self, entry: Entry) -> bool:
        behind = self._held.get(self._projection.key(entry))
        if behind is not None:
            self._add(entry, f"waits behind the event at position {behind}, which could not be applied")
        return behind is not None

    def _add(self, entry: Entry, error: str) -> None:
        key = self._projection.key(entry)
        self._held.setdefault(key, entry.position)
        self.events.append(QuarantinedEvent(self._projection.name, entry.position, key, error))


async def apply(connection: AsyncConnection, projection: Projection, entries: Sequence[Entry]) -> None:
    """Have one projection apply events, one step after the other."""
    async for _ in projection.apply(connection, entries):
        pass


async def held_keys(
    connection: AsyncConnection, projection: Projection, entries: Sequence[Entry]
) -> dict[UUID, int]:
    """The keys of these events that wait, and the position behind which they do."""
    keys = list({projection.key(entry) for entry in entries})
    cursor = await connection.execute(statement("held_keys"), {"projection": projection.name, "keys": keys})
    return dict(await cursor.fetchall())


async def store_quarantined(
    connection: AsyncConnection, projection: Projection, parked: Sequence[QuarantinedEvent]
) -> None:
    """Write down what was set aside."""
    if parked:
        parameters = {
            "projection": projection.name,
            "position": [event.position for event in parked],
            "key": [event.key for event in parked],
            "error": [event.error for event in parked],
        }
        await connection.execute(statement("park_events"), parameters)


def _sentence(error: Exception) -> str:
    """What went wrong, without the values that a database's DETAIL quotes."""
    primary = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    text = primary or str(error)
    return f"{type(error).__name__}: {text}".replace("\0", "\ufffd")[:_ERROR_LENGTH]


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


async def apply_batch(connection: AsyncConnection, batch: Batch) -> list[QuarantinedEvent]:
    """Apply a batch exactly once; answer the events that had to be set aside.

    Raises `CheckpointMoved` when a projection is not at `batch.after`, and whatever says that the database is
    away: nothing is applied then.
    """
    careful = False
    try:
        await apply_together(connection, batch)
    except SomeQuarantined:
        pass
    except Exception as error:
        if not is_poison(error):
            raise
        careful = True
    else:
        return []
    return await _apply_apart(connection, batch, careful=careful)


class SomeQuarantined(Exception):
    """Events may have to wait behind parked ones, which the rows must not be taken out for."""


async def apply_together(connection: AsyncConnection, batch: Batch) -> None:
    """Apply a batch exactly once: a round trip for what all projections ask, and one for what they add up.

    Raises `SomeQuarantined`, `CheckpointMoved`, and what an event that cannot be applied does: nothing is
    applied then.
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
            raise SomeQuarantined
        for steps in applied:
            await anext(steps)
        async with connection.pipeline():
            for steps in applied:
                await anext(steps, None)
            await _move(connection, batch)


async def _apply_apart(connection: AsyncConnection, batch: Batch, *, careful: bool) -> list[QuarantinedEvent]:
    parked: list[QuarantinedEvent] = []
    async with connection.transaction():
        checkpoints = await lock_checkpoints(connection, batch.projections)
        _expect(checkpoints, batch)
        for projection in batch.projections:
            if careful or checkpoints[projection.name].has_parked:
                parked += await _apply_around(connection, projection, batch.entries)
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


async def _apply_around(
    connection: AsyncConnection, projection: Projection, entries: Sequence[Entry]
) -> list[QuarantinedEvent]:
    quarantine = Quarantine(connection, projection, await held_keys(connection, projection, entries))
    await quarantine.apply(entries)
    await store_quarantined(connection, projection, quarantine.events)
    return quarantine.events


_REPLAYED_AT_ONCE = 200


class Replayed(NamedTuple):
    """How many parked events are applied now, and how many still cannot be."""

    applied: int
    parked: int


class QuarantinedEventMissing(Exception):
    """An event is parked that the log does not hold; rebuild the read model."""

    def __init__(self, projection: Projection, position: int) -> None:
        super().__init__(
            f"event {position} is parked, and the log does not hold it; "
            f"make the read model anew with `chronoledger rebuild {projection.name}`"
        )


async def replay_quarantined(
    pool: AsyncConnectionPool, projection: Projection, whole_log: WholeLog = NOTHING_ARCHIVED
) -> Replayed:
    """Apply a projection's parked events in the order of the log, after their cause is mended.

    Events with the same key (the same task, or the same execution) were held back behind the first one that
    failed, so each key continues exactly where it stopped, and the rows come out as if nothing had happened.
    What a key cannot vouch for is an event so broken that its key could not be read: it was parked under its
    stream alone. A rebuild is right in every case. `whole_log` finds what is archived. Raises `ArchiveAway`,
    `QuarantinedEventMissing` and `psycopg.Error`.
    """
    held: dict[UUID, int] = {}
    applied = parked = 0
    after = 0
    while True:
        async with pool.connection() as connection, connection.transaction():
            await lock_checkpoints(connection, [projection])
            positions = await _parked_after(connection, projection, after)
            for position in positions:
                if await _retry(connection, projection, whole_log, held, position):
                    applied += 1
                else:
                    parked += 1
        if not positions:
            log.info("parked events replayed", projection=projection.name, applied=applied, parked=parked)
            return Replayed(applied, parked)
        after = positions[-1]


async def _parked_after(connection: AsyncConnection, projection: Projection, after: int) -> list[int]:
    parameters = {"projection": projection.name, "after": after, "limit": _REPLAYED_AT_ONCE}
    cursor = await connection.execute(statement("parked_positions"), parameters)
    return [position for (position,) in await cursor.fetchall()]


async def _retry(
    connection: AsyncConnection,
    projection: Projection,
    whole_log: WholeLog,
    held: dict[UUID, int],
    position: int,
) -> bool:
    quarantine = Quarantine(connection, projection, held)
    entries, _ = await whole_log.entries(connection, position - 1, 1)
    if [entry.position for entry in entries] != [position]:
        raise QuarantinedEventMissing(projection, position)
    await quarantine.apply(entries)
    if quarantine.events:
        await store_quarantined(connection, projection, quarantine.events)
        return False
    parameters = {"projection": projection.name, "position": position}
    await connection.execute(statement("unpark_event"), parameters)
    return True
