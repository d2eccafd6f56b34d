"""Reading the log page by page, at a cost that does not depend on how long it is or how rare a match."""

from __future__ import annotations

import asyncio
import contextlib
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import asdict

from application.ports import EventFilter, EventPage, LoggedEvent, LogUnavailable, Meta, Origin
from domain.identity import is_execution
from domain.redaction import original_digest
from infrastructure.event_store.log import HEAD, READ_SECONDS
from infrastructure.postgres import AWAY, first_line
from infrastructure.sql import statements

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from datetime import datetime

    from psycopg import AsyncConnection, AsyncCursor
    from psycopg_pool import AsyncConnectionPool

    from infrastructure.archive.catalog import ArchiveReader
    from infrastructure.archive.files import Event
    from infrastructure.event_store.log import Row

BEGINNING_BYTES = 4_096
"""Of each stored event: its meta, and the namespace and the task that it names before anything long."""

# Quotes within strings are escaped, so this is a member; and no other of that name comes before it.
_NAMESPACE = re.compile(rb'"namespace":("(?:[^"\\]|\\.)*")')


class _Stored(Struct, frozen=True):
    meta: Meta
    fact: Raw


class _Occurrence(Struct, frozen=True):
    task_id: UUID | None = None


class _Naming(Struct, frozen=True):
    task_id: UUID | None = None
    occurrence: _Occurrence = _Occurrence()


_stored = msgspec.json.Decoder(_Stored)
_naming = msgspec.json.Decoder(_Naming)


def logged(row: Row, beginning: bytes | None) -> LoggedEvent:
    """An event of the log; `beginning` is that of its stream's first event, None: it is the first."""
    position, stream, version, topic, state, recorded_at = row
    stored = _read(state)
    return LoggedEvent(
        position=position,
        recorded_at=recorded_at,
        stream=stream,
        version=version,
        topic=topic,
        namespace=_namespace(state[:BEGINNING_BYTES] if beginning is None else beginning),
        actor=stored.meta.actor if stored else "unknown",
        correlation_id=stored.meta.correlation_id if stored else "",
        address=stored.meta.address if stored else None,
        reason=stored.meta.reason if stored else None,
        redacted=original_digest(state) is not None,
        data=stored.fact if stored else None,
    )


def names_task(event: LoggedEvent, task_id: UUID) -> bool:
    """Whether an event is in the task's stream, or about the task."""
    if event.stream == task_id:
        return True
    try:
        naming = _naming.decode(event.data or b"{}")
    except msgspec.DecodeError:
        return False
    return task_id in {naming.task_id, naming.occurrence.task_id}


def origin(topic: str, beginning: bytes) -> Origin:
    """What a stream is about that begins so."""
    kind = topic.partition(".")[0]
    return Origin(
        kind="task" if kind == "task" else "execution" if kind == "execution" else "other",
        namespace=_namespace(beginning),
    )


def beginning_of_actor(actor: str) -> bytes:
    """How every event of an actor begins."""
    return b'{"meta":{"actor":' + msgspec.json.encode(actor)


def member(name: str, value: str) -> bytes:
    """How a member stands in what is stored."""
    return msgspec.json.encode({name: value})[1:-1]


def _read(state: bytes) -> _Stored | None:
    try:
        state.decode()  # a part that is only passed on is not looked into
        return _stored.decode(state)
    except (ValueError, RecursionError):
        return None


def _namespace(beginning: bytes) -> str | None:
    found = _NAMESPACE.search(beginning)
    try:
        return msgspec.json.decode(found[1], type=str) if found else None
    except ValueError:  # it is no JSON: the rest of the page is told all the same
        return None


statement = statements("infrastructure.event_store")

LOOKED_AT_ARCHIVED = 2_000
LOOKED_AT_BYTES = 16 * 1024 * 1024


