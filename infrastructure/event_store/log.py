"""Reading the log, and the `EventLog` port over reader and appender."""

from __future__ import annotations

import asyncio
import contextlib
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

import msgspec

from application.ports import (
    Answer,
    Group,
    LogUnavailable,
    Meta,
    Patience,
    Recorded,
    Snapshot,
    TaskHistory,
    Undecodable,
)
from domain.identity import is_execution, redaction_stream
from domain.task import FinishedTask, Paused, Scheduled
from infrastructure.event_store.mapper import decode
from infrastructure.postgres import AWAY, first_line
from infrastructure.sql import statements

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Sequence

    from psycopg import AsyncConnection, AsyncCursor
    from psycopg_pool import AsyncConnectionPool

    from domain.task import Task
    from infrastructure.archive.catalog import ArchiveReader
    from infrastructure.event_store.appender import Appender

# By which rules a state was folded. To be raised with every change of what `domain.task` makes of facts, or
# of the shape of a task's states: snapshots of before are left alone then.
FOLD = 2

_KINDS: dict[str, type[Any]] = {"scheduled": Scheduled, "paused": Paused, "over": FinishedTask}
_NAMES = {kind: name for name, kind in _KINDS.items()}
_decoders = {name: msgspec.json.Decoder(kind) for name, kind in _KINDS.items()}
_encoder = msgspec.json.Encoder()


def encode_task(task: Task) -> tuple[str, bytes]:
    """What kind of state it is, and the JSON of it."""
    return _NAMES[type(task)], _encoder.encode(task)


def decode_task(kind: str, state: bytes) -> Task | None:
    """The state that was stored; None for bytes that are none: the stream tells it as well."""
    decoder = _decoders.get(kind)
    try:
        return decoder.decode(state) if decoder else None
    except (ValueError, RecursionError):
        return None


statement = statements("infrastructure.event_store")

_COLUMNS = "SELECT notification_id, originator_id, originator_version, topic, state, recorded_at FROM events"
READ_AFTER = f"{_COLUMNS} WHERE notification_id > %s ORDER BY notification_id LIMIT %s"
HEAD = "SELECT coalesce(max(notification_id), 0) FROM events"
READ_STREAM = f"{_COLUMNS} WHERE originator_id = %s ORDER BY originator_version"
READ_SECONDS = 10.0

type Row = tuple[int, UUID, int, str, bytes, Any]

_NO_META = Meta(actor="unknown", correlation_id="", command_id=UUID(int=0))


class LogRewound(Exception):
    """The log has lost events that were read before, as after a restored backup or a failover that lost some.

    What was built from those events is no longer true: begin anew from what the log holds.
    """

    def __init__(self, head: int, position: int) -> None:
        self.head = head
        self.position = position
        found = f"ends at {head}, before" if head < position else "has another past than what was read up to"
        super().__init__(f"the log {found} {position}: was a backup restored?")


def recorded(row: Row) -> Recorded:
    """A row of the log; what cannot be decoded comes back as `Undecodable`, never as an exception."""
    position, stream, version, topic, state, recorded_at = row
    try:
        envelope = decode(topic, state)
    except (ValueError, RecursionError) as error:  # an unknown topic, no JSON, no UTF-8, no such fields
        fact = Undecodable(topic=topic, error=str(error))
        return Recorded(
            position=position,
            stream=stream,
            version=version,
            fact=fact,
            meta=_NO_META,
            recorded_at=recorded_at,
        )
    return Recorded(
        position=position,
        stream=stream,
        version=version,
        fact=envelope.fact,
        meta=envelope.meta,
        recorded_at=recorded_at,
    )


async def read_after(connection: AsyncConnection, position: int, limit: int) -> Sequence[Recorded]:
    """Up to `limit` events after `position`, in order, on a connection of the caller's."""
    async with connection.cursor(binary=True) as cursor:
        await cursor.execute(READ_AFTER, (position, limit))
        return [recorded(row) for row in await cursor.fetchall()]


async def head(connection: AsyncConnection) -> int:
    """The position of the newest event; 0 when there is none."""
    row = await (await connection.execute(HEAD)).fetchone()
    return int(row[0]) if row else 0


class _TaskRow(NamedTuple):
    """An event, or what is `kept` of a task: `topic` is the kind of its state then."""

    kept: bool
    position: int
    stream: UUID
    version: int
    topic: str
    state: bytes
    recorded_at: Any


