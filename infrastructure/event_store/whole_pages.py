"""Pages of the log where a part of it is archived: looked through one by one, for files have no filters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from application.events import EventPage
from infrastructure.event_store.logged import BEGINNING_BYTES, logged, names_task
from infrastructure.sql import statements

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from psycopg import AsyncConnection

    from application.events import EventFilter, LoggedEvent
    from infrastructure.archive.form import Event
    from infrastructure.archive.shelf import Shelf

statement = statements("infrastructure.event_store")

LOOKED_AT = 2_000
LOOKED_AT_BYTES = 16 * 1024 * 1024


async def whole_page(
    shelf: Shelf, connection: AsyncConnection, wanted: EventFilter, after: int, until: int, limit: int
) -> EventPage:
    """As `PostgresEventReader.page`; it looks at fewer events. Raises `ArchiveAway` and `psycopg.Error`."""
    stretch = await shelf.stretch(connection, after, LOOKED_AT, LOOKED_AT_BYTES)
    looked_at = [event for event in stretch.events if event.position <= until]
    more = stretch.full and len(looked_at) == len(stretch.events)
    shown = await _shown(shelf, connection, looked_at)
    found = [event for event in shown if matches(event, wanted)]
    if len(found) > limit:
        return EventPage(items=found[:limit], next_after=found[limit - 1].position, more=True)
    return EventPage(items=found, next_after=looked_at[-1].position if looked_at else after, more=more)


def matches(event: LoggedEvent, wanted: EventFilter) -> bool:
    """Whether an event is one of those that are wanted."""
    return (
        (wanted.topic is None or event.topic.startswith(wanted.topic))
        and (wanted.actor is None or event.actor == wanted.actor)
        and (wanted.namespace is None or event.namespace == wanted.namespace)
        and (wanted.recorded_from is None or event.recorded_at >= wanted.recorded_from)
        and (wanted.recorded_to is None or event.recorded_at < wanted.recorded_to)
        and (wanted.task_id is None or names_task(event, wanted.task_id))
    )


async def _shown(shelf: Shelf, connection: AsyncConnection, events: Sequence[Event]) -> list[LoggedEvent]:
    later = {event.stream for event in events if event.version > 1}
    beginnings = await _beginnings(connection, later)
    archived = await shelf.first_of(connection, later.difference(beginnings))
    beginnings |= {stream: first.state[:BEGINNING_BYTES] for stream, first in archived.items()}
    return [logged(event, beginnings.get(event.stream) if event.version > 1 else None) for event in events]


async def _beginnings(connection: AsyncConnection, streams: set[UUID]) -> dict[UUID, bytes]:
    async with connection.cursor(binary=True) as cursor:
        asked = {"streams": list(streams), "beginning": BEGINNING_BYTES}
        await cursor.execute(statement("beginnings"), asked)
        return {stream: bytes(beginning) for stream, beginning in await cursor.fetchall()}
