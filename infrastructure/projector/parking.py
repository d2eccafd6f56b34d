"""Poison: finding the events that a projection cannot apply, and setting them aside."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import psycopg

from infrastructure.projector.checkpoints import CheckpointMoved
from infrastructure.sql import statements

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from psycopg import AsyncConnection

    from infrastructure.projector.ports import Projection
    from infrastructure.projector.reading import Entry

statement = statements("infrastructure.projector")

# Class 54 (program limit exceeded: a value too large or too deep) counts as operational for the driver, but
# waiting does not cure it.
_LIMIT_EXCEEDED = "54"
_ERROR_LENGTH = 300


class Parked(NamedTuple):
    """An event set aside for one projection, and why."""

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


class Sieve:
    """Applies what can be applied of a projection's events and remembers the rest in `parked`.

    An event that cannot be applied holds back the later ones of its key, so that what is in the tables is
    always a beginning of every key's history.
    """

    def __init__(self, connection: AsyncConnection, projection: Projection, held: dict[UUID, int]) -> None:
        self._connection = connection
        self._projection = projection
        self._held = held
        self.parked: list[Parked] = []

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
            self._park(entries[0], _sentence(error))
            return
        middle = len(entries) // 2
        await self.apply(entries[:middle])
        await self.apply(entries[middle:])

    def _holds_back(self, entry: Entry) -> bool:
        behind = self._held.get(self._projection.key(entry))
        if behind is not None:
            self._park(entry, f"waits behind the event at position {behind}, which could not be applied")
        return behind is not None

    def _park(self, entry: Entry, error: str) -> None:
        key = self._projection.key(entry)
        self._held.setdefault(key, entry.position)
        self.parked.append(Parked(self._projection.name, entry.position, key, error))


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


async def store_parked(connection: AsyncConnection, projection: Projection, parked: Sequence[Parked]) -> None:
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