async def whole_page(
    archive_reader: ArchiveReader,
    connection: AsyncConnection,
    wanted: EventFilter,
    after: int,
    until: int,
    limit: int,
) -> EventPage:
    """As `PostgresEventReader.page`; it looks at fewer events. Raises `ArchiveAway` and `psycopg.Error`."""
    stretch = await archive_reader.stretch(connection, after, LOOKED_AT_ARCHIVED, LOOKED_AT_BYTES)
    looked_at = [event for event in stretch.events if event.position <= until]
    more = stretch.full and len(looked_at) == len(stretch.events)
    shown = await _shown(archive_reader, connection, looked_at)
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


async def _shown(
    archive_reader: ArchiveReader, connection: AsyncConnection, events: Sequence[Event]
) -> list[LoggedEvent]:
    later = {event.stream for event in events if event.version > 1}
    beginnings = await _beginnings(connection, later)
    archived = await archive_reader.first_of(connection, later.difference(beginnings))
    beginnings |= {stream: first.state[:BEGINNING_BYTES] for stream, first in archived.items()}
    return [logged(event, beginnings.get(event.stream) if event.version > 1 else None) for event in events]


async def _beginnings(connection: AsyncConnection, streams: set[UUID]) -> dict[UUID, bytes]:
    async with connection.cursor(binary=True) as cursor:
        asked = {"streams": list(streams), "beginning": BEGINNING_BYTES}
        await cursor.execute(statement("beginnings"), asked)
        return {stream: bytes(beginning) for stream, beginning in await cursor.fetchall()}


LOOKED_AT = 10_000
"""Events that one page looks at, at most, whatever it finds."""

CLOCK_TURNS = timedelta(minutes=1)
"""How far the database's clock may have been set back without hiding an event from a search by time."""

LAST_POSITION = 2**63 - 1
_ALL = EventFilter()


