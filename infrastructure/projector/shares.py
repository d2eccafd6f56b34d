"""Shares of the log, for processes that fold it beside each other: what each reads and what it folds.

Most rows are told of by one stream alone, so streams are shared out, by the last byte of their ids. The read
models whose rows are told of by several are folded by the first share, which has fewer streams for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple

from msgspec.structs import replace

from domain.redaction_facts import EventsRedacted
from infrastructure.archive.merging import Wanted
from infrastructure.event_store.mapper import FACT_TYPES

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
    from uuid import UUID

    from psycopg import AsyncConnection

    from infrastructure.projector.ports import Projection
    from infrastructure.projector.reading import Entry

LAST_BYTES = 256
# What `tasks` costs, as a part of all that is folded stream by stream.
ACROSS_COST = 0.3


class Share(NamedTuple):
    """One of two or more, counted from 1."""

    number: int
    of: int

    def parts(self, projections: Sequence[Projection]) -> list[Projection]:
        """What this share folds of these projections, each with a checkpoint named after its streams."""
        wanted = self.wanted(projections)
        streams = _Streams(wanted)
        here = [each for each in projections if self.number == 1 or not each.across]
        return [_Part(each, f"{each.name} {wanted.first}+{wanted.width}", streams) for each in here]

    def wanted(self, projections: Sequence[Projection]) -> Wanted:
        """What it reads of the log: its streams, and what it needs of all."""
        across = {fact for each in projections for fact in each.across}
        first = round(LAST_BYTES * max(0.0, 1 - (ACROSS_COST if across else 0) * (self.of - 1)) / self.of)
        bounds = [0, *[first + (LAST_BYTES - first) * step // (self.of - 1) for step in range(self.of)]]
        begin, end = bounds[self.number - 1 : self.number + 1]
        needed = {EventsRedacted} | (across if self.number == 1 else set())
        return Wanted(begin, end - begin, frozenset(fact.topic for fact in FACT_TYPES if fact in needed))


def can_be_shared(projections: Iterable[Projection]) -> bool:
    """Whether there is anything to fold stream by stream."""
    return any(not each.across for each in projections)


def at_work(projections: Sequence[Projection], shares: int) -> Sequence[Projection]:
    """What so many processes have checkpoints for: the parts of all shares; of one, the projections."""
    if shares == 1:
        return projections
    return [part for number in range(shares) for part in Share(number + 1, shares).parts(projections)]


class _Part:
    """What a share folds of a projection, into the same tables."""

    tables: ClassVar[tuple[str, ...]] = ()
    views: ClassVar[tuple[str, ...]] = ()
    across: ClassVar[frozenset[type]] = frozenset()
    ddl: ClassVar[bytes] = b""
    indexes: ClassVar[bytes] = b""

    def __init__(self, projection: Projection, name: str, streams: _Streams) -> None:
        self._projection = projection
        self._streams = streams
        self.name = name
        self.version = projection.version

    def key(self, entry: Entry) -> UUID:
        return self._projection.key(entry)

    def apply(self, connection: AsyncConnection, entries: Sequence[Entry]) -> AsyncGenerator[None]:
        across = self._projection.across
        if across:
            return self._projection.apply(
                connection, [entry for entry in entries if type(entry.fact) in across]
            )
        return self._projection.apply(connection, self._streams.of(entries))


class _Streams:
    """The streams of a share: what is told of them, looked for once for all that fold it."""

    def __init__(self, wanted: Wanted) -> None:
        self._has = wanted.has
        self._entries: Sequence[Entry] = ()
        self._own: Sequence[Entry] = ()

    def of(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """What some entries tell of them."""
        if entries is not self._entries:
            self._entries, self._own = entries, list(self._told(entries))
        return self._own

    def _told(self, entries: Sequence[Entry]) -> Iterator[Entry]:
        has = self._has
        for entry in entries:
            if type(entry.fact) is EventsRedacted:
                yield self._narrowed(entry, entry.fact)
            elif has(entry.stream):
                yield entry

    def _narrowed(self, entry: Entry, fact: EventsRedacted) -> Entry:
        """A rewriting of its own streams alone: to take out the rows of others is not its business."""
        rewritten = tuple(event for event in fact.rewritten if self._has(event.stream))
        return replace(entry, fact=replace(fact, rewritten=rewritten))
