"""What a projection is and what it reads: facts in their total order."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol
from uuid import UUID

from msgspec import Struct

if TYPE_CHECKING:
    from psycopg import AsyncConnection


class Entry(Protocol):
    """A recorded fact, as far as a fold looks at it."""

    @property
    def position(self) -> int:
        """Its place in the one total order."""
        ...

    @property
    def stream(self) -> UUID:
        """The task or execution that it is about."""
        ...

    @property
    def version(self) -> int:
        """Its place in the stream, from 1."""
        ...

    @property
    def fact(self) -> object:
        """What happened: a fact of the domain, or something that this release cannot read."""
        ...


class PoisonEvent(ValueError):
    """An event that a fold cannot apply: a fact that it does not know, or one whose beginning is missing."""


class Projection(Protocol):
    """A read model: rows that are a pure function of the log, so that a rebuild gives the same bytes."""

    name: ClassVar[str]
    version: ClassVar[int]
    tables: ClassVar[tuple[str, ...]]

    @property
    def ddl(self) -> bytes:
        """Creates its tables in the first schema of the search path, where they are missing."""
        ...

    def key(self, entry: Entry) -> UUID:
        """What must be applied in order: entries with the same key, and only those, meet in a row."""
        ...

    async def apply(self, connection: AsyncConnection, entries: Sequence[Entry]) -> None:
        """Fold a batch into the tables, within the caller's transaction. Raises `PoisonEvent`."""
        ...


def unknown(entry: Entry) -> PoisonEvent:
    """The refusal of a fact that a fold has no case for; values stay out of it, for they may be secret."""
    error = getattr(entry.fact, "error", "no case for this kind of fact")
    return PoisonEvent(f"{type(entry.fact).__name__} at position {entry.position}: {error}")


def beginning_missing(entry: Entry) -> PoisonEvent:
    """The refusal of a fact about something whose first fact the read model never saw."""
    kind = type(entry.fact).__name__
    return PoisonEvent(f"{kind} at position {entry.position}: {entry.stream} has no row to change")


def continued(entries: Iterable[Entry]) -> list[UUID]:
    """The streams that began before this batch: their rows, if any, are in the tables."""
    begun: dict[UUID, bool] = {}
    for entry in entries:
        begun.setdefault(entry.stream, entry.version > 1)
    return [stream for stream, earlier in begun.items() if earlier]


def columns(rows: Collection[Struct], names: Sequence[str]) -> dict[str, list[Any]]:
    """Rows turned into one array a column, as the set-based statements take them."""
    return {name: [getattr(row, name) for row in rows] for name in names}
