"""Reading the log as it was: which position an instant had, and what was recorded until then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from application.explanation.history import Streams
from application.past import Moment, NotYet, TooMuchHistory
from application.ports import LogUnavailable, Recorded, Undecodable, Unreadable
from domain import errors as wording
from domain.facts import ExecutionFailed, ExecutionSucceeded
from domain.identity import milliseconds
from infrastructure.archive.catalog import ArchiveReader
from infrastructure.event_store.log import READ_SECONDS, recorded
from infrastructure.postgres import AWAY, first_line
from infrastructure.projector.reading import Entry, decoded
from infrastructure.sql import statements

statement = statements("infrastructure.past")

MOST_TASK_EVENTS = 100_000
"""So many events of tasks are folded for one answer, at most."""
MOST_EVENTS = 1_000_000
"""So long a log is searched for outcomes for one answer, at most."""

BATCH_BYTES = 16 * 1024 * 1024
BATCH_EVENTS = 1_000  # decoded and folded in one go, between which requests are served
# No append takes that long: what was recorded before is committed by now.
SETTLED = timedelta(seconds=10)
# A task's id tells its creator's clock, which need not be the database's.
CLOCKS_APART = timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_TASK, _FIRST_EXECUTION = UUID(int=1 << 80), UUID(int=1 << 127)
_OUTCOMES = [ExecutionSucceeded.topic, ExecutionFailed.topic]


class PostgresPast:
    """Moments of the log of one database. Every method raises `LogUnavailable`."""

    def __init__(self, pool: AsyncConnectionPool, archive_reader: ArchiveReader) -> None:
        """`archive_reader` has what has left the log."""
        self._pool = pool
        self._archive_reader = archive_reader

    async def at(self, instant: datetime) -> Moment:
        """The moment of an instant: after the last event recorded by then. Raises `NotYet`.

        Positions are in the order of `recorded_at`, unless the database's clock was set back: then there may
        be several such events, of which one is taken.
        """
        async with self._reading() as connection:
            [(now,)] = await _rows(connection, "database_now", {})
            if instant > now:
                raise NotYet(f"it is {wording.instant(now)} now, by the database's clock")
            if now - instant < SETTLED:
                await connection.execute(statement("await_appends"))
            [(position,)] = await _rows(connection, "position_at", {"instant": instant})
        archived = await self._archive_reader.last(lambda file: file.last_by(instant))
        return Moment(max(position, archived.position if archived else 0), instant)

    async def after(self, position: int) -> Moment:
        """The moment at which a position was the last one. Raises `NotYet`."""
        async with self._reading() as connection:
            [(recorded_at, at, ends_at)] = await _rows(connection, "recorded_before", {"position": position})
        if position > ends_at:
            raise NotYet(f"the log ends at position {ends_at}")
        archived = await self._archive_reader.last(lambda file: file.last_up_to(position))
        if archived is not None and (at is None or archived.position > at):
            recorded_at = archived.recorded_at
        return Moment(position, recorded_at)

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[AsyncConnection]:
        try:
            async with asyncio.timeout(READ_SECONDS), self._pool.connection() as connection:
                yield connection
        except AWAY as error:
            raise LogUnavailable(first_line(error)) from error


async def task_entries(
    connection: AsyncConnection,
    moment: Moment,
    created_from: datetime | None = None,
    created_to: datetime | None = None,
) -> AsyncIterator[Sequence[Entry]]:
    """The streams of the tasks that there were, or of those created in a period, each in its order.

    Raises `TooMuchHistory`, `Unreadable` and `psycopg.Error`.
    """
    created_to = min(created_to or moment.at, moment.at)
    place = {
        "stream": _first_id(max(created_from or _EPOCH, _EPOCH) - CLOCKS_APART),
        "version": 0,
        "before": _first_id(created_to + CLOCKS_APART),
        "until": moment.position,
        "limit": BATCH_EVENTS,
    }
    read = 0
    while entries := await _entries(connection, "read_task_streams", place):
        read += len(entries)
        if read > MOST_TASK_EVENTS:
            raise TooMuchHistory(
                f"More than {MOST_TASK_EVENTS:,} events of tasks would have to be folded; narrow "
                "`created_from` and `created_to`, or read single tasks."
            )
        yield entries
        place |= {"stream": entries[-1].stream, "version": entries[-1].version}


async def outcome_entries(
    connection: AsyncConnection, moment: Moment, archive_reader: ArchiveReader
) -> AsyncIterator[Sequence[Entry]]:
    """How executions ended, in the order of the log. Raises `ArchiveAway`, and as `task_entries` does."""
    if moment.position > MOST_EVENTS:
        raise TooMuchHistory(
            f"The log has {moment.position:,} events until then, and figures are made of {MOST_EVENTS:,} at "
            "most; ask for an earlier instant, or count the results of a period with `from` and `to`."
        )
    if await archive_reader.between(connection, 0, moment.position):
        async for entries in _archived_outcomes(connection, moment, archive_reader):
            yield entries
        return
    place = {"after": 0, "until": moment.position, "topics": _OUTCOMES, "limit": BATCH_EVENTS}
    while entries := await _entries(connection, "read_topics", place):
        yield entries
        place["after"] = entries[-1].position


async def _archived_outcomes(
    connection: AsyncConnection, moment: Moment, archive_reader: ArchiveReader
) -> AsyncIterator[Sequence[Entry]]:
    position, full = 0, True
    while full and position < moment.position:
        events, full = await archive_reader.stretch(connection, position, BATCH_EVENTS, BATCH_BYTES)
        position = events[-1].position if events else moment.position
        yield _readable(
            [
                Entry(event.position, event.stream, event.version, decoded(event.topic, event.state))
                for event in events
                if event.topic in _OUTCOMES and event.position <= moment.position
            ]
        )


def _first_id(instant: datetime) -> UUID:
    """The first id of a task that is created at an instant: a UUIDv7 begins with its milliseconds."""
    first = UUID(int=max(0, milliseconds(instant)) << 80)
    return min(max(first, _FIRST_TASK), _FIRST_EXECUTION)


async def _entries(connection: AsyncConnection, name: str, parameters: dict[str, Any]) -> Sequence[Entry]:
    return _readable(
        [
            Entry(position, stream, version, decoded(topic, state))
            for position, stream, version, topic, state in await _rows(connection, name, parameters)
        ]
    )


def _readable(entries: Sequence[Entry]) -> Sequence[Entry]:
    """The same. Raises `Unreadable` for the first that this release cannot read."""
    for each in entries:
        if isinstance(each.fact, Undecodable):
            raise Unreadable(each.position, each.fact.error)
    return entries


async def _rows(connection: AsyncConnection, name: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    async with connection.cursor(binary=True) as cursor:
        await cursor.execute(statement(name), parameters, prepare=False)
        return await cursor.fetchall()


# What began earlier, and was not over by then, is not looked for.
LONGEST_RUN = timedelta(days=7)


class PostgresRuns:
    """`application.what_if.question.Runs`. Every method raises `LogUnavailable`."""

    def __init__(self, pool: AsyncConnectionPool, log: Streams) -> None:
        """`log` has the streams that are archived."""
        self._pool = pool
        self._log = log

    async def of_task(
        self, task_id: UUID, since: datetime, until: datetime, position: int, limit: int
    ) -> Sequence[UUID]:
        """See `Runs`."""
        asked = {"task_id": task_id, "since": since, "until": until, "earlier": since - LONGEST_RUN}
        rows = await self._rows("runs_of_task", asked | {"position": position, "limit": limit})
        return [run for (run,) in rows]

    async def streams(self, runs: Sequence[UUID]) -> Sequence[Recorded]:
        """See `Runs`."""
        events = [recorded(row) for row in await self._rows("read_runs", {"runs": list(runs)})]
        for archived in set(runs).difference(event.stream for event in events):
            events += await self._log.read_stream(archived)
        return sorted(events, key=lambda event: (event.stream, event.version))

    async def durations_ms(self, task_id: UUID) -> Sequence[int]:
        """See `Runs`."""
        return [duration for (duration,) in await self._rows("latest_durations", {"task_id": task_id})]

    async def _rows(self, name: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
        try:
            async with (
                asyncio.timeout(READ_SECONDS),
                self._pool.connection() as connection,
                connection.cursor(binary=True) as cursor,
            ):
                await cursor.execute(statement(name), parameters, prepare=False)
                return await cursor.fetchall()
        except AWAY as error:
            raise LogUnavailable(first_line(error)) from error
