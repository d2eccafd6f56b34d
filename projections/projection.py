"""What a projection is and what it reads: facts in their total order."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from functools import cache
from importlib import resources
from typing import ClassVar, Protocol, get_args
from uuid import UUID

from psycopg import AsyncConnection

from domain.facts import EventsRedacted, ExecutionFact


@cache
def statement(name: str) -> bytes:
    """The text of `projections/sql/<name>.sql`."""
    return (resources.files("projections") / "sql" / f"{name}.sql").read_bytes()


_OF_EXECUTIONS = frozenset(get_args(ExecutionFact.__value__))


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

    tables: ClassVar[tuple[str, ...]]
    views: ClassVar[tuple[str, ...]]
    across: ClassVar[frozenset[type]]
    """The facts that change rows, where a row is told of by several streams: all are folded in one place.

    Empty where each stream has rows of its own: it may be folded apart from the others.
    """

    @property
    def name(self) -> str:
        """That of its checkpoint."""
        ...

    @property
    def version(self) -> int:
        """Of its tables and of what its rows are folded to: a new one has them rebuilt."""
        ...

    @property
    def ddl(self) -> bytes:
        """Creates its tables and views in the first schema of the search path, where they are missing."""
        ...

    @property
    def indexes(self) -> bytes:
        """Creates the indexes that `apply` does not need itself; nothing, where there are none."""
        ...

    def key(self, entry: Entry) -> UUID:
        """What must be applied in order: entries with the same key, and only those, meet in a row."""
        ...

    def apply(self, connection: AsyncConnection, entries: Sequence[Entry]) -> AsyncGenerator[None]:
        """Fold a batch into the tables in three steps, within the caller's transaction. Raises `PoisonEvent`.

        The first asks for the rows that it continues, the second reads the answers and puts rows down, the
        third adds up. What several projections do in the first is one round trip in a pipeline, and so is
        what they do in the third; in the second there must be none, for COPY goes through no pipeline.
        """
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
    """The executions that began before this batch: their rows, if any, are in the tables.

    What was rewritten is named as well: its rows change with it.
    """
    begun: set[int] = set()
    earlier: dict[int, UUID] = {}
    for entry in entries:
        kind = type(entry.fact)
        if kind in _OF_EXECUTIONS:
            number = entry.stream.int
            if entry.version == 1:
                begun.add(number)
            elif number not in begun:
                earlier[number] = entry.stream
        elif kind is EventsRedacted:
            rewritten = [each.stream for each in entry.fact.rewritten]  # type: ignore[attr-defined]
            earlier |= {stream.int: stream for stream in rewritten if stream.int not in begun}
    return list(earlier.values())
