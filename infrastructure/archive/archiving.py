"""Moving a month of executions out of the log: the file first, whole and verified, then the rows."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

import psycopg
import structlog
from psycopg import Connection, IsolationLevel

from application.ports import ArchiveAway
from domain.identity import Month, due_at_of, first_execution_due_at
from infrastructure.archive.catalog import Archive, Catalog, archives_in, first_day
from infrastructure.archive.files import ArchiveFile, Damaged, Entry, Event, Writer
from infrastructure.archive.storage import Storage, StorageUnset, StorageUnusable
from infrastructure.postgres import first_line, with_liveness
from infrastructure.sql import statements

statement = statements("infrastructure.archive")

FETCHED_ROWS = 2_000
REMOVED_ROWS = 10_000
OVER = frozenset(
    {"execution.succeeded.v1", "execution.failed.v1", "execution.skipped.v1", "execution.cancelled.v1"}
)
_SUFFIX = ".ndjson.zst"


class ArchivingRunning(Exception):
    """Another process archives or restores in this database; wait until it is done."""

    def __init__(self) -> None:
        super().__init__("another process archives or restores in this database; wait until it is done")


class Stopped(Exception):
    """It was told to stop in the middle of a month, which is as it was."""


class NotArchivable(Exception):
    """A month has to stay in the log for now; the sentence says why, and what to do."""

    def __init__(self, month: Month, reason: str) -> None:
        super().__init__(f"{month} stays in the log: {reason}")
        self.month = month


class RecordedMeanwhile(NotArchivable):
    """Something was recorded in the month while it was written; archive it again."""

    def __init__(self, month: Month) -> None:
        super().__init__(month, "something was recorded in it meanwhile; archive it again")


class ArchivedAlready(NotArchivable):
    """A file has the month, and yet there are events of it; restore the month, then archive it again."""

    def __init__(self, month: Month) -> None:
        super().__init__(month, "a file has it already; restore the month, then archive it again")


class Ended(NamedTuple):
    """How the executions of a month ended: how many by the topic of their last event."""

    outcomes: Mapping[str, int]

    @property
    def executions(self) -> int:
        """How many there are."""
        return sum(self.outcomes.values())


def alone(dsn: str) -> Connection:
    """A connection that holds the right to archive and restore for as long as it is open.

    `dsn` must reach Postgres directly. Raises `ArchivingRunning` and `psycopg.Error`.
    """
    connection = psycopg.connect(with_liveness(dsn), autocommit=True)
    if connection.execute(statement("take_archiving")).fetchone() != (True,):
        connection.close()
        raise ArchivingRunning
    return connection


def months_before(connection: Connection, end: datetime) -> Iterator[Month]:
    """Months of which the log holds executions and that end at an instant or earlier, the oldest first."""
    start = first_execution_due_at(Month(1970, 1).start)
    while found := connection.execute(statement("next_execution"), {"from": start}).fetchone():
        month = Month.of(due_at_of(found[0]))
        if month.next.start > end:
            return
        yield month
        start = month.end_of_executions


def archive_month(
    connection: Connection,
    storage: Storage,
    month: Month,
    projections: Sequence[str],
    stopped: Callable[[], bool] = lambda: False,
) -> Archive:
    """Write a month's executions to a file, verify that, and take them out of the log.

    Killed anywhere, nothing is lost: until the file is whole the log is as it was, and the rows and the line
    of the catalogue change in one commit. `projections` are the read models that must have seen them;
    `stopped` is asked every some thousand rows. Raises `NotArchivable`, `Stopped`, `StorageUnusable`,
    `Damaged` and `psycopg.Error`.
    """
    written, head = _write(connection, storage, month, projections, stopped)
    with connection.transaction():
        if connection.execute(statement("put_archive"), written).rowcount != 1:
            raise ArchivedAlready(month)
        if _remove(connection, month, stopped) != written["events"]:
            raise RecordedMeanwhile(month)
        head = _nothing_since(connection, month, head)
        # All but the last moment is looked through by now: nobody who appends waits for it.
        connection.execute(statement("await_appends"))
        _nothing_since(connection, month, head)
    return next(archive for archive in archives_in(connection) if archive.month == month)


def make_room(connection: Connection) -> None:
    """Let new events have the room of those that were removed; as gently as autovacuum does."""
    connection.execute("SET vacuum_cost_delay = 2")
    connection.execute(statement("make_room"))


def _write(
    connection: Connection,
    storage: Storage,
    month: Month,
    projections: Sequence[str],
    stopped: Callable[[], bool],
) -> tuple[dict[str, Any], int]:
    """What the catalogue is to say of the file that is kept now, and where the log ended by then."""
    connection.isolation_level = IsolationLevel.REPEATABLE_READ
    try:
        with connection.transaction(), storage.writing() as (sink, keep):
            ended, head = _checked(connection, month, projections)
            writer = Writer(sink, month)
            for event in _streamed(connection, "month_events", month, stopped):
                writer.add(Event(*event))
            for entry in _streamed(connection, "month_index", month, stopped):
                writer.index(Entry(*entry))
            manifest = writer.finish(ended.executions, ended.outcomes)
            name = f"{month}.{writer.sha256[:8]}{_SUFFIX}"
            keep(name)
    finally:
        connection.isolation_level = None
    file = ArchiveFile(name, storage.open(name))
    file.verify(writer.sha256)
    return {
        "month": first_day(month),
        "name": name,
        "size": writer.size,
        "sha256": writer.sha256,
        "manifest_sha256": file.manifest_sha256,
        "events": manifest.events,
        "executions": manifest.executions,
        "first_stream": month.first_execution,
        "end_stream": month.end_of_executions,
        "first_position": manifest.first_position,
        "last_position": manifest.last_position,
    }, head


def _checked(connection: Connection, month: Month, projections: Sequence[str]) -> tuple[Ended, int]:
    """How its executions ended, and where the log ends. Raises `NotArchivable`."""
    ended = connection.execute(statement("how_executions_ended"), _bounds(month)).fetchall()
    for topic, count, one in ended:
        if topic not in OVER:
            raise NotArchivable(
                month, f"{count:,} of its executions are not over, such as {one}; see to them"
            )
    asked = {**_bounds(month), "projections": list(projections)}
    _, last, head, projected, parked, sealed, of_tasks = _row(connection, "where_events_lie", asked)
    if last is None:
        raise NotArchivable(month, "there is nothing of it")
    if last == head:
        raise NotArchivable(
            month, "it holds the newest event there is; archive it when something has followed"
        )
    if projected < last:
        raise NotArchivable(month, "the read models have not seen all of it yet; let a projector run")
    if parked:
        raise NotArchivable(month, f"{parked:,} of its events are parked; replay them first")
    if of_tasks:
        # Where tasks have their next run is read from there.
        raise NotArchivable(
            month, f"{of_tasks:,} events of the read model tasks are parked; replay them first"
        )
    count, first = _row(connection, "tasks_standing_before", {"instant": month.next.start})
    if count:
        raise NotArchivable(
            month,
            f"{count:,} tasks have their next run in it or before, such as {first}; resume or cancel them",
        )
    if sealed is None:
        raise NotArchivable(month, "it is not sealed; let a projector run that has the key of AUDIT_KEY_FILE")
    if sealed < last:
        raise NotArchivable(
            month,
            f"it goes up to position {last:,}, and the log is sealed up to {sealed:,}; let a projector that "
            "has the key of AUDIT_KEY_FILE seal it",
        )
    return Ended({topic: count for topic, count, _ in ended}), head


def _streamed(
    connection: Connection, name: str, month: Month, stopped: Callable[[], bool]
) -> Iterator[tuple[Any, ...]]:
    with connection.cursor("month", binary=True) as cursor:
        cursor.execute(statement(name), _bounds(month))
        while rows := cursor.fetchmany(FETCHED_ROWS):
            _check(stopped)
            yield from rows


def _remove(connection: Connection, month: Month, stopped: Callable[[], bool]) -> int:
    """Of all that is visible by now; answers how many events it was."""
    removed = 0
    bounds = {**_bounds(month), "most": REMOVED_ROWS}
    while count := connection.execute(statement("remove_events"), bounds).rowcount:
        removed += count
        _check(stopped)
        # Without it each statement would begin by passing over all that is removed already.
        found = connection.execute(statement("next_execution"), {"from": bounds["first"]}).fetchone()
        bounds["first"] = found[0] if found else bounds["end"]
    return removed


def _check(stopped: Callable[[], bool]) -> None:
    if stopped():
        raise Stopped


def _nothing_since(connection: Connection, month: Month, position: int) -> int:
    """Up to where nothing was recorded in the month after a position. Raises `RecordedMeanwhile`."""
    found, head = _row(connection, "recorded_since", {**_bounds(month), "position": position})
    if found:
        raise RecordedMeanwhile(month)
    return int(head)


def _row(connection: Connection, name: str, parameters: Mapping[str, Any]) -> tuple[Any, ...]:
    row = connection.execute(statement(name), parameters).fetchone()
    assert row is not None, "it has one row"
    return row


def _bounds(month: Month) -> dict[str, Any]:
    return {"first": month.first_execution, "end": month.end_of_executions}


_TYPES = ("int8", "uuid", "int8", "text", "bytea", "timestamptz")


class NoSuchArchive(Exception):
    """The month was never archived."""

    def __init__(self, month: Month) -> None:
        super().__init__(f"{month} was never archived; `chronoledger archive list` shows what was")


def restore_month(connection: Connection, catalog: Catalog, month: Month) -> Archive:
    """Put a month's events back; the file stays, as a copy. Nothing happens when they are there already.

    All of it in one commit, so that who reads meanwhile finds each event either there or in the file.
    Raises `NoSuchArchive`, `ArchiveAway` and `psycopg.Error`.
    """
    archive = archive_of(connection, month)
    if not archive.away:
        return archive
    catalog.ask(archive, lambda file: file.verify(archive.sha256))
    with connection.transaction():
        with connection.cursor() as cursor, cursor.copy(statement("restore_events")) as copy:
            copy.set_types(_TYPES)
            for event in catalog.ask(archive, lambda file: file.events()):
                copy.write_row(event)
        connection.execute(statement("mark_restored"), {"month": first_day(month)})
    return archive_of(connection, month)


def archive_of(connection: Connection, month: Month) -> Archive:
    """What the catalogue says of a month. Raises `NoSuchArchive`."""
    for archive in archives_in(connection):
        if archive.month == month:
            return archive
    raise NoSuchArchive(month)


LOOK_SECONDS = 3_600.0
_FAILURES = (
    *(psycopg.Error, OSError),
    *(ArchiveAway, ArchivingRunning, Damaged, StorageUnset, StorageUnusable),
)

log = structlog.get_logger(__name__)


class Retention:
    """Archives each month that has been over for `days`, as long as `owns` says that it is this one's turn.

    A month that was restored stays until somebody archives it: it is there because it is wanted.
    `dsn` must reach Postgres directly.
    """

    def __init__(
        self, dsn: str, storage: Storage, days: int, projections: Sequence[str], owns: Callable[[], bool]
    ) -> None:
        self._dsn = dsn
        self._storage = storage
        self._age = timedelta(days=days)
        self._projections = projections
        self._owns = owns

    async def run(self, look_seconds: float = LOOK_SECONDS) -> None:
        """Once a day, for ever; what failed is tried again at the next look."""
        done: date | None = None
        while True:
            await asyncio.sleep(look_seconds)
            now = datetime.now(UTC)
            if self._owns() and done != now.date() and await self.once(now):
                done = now.date()

    async def once(self, now: datetime) -> bool:
        """Archive what is old enough at an instant; whether that could be told of every month."""
        stopping = threading.Event()
        # On a thread, for it writes files; told to stop, it does so after some thousand rows.
        work = asyncio.ensure_future(asyncio.to_thread(self._archive, now - self._age, stopping.is_set))
        try:
            failure = await asyncio.shield(work)
        except asyncio.CancelledError:
            stopping.set()
            with contextlib.suppress(Stopped):
                await work
            raise
        if failure is not None:
            log.error("archiving failed", error=failure)
        return failure is None

    def _archive(self, end: datetime, stopped: Callable[[], bool]) -> str | None:
        """What went wrong, if anything did."""
        try:
            with alone(self._dsn) as connection:
                wanted = {archive.month for archive in archives_in(connection) if not archive.away}
                months = [month for month in months_before(connection, end) if month not in wanted]
                moved = [month for month in months if self._moved(connection, month, stopped)]
                if moved:
                    make_room(connection)
        except _FAILURES as error:
            return first_line(error)
        return None

    def _moved(self, connection: Connection, month: Month, stopped: Callable[[], bool]) -> bool:
        try:
            done = archive_month(connection, self._storage, month, self._projections, stopped)
        except NotArchivable as error:
            log.warning("a month is not archived", error=str(error))
            return False
        log.info("month archived", month=str(month), events=done.events, archive=done.name)
        return True