class PostgresEventLog:
    """The log of one database; reads through the pool, appends through the process's one appender."""

    def __init__(
        self, pool: AsyncConnectionPool, appender: Appender, archive_reader: ArchiveReader | None = None
    ) -> None:
        """`archive_reader` has the streams that have left the log; None: nobody asks for any of them."""
        self._pool = pool
        self._appender = appender
        self._archive_reader = archive_reader

    def append(self, group: Group, *, patience: Patience = "prompt") -> Awaitable[int | None]:
        """See `application.ports.EventLog`."""
        return self._appender.append(group, patience=patience)

    def append_all(
        self, groups: Sequence[Group], *, patience: Patience = "prompt"
    ) -> Awaitable[Sequence[Answer]]:
        """See `application.ports.EventLog`."""
        return self._appender.append_all(groups, patience=patience)

    async def read_stream(self, stream: UUID) -> Sequence[Recorded]:
        """See `application.ports.EventLog`."""
        found = await self._read(READ_STREAM, (stream,))
        if found or self._archive_reader is None or not is_execution(stream):
            return found
        if (events := await self._archive_reader.of_stream(stream)) is not None:
            return [recorded(event) for event in events]
        return await self._read(READ_STREAM, (stream,))

    async def read_after(self, position: int, limit: int) -> Sequence[Recorded]:
        """See `application.ports.EventLog`."""
        return await self._read(READ_AFTER, (position, limit))

    async def read_task(self, task_id: UUID) -> TaskHistory:
        """See `application.ports.EventLog`."""
        parameters = {"task_id": task_id, "fold": FOLD}
        rows = list(map(_TaskRow._make, await self._rows(statement("read_task"), parameters)))
        if not rows or not rows[0].kept:
            return TaskHistory(None, [recorded(row[1:]) for row in rows])
        first, *rest = rows
        task = decode_task(first.topic, first.state)
        if task is None:
            return TaskHistory(None, await self.read_stream(task_id))
        return TaskHistory(Snapshot(first.position, task), [recorded(row[1:]) for row in rest])

    async def keep(self, snapshot: Snapshot) -> None:
        """See `application.ports.EventLog`."""
        kind, state = encode_task(snapshot.task)
        parameters = {
            "task_id": snapshot.task.id,
            "redactions": redaction_stream(snapshot.task.id),
            "version": snapshot.task.version,
            "position": snapshot.position,
            "fold": FOLD,
            "kind": kind,
            "state": state,
        }
        async with self._cursor() as cursor:
            await cursor.execute(statement("keep_snapshot"), parameters)

    async def _read(self, text: str, parameters: tuple[Any, ...]) -> Sequence[Recorded]:
        return [recorded(row) for row in await self._rows(text.encode(), parameters)]

    async def _rows(self, text: bytes, parameters: Any) -> list[Any]:
        async with self._cursor() as cursor:
            await cursor.execute(text, parameters)
            return await cursor.fetchall()

    @contextlib.asynccontextmanager
    async def _cursor(self) -> AsyncIterator[AsyncCursor]:
        try:
            async with (
                asyncio.timeout(READ_SECONDS),
                self._pool.connection() as connection,
                connection.cursor(binary=True) as cursor,
            ):
                yield cursor
        except AWAY as error:
            raise LogUnavailable(first_line(error)) from error


PAGE_EVENTS = 1_000
# Keys come before tasks, executions after them: see `domain.identity`.
FIRST_TASK, FIRST_EXECUTION = UUID(int=1 << 80), UUID(int=1 << 127)


class PostgresTaskStreams:
    """`application.declared.TaskStreams` of one database: each page as of its own moment."""

    def __init__(self, pool: AsyncConnectionPool) -> None:
        self._pool = pool

    async def tasks(self) -> AsyncIterator[Sequence[Recorded]]:
        """The events of each task, in order. Raises `LogUnavailable`."""
        events: list[Recorded] = []
        stream, version = FIRST_TASK, 0
        while page := await self._page(stream, version):
            stream, version = page[-1].stream, page[-1].version
            *whole, events = [list(group) for _, group in groupby([*events, *page], attrgetter("stream"))]
            for of_task in whole:
                yield of_task
        if events:
            yield events

    async def _page(self, stream: UUID, version: int) -> Sequence[Recorded]:
        place = {"stream": stream, "version": version, "before": FIRST_EXECUTION, "limit": PAGE_EVENTS}
        try:
            async with (
                asyncio.timeout(READ_SECONDS),
                self._pool.connection() as connection,
                connection.cursor(binary=True) as cursor,
            ):
                await cursor.execute(statement("task_streams"), place)
                return [recorded(row) for row in await cursor.fetchall()]
        except AWAY as error:
            raise LogUnavailable(first_line(error)) from error
