"""The whole log by position: what is in the table, and what is in archives, as if nothing had ever left."""

from __future__ import annotations

import asyncio
import heapq
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from application.archived import ArchiveAway
from infrastructure.archive.catalogue import archives
from infrastructure.archive.form import Damaged, Event
from infrastructure.archive.statements import statement

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from psycopg import AsyncConnection

    from infrastructure.archive.catalogue import Archive
    from infrastructure.archive.library import Library
    from infrastructure.archive.reading import ArchiveFile

EVENTS_AT_ONCE = 2_000


class Stretch(NamedTuple):
    """Events in their order, and whether it is their number or size that ended them: there may be more."""

    events: Sequence[Event]
    full: bool


async def events_after(
    connection: AsyncConnection, library: Library, position: int, limit: int, most_bytes: int
) -> Stretch:
    """Up to `limit` events after a position, wherever they lie; of each place no more than `most_bytes`.

    Nothing is missed or told twice while months are archived or restored. Raises `ArchiveAway` rather than
    to leave out what cannot be read, and `psycopg.Error`.
    """
    known = await archives(connection)
    while True:
        rows = await _rows(connection, position, limit, most_bytes)
        # Where a month has moved between the two questions, both are asked again.
        if (now := await archives(connection)) == known:
            break
        known = now
    away = [archive for archive in known if archive.away and archive.last_position > position]
    found = [await _archived(library, archive, position, limit, most_bytes) for archive in away]
    return _merged([rows, *found], limit)


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
        raise ArchiveAway(archive.name, str(error)) from error


async def _rows(connection: AsyncConnection, position: int, limit: int, most_bytes: int) -> Stretch:
    async with connection.cursor(binary=True) as cursor:
        bounds = {"position": position, "limit": limit, "bytes": most_bytes}
        await cursor.execute(statement("read_events"), bounds)
        return _stretch([Event(*row) for row in await cursor.fetchall()], limit, most_bytes)


async def _archived(
    library: Library, archive: Archive, position: int, limit: int, most_bytes: int
) -> Stretch:
    events = await library.look(archive, lambda file: file.after(position, limit, most_bytes))
    return _stretch(events, limit, most_bytes)


def _stretch(events: Sequence[Event], limit: int, most_bytes: int) -> Stretch:
    return Stretch(events, len(events) == limit or sum(len(event.state) for event in events) >= most_bytes)


def _merged(parts: Sequence[Stretch], limit: int) -> Stretch:
    """As far as all of them reach: behind the end of one that is full there may be more of it."""
    if len(parts) == 1:
        return parts[0]
    reach = min((part.events[-1].position for part in parts if part.full), default=None)
    events = sorted(
        event for part in parts for event in part.events if reach is None or event.position <= reach
    )
    return Stretch(events[:limit], reach is not None or len(events) > limit)
