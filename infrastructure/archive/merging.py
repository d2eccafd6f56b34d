"""The whole log by position: what is in the table, and what is in archives, as if nothing had ever left."""

from __future__ import annotations

import asyncio
import heapq
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from infrastructure.archive.catalogue import archives, archives_in
from infrastructure.archive.form import Damaged, Event
from infrastructure.sql import statements

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence
    from uuid import UUID

    from psycopg import AsyncConnection, Connection

    from infrastructure.archive.catalogue import Archive
    from infrastructure.archive.library import Library
    from infrastructure.archive.reading import ArchiveFile

statement = statements("infrastructure.archive")

EVENTS_AT_ONCE = 2_000
_NO_END = 2**63
# A row as it is, for the columns are those of `read_events`: to call `Event` takes twice as long.
_event: Callable[[tuple[Any, ...]], Event] = partial(tuple.__new__, Event)


class Stretch(NamedTuple):
    """Events in their order, and whether it is their number or size that ended them: there may be more."""

    events: Sequence[Event]
    full: bool


class Wanted(NamedTuple):
    """Some of the log: the streams whose id's last byte is one of `width` from `first` on, and some topics
    whatever their stream is.
    """

    first: int
    width: int
    topics: frozenset[str]

    def includes(self, event: Event) -> bool:
        """Whether an event is among them."""
        return self.has(event.stream) or event.topic in self.topics

    def has(self, stream: UUID) -> bool:
        """Whether a stream is."""
        return (stream.int - self.first) & 255 < self.width


async def events_after(
    connection: AsyncConnection,
    library: Library,
    position: int,
    limit: int,
    most_bytes: int,
    wanted: Wanted | None = None,
) -> Stretch:
    """Up to `limit` events after a position, wherever they lie; of each place no more than `most_bytes`.

    Where only some are `wanted`, the others are not there. Nothing is missed or told twice while months are
    archived or restored. Raises `ArchiveAway` rather than to leave out what cannot be read, and
    `psycopg.Error`.
    """
    asked = _Asked(position, limit, most_bytes, wanted)
    known = await archives(connection)
    while True:
        async with connection.cursor(binary=True) as cursor:
            await cursor.execute(statement(asked.statement), asked.bounds())
            rows = await cursor.fetchall()
        # Where a month has moved between the two questions, both are asked again.
        if (now := await archives(connection)) == known:
            break
        known = now
    parts = [asked.stretch(list(map(_event, rows)))]
    for archive in asked.away(known):
        if archive.first_position <= _reach(parts):
            parts.append(await library.look(archive, asked.of_file))
    return _merged(parts, limit)


async def archived_events(connection: AsyncConnection, library: Library) -> AsyncIterator[Event]:
    """Every event that is in archives alone, in order. Raises `ArchiveAway` and `psycopg.Error`."""
    away = [archive for archive in await archives(connection) if archive.away]
    files = [await library.look(archive, lambda file: file) for archive in away]
    events = heapq.merge(*(_read(archive, file) for archive, file in zip(away, files, strict=True)))
    while some := await asyncio.to_thread(lambda: list(islice(events, EVENTS_AT_ONCE))):
        for event in some:
            yield event


def _read(archive: Archive, file: ArchiveFile) -> Iterator[Event]:
    try:
        yield from file.events()
    except Damaged as error:
        raise error.away() from error


def events_after_in(
    connection: Connection, library: Library, position: int, limit: int, most_bytes: int
) -> Stretch:
    """As `events_after` does, but blocks."""
    asked = _Asked(position, limit, most_bytes)
    known = archives_in(connection)
    while True:
        with connection.cursor(binary=True) as cursor:
            rows = cursor.execute(statement("read_events"), asked.bounds(), prepare=False).fetchall()
        if (now := archives_in(connection)) == known:
            break
        known = now
    parts = [asked.stretch(list(map(_event, rows)))]
    for archive in asked.away(known):
        if archive.first_position <= _reach(parts):
            parts.append(library.ask(archive, asked.of_file))
    return _merged(parts, limit)


class _Asked(NamedTuple):
    position: int
    limit: int
    most_bytes: int
    wanted: Wanted | None = None

    @property
    def statement(self) -> str:
        return "read_events" if self.wanted is None else "read_wanted_events"

    def bounds(self) -> dict[str, Any]:
        bounds = {"position": self.position, "limit": self.limit, "bytes": self.most_bytes}
        if self.wanted is None:
            return bounds
        first, width, topics = self.wanted
        return {**bounds, "first": first, "width": width, "topics": list(topics)}

    def away(self, known: Sequence[Archive]) -> Iterator[Archive]:
        """Those to be looked into, the one that begins first before the others: they are read in turn."""
        wanted = [archive for archive in known if archive.away and archive.last_position > self.position]
        return iter(sorted(wanted, key=lambda archive: archive.first_position))

    def of_file(self, file: ArchiveFile) -> Stretch:
        if self.wanted is None:
            return self.stretch(file.after(self.position, self.limit, self.most_bytes))
        return self.stretch(file.after(self.position, self.limit, self.most_bytes, self.wanted.includes))

    def stretch(self, events: Sequence[Event]) -> Stretch:
        size = sum([len(event.state) for event in events])
        return Stretch(events, len(events) == self.limit or size >= self.most_bytes)


def _reach(parts: Sequence[Stretch]) -> int:
    """The position up to which all of them tell: behind the end of one that is full there may be more."""
    return min((part.events[-1].position for part in parts if part.full), default=_NO_END)


def _merged(parts: Sequence[Stretch], limit: int) -> Stretch:
    if len(parts) == 1:
        return parts[0]
    reach = _reach(parts)
    events = sorted(event for part in parts for event in part.events if event.position <= reach)
    return Stretch(events[:limit], reach < _NO_END or len(events) > limit)
