"""The archives of a storage, opened as they are asked for."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Callable, Iterator, Sequence, Set
from datetime import date, datetime
from functools import partial
from itertools import islice
from typing import Any, Literal, NamedTuple
from uuid import UUID

from msgspec import Struct
from psycopg import AsyncConnection, Connection
from psycopg_pool import AsyncConnectionPool

from application.ports import ArchiveAway, LogUnavailable
from domain.identity import Month
from infrastructure.archive.files import ArchiveFile, Damaged, Event, Kept, Source
from infrastructure.archive.storage import NoStorage, Storage
from infrastructure.postgres import AWAY, first_line
from infrastructure.sql import statements

statement = statements("infrastructure.archive")


class Archive(Struct, frozen=True):
    """A month that was archived; `size` in bytes. Streams are those from `first_stream` to before
    `end_stream`. `sha256` is that of the whole file, `manifest_sha256` that of its manifest as it lies there.

    While it is `archived`, its events are in the file alone; while it is `restored`, in the log as well.
    """

    month: Month
    name: str
    size: int
    sha256: str
    manifest_sha256: str
    events: int
    executions: int
    first_stream: UUID
    end_stream: UUID
    first_position: int
    last_position: int
    state: Literal["archived", "restored"]
    changed_at: datetime

    @property
    def away(self) -> bool:
        """Whether the events are in the file alone."""
        return self.state == "archived"

    def has(self, stream: UUID) -> bool:
        """Whether a stream's events are, or would be, in the file."""
        return self.first_stream <= stream < self.end_stream


def first_day(month: Month) -> date:
    """How the catalogue names a month."""
    return month.start.date()


async def archives(connection: AsyncConnection) -> Sequence[Archive]:
    """All of them, the oldest month first."""
    cursor = await connection.execute(statement("archives"))
    return [_archive(row) for row in await cursor.fetchall()]


def archives_in(connection: Connection) -> Sequence[Archive]:
    """All of them, the oldest month first."""
    return [_archive(row) for row in connection.execute(statement("archives")).fetchall()]


def _archive(row: tuple[Any, ...]) -> Archive:
    day: date = row[0]
    return Archive(Month(day.year, day.month), *row[1:])


class Catalog:
    """Looks into archives on a thread of its own, so that others are served meanwhile.

    What cannot be read, or is not what was written, is `ArchiveAway`: it is never taken for less.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._opened: dict[str, ArchiveFile] = {}
        self._kept = Kept()

    async def look[T](self, archive: Archive, question: Callable[[ArchiveFile], T]) -> T:
        """What an archive answers to a question. Raises `ArchiveAway`."""
        return await asyncio.to_thread(partial(self.ask, archive, question))

    def ask[T](self, archive: Archive, question: Callable[[ArchiveFile], T]) -> T:
        """As `look` does, but blocks."""
        try:
            return question(self._file(archive))
        except ArchiveAway:
            self._opened.pop(archive.name, None)
            raise
        except Damaged as error:
            self._opened.pop(archive.name, None)
            raise error.away() from error

    def _file(self, archive: Archive) -> ArchiveFile:
        if archive.name not in self._opened:
            source = self._storage.open(archive.name)
            if source.size != archive.size:
                raise Damaged(
                    archive.name, f"it has {source.size:,} bytes, and {archive.size:,} were written"
                )
            self._opened[archive.name] = _opened(archive, source, self._kept)
        return self._opened[archive.name]


def _opened(archive: Archive, source: Source, kept: Kept) -> ArchiveFile:
    """The file, if it is the one of the catalogue: its manifest, which was hashed, hashes all the rest."""
    file = ArchiveFile(archive.name, source, archive.manifest_sha256, kept)
    said = file.manifest
    told = (said.month, said.events, said.executions, said.first_position, said.last_position)
    known = (archive.events, archive.executions, archive.first_position, archive.last_position)
    if told != (str(archive.month), *known):
        raise Damaged(
            archive.name,
            f"it says that it has {said.events:,} events of {said.executions:,} executions of {said.month}, "
            f"from {said.first_position} to {said.last_position}, and the catalogue says another thing",
        )
    return file


NO_ARCHIVES = Catalog(NoStorage())
"""For who knows of none: what lies in one is away."""


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
    catalog: Catalog,
    position: int,
    limit: int,
    most_bytes: int,
    wanted: Wanted | None = None,
) -> Stretch:
    """Up to `limit` events after a position, wherever they lie; of the table and of each file no more than
    `most_bytes`.

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
            parts.append(await catalog.look(archive, asked.of_file))
    return _merged(parts, limit)


async def archived_events(connection: AsyncConnection, catalog: Catalog) -> AsyncIterator[Event]:
    """Every event that is in archives alone, in order. Raises `ArchiveAway` and `psycopg.Error`."""
    away = [archive for archive in await archives(connection) if archive.away]
    files = [await catalog.look(archive, lambda file: file) for archive in away]
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
    connection: Connection, catalog: Catalog, position: int, limit: int, most_bytes: int
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
            parts.append(catalog.ask(archive, asked.of_file))
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


ANSWER_SECONDS = 10.0


class ArchiveReader:
    """What has left the log. Every method raises `LogUnavailable`, which `ArchiveAway` is."""

    def __init__(self, pool: AsyncConnectionPool, catalog: Catalog) -> None:
        self._pool = pool
        self._catalog = catalog

    async def of_stream(self, stream: UUID) -> Sequence[Event] | None:
        """The events of a stream that is not in the log; None: it is not away, so look there again."""
        for archive in await self._away():
            if archive.has(stream):
                return await self._catalog.look(archive, lambda file: file.of_stream(stream))
        return None

    async def months(self) -> Set[Month]:
        """See `application.ports.Archived`."""
        return {archive.month for archive in await self._away()}

    async def last(self, question: Callable[[ArchiveFile], Event | None]) -> Event | None:
        """The one with the highest position among what all that is away answers."""
        answers = [await self._catalog.look(archive, question) for archive in await self._away()]
        return max((event for event in answers if event is not None), default=None)

    async def between(self, connection: AsyncConnection, after: int, until: int) -> bool:
        """Whether any events behind a position and up to another may be away. Raises `psycopg.Error`."""
        known = await archives(connection)
        return any(one.away and one.last_position > after and one.first_position <= until for one in known)

    async def first_of(self, connection: AsyncConnection, streams: Set[UUID]) -> dict[UUID, Event]:
        """The first event of each of these streams that is away. Raises `psycopg.Error`, too."""
        found: dict[UUID, Event] = {}
        for archive in await archives(connection):
            wanted = [stream for stream in streams if archive.away and archive.has(stream)]
            if wanted:
                found |= await self._catalog.look(archive, partial(ArchiveFile.first_of, streams=wanted))
        return found

    async def stretch(
        self, connection: AsyncConnection, position: int, limit: int, most_bytes: int
    ) -> Stretch:
        """Events after a position, wherever they lie: see `events_after`."""
        return await events_after(connection, self._catalog, position, limit, most_bytes)

    async def _away(self) -> Sequence[Archive]:
        try:
            async with asyncio.timeout(ANSWER_SECONDS), self._pool.connection() as connection:
                return [archive for archive in await archives(connection) if archive.away]
        except AWAY as error:
            raise LogUnavailable(first_line(error)) from error