class PostgresEventReader:
    """Pages of one database's log. Every method raises `LogUnavailable` when it cannot be reached.

    Positions are committed in order, so whoever goes on from `next_after` misses nothing.
    """

    def __init__(
        self,
        pool: AsyncConnectionPool,
        looked_at: int = LOOKED_AT,
        archive_reader: ArchiveReader | None = None,
    ) -> None:
        """`archive_reader` has what has left the log; None: nothing has."""
        self._pool = pool
        self._archive_reader = archive_reader
        self._looked_at = looked_at

    async def head(self) -> int:
        """The position of the newest event; 0 when there is none."""
        async with self._reading() as cursor:
            await cursor.execute(HEAD)
            return int((await _row(cursor))[0])

    async def page(
        self, wanted: EventFilter, after: int, limit: int, until: int = LAST_POSITION
    ) -> EventPage:
        """Up to `limit` events that match, after a position and up to `until`, in order.

        A page that is not full, or empty, is no end: `more` tells.
        """
        async with self._reading() as cursor:
            after, until = await self._within(cursor, wanted, after, until)
            if self._archive_reader is not None and await self._archive_reader.between(
                cursor.connection, after, until
            ):
                return await whole_page(self._archive_reader, cursor.connection, wanted, after, until, limit)
            most = limit if wanted == _ALL else self._looked_at
            await cursor.execute(statement("looked_at"), {"after": after, "until": until, "most": most})
            looked_to, more = await _row(cursor)
            if looked_to is None:
                return EventPage(items=[], next_after=after, more=False)
            within = {"after": after, "looked_to": looked_to, "limit": limit}
            # Planned with the values at hand: a plan for any values could not tell which filters are set.
            await cursor.execute(statement("matching_events"), _parameters(wanted) | within, prepare=False)
            found = _events(await cursor.fetchall())
        if len(found) == limit and found[-1].position < looked_to:
            looked_to, more = found[-1].position, True
        return EventPage(
            items=[event for event in found if _matches(event, wanted)], next_after=looked_to, more=more
        )

    async def of_stream(self, stream: UUID, after: int, limit: int) -> EventPage:
        """Up to `limit` events of a stream after a version, in order; `next_after` is a version, too."""
        asked = {"stream": stream, "after": after, "limit": limit + 1, "beginning": BEGINNING_BYTES}
        async with self._reading() as cursor:
            await cursor.execute(statement("stream_events"), asked)
            found = _events(await cursor.fetchall())
        if not found and (archived := await self._archived(stream)):
            beginning = archived[0].state[:BEGINNING_BYTES]
            later = [event for event in archived if event.version > after][: limit + 1]
            found = [logged(event, beginning if event.version > 1 else None) for event in later]
        items = found[:limit]
        return EventPage(
            items=items, next_after=items[-1].version if items else after, more=len(found) > limit
        )

    async def origin(self, stream: UUID) -> Origin | None:
        """What a stream is about; None: there is no such stream."""
        async with self._reading() as cursor:
            row = await _origin(cursor, stream)
        if row is None and (archived := await self._archived(stream)):
            return origin(archived[0].topic, archived[0].state[:BEGINNING_BYTES])
        return None if row is None else origin(*row[1:])

    async def _archived(self, stream: UUID) -> Sequence[Event]:
        if self._archive_reader is None or not is_execution(stream):
            return []
        return await self._archive_reader.of_stream(stream) or []

    async def _within(
        self, cursor: AsyncCursor, wanted: EventFilter, after: int, until: int
    ) -> tuple[int, int]:
        """The positions between which there may be events of the task and the time that are asked for."""
        if wanted.task_id is not None and (first := await _origin(cursor, wanted.task_id)):
            after = max(after, first[0] - 1)
        if wanted.recorded_from is not None:
            after = max(after, await _before(cursor, wanted.recorded_from, -CLOCK_TURNS))
        if wanted.recorded_to is not None:
            until = min(until, await self._last_before(cursor, wanted.recorded_to))
        return after, until

    async def _last_before(self, cursor: AsyncCursor, instant: datetime) -> int:
        position = await _before(cursor, instant, CLOCK_TURNS)
        if self._archive_reader is None:
            return position
        # What is archived may lie between what was recorded before and what was recorded next.
        await cursor.execute(statement("next_position"), {"position": position})
        following = (await _row(cursor))[0]
        return LAST_POSITION if following is None else int(following) - 1

    @contextlib.asynccontextmanager
    async def _reading(self) -> AsyncIterator[AsyncCursor]:
        try:
            async with (
                asyncio.timeout(READ_SECONDS),
                self._pool.connection() as connection,
                connection.cursor(binary=True) as cursor,
            ):
                yield cursor
        except AWAY as error:
            raise LogUnavailable(first_line(error)) from error


async def _before(cursor: AsyncCursor, instant: datetime, margin: timedelta) -> int:
    with contextlib.suppress(OverflowError):  # nothing was recorded at the first or the last instant there is
        instant += margin
    await cursor.execute(statement("position_before"), {"instant": instant})
    return int((await _row(cursor))[0])


async def _origin(cursor: AsyncCursor, stream: UUID) -> tuple[Any, ...] | None:
    await cursor.execute(statement("stream_origin"), {"stream": stream, "beginning": BEGINNING_BYTES})
    return await cursor.fetchone()


async def _row(cursor: AsyncCursor) -> tuple[Any, ...]:
    row = await cursor.fetchone()
    assert row is not None, "it has one row"
    return row


def _parameters(wanted: EventFilter) -> dict[str, Any]:
    return asdict(wanted) | {
        "beginning": BEGINNING_BYTES,
        "actor": None if wanted.actor is None else beginning_of_actor(wanted.actor),
        "namespace": None if wanted.namespace is None else member("namespace", wanted.namespace),
        "task_named": None if wanted.task_id is None else member("task_id", str(wanted.task_id)),
    }


def _events(rows: Sequence[tuple[Any, ...]]) -> list[LoggedEvent]:
    return [logged((*row[:4], bytes(row[4]), row[5]), row[6]) for row in rows]


def _matches(event: LoggedEvent, wanted: EventFilter) -> bool:
    """What the first bytes alone cannot tell for sure."""
    if wanted.namespace is not None and event.namespace != wanted.namespace:
        return False
    return wanted.task_id is None or names_task(event, wanted.task_id)
