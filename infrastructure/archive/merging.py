"""The whole log by position: what is in the table, and what is in archives, as if nothing had ever left."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from infrastructure.archive.catalogue import archives
from infrastructure.archive.form import Event
from infrastructure.archive.statements import statement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import AsyncConnection

    from infrastructure.archive.catalogue import Archive
    from infrastructure.archive.library import Library


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
    parts, skipped = [rows], False
    for archive in _away_after(known, position):
        if skipped := archive.first_position > _reach(parts, limit):
            break
        parts.append(await _archived(library, archive, position, limit, most_bytes))
    return _merged(parts, limit, more=skipped)


def _away_after(known: Sequence[Archive], position: int) -> Sequence[Archive]:
    away = [archive for archive in known if archive.away and archive.last_position > position]
    return sorted(away, key=lambda archive: archive.first_position)


def _reach(parts: Sequence[Stretch], limit: int) -> float:
    """The last position that can be among the first `limit` events, whatever else there is."""
    positions = sorted(event.position for part in parts for event in part.events)
    ends = [part.events[-1].position for part in parts if part.full]
    return min([*ends, *positions[limit - 1 : limit]], default=math.inf)


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


def _merged(parts: Sequence[Stretch], limit: int, *, more: bool) -> Stretch:
    """As far as all of them reach: behind the end of one that is full there may be more of it.

    `more`: there is an archive behind that.
    """
    if len(parts) == 1:
        return parts[0]
    reach = min((part.events[-1].position for part in parts if part.full), default=None)
    events = sorted(
        event for part in parts for event in part.events if reach is None or event.position <= reach
    )
    return Stretch(events[:limit], more or reach is not None or len(events) > limit)
