"""Export and replay of a log, and its archives, with the settings of this installation."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import psycopg
from psycopg.conninfo import conninfo_to_dict

from application.past import NotYet
from domain.identity import Month
from infrastructure.archive.archiving import (
    NotArchivable,
    Retention,
    alone,
    archive_month,
    archive_of,
    make_room,
    months_before,
    restore_month,
)
from infrastructure.archive.catalog import Archive, ArchiveReader, Catalog, archives_in
from infrastructure.archive.storage import Bucket, Folder, NoStorage, Storage, StorageUnset
from infrastructure.past.reader import PostgresPast
from infrastructure.postgres import pool, with_liveness
from infrastructure.settings import Settings, with_database
from infrastructure.transfer.database import Progress
from infrastructure.transfer.export import export_events as export_to
from infrastructure.transfer.format import Manifest, Selection
from infrastructure.transfer.replay import Copied
from infrastructure.transfer.replay import replay_events as replay_to
from projections import NAMES


class Kept(NamedTuple):
    """A month that could not be archived, and the sentence that says why."""

    month: Month
    reason: str


def catalog(settings: Settings) -> Catalog:
    """The archives that ARCHIVE_DIR holds. Raises `StorageUnusable`."""
    return Catalog(_storage(settings))


def _storage(settings: Settings) -> Storage:
    where = settings.archive_dir
    if where is None:
        return NoStorage()
    return Bucket(where) if where.startswith("s3://") else Folder(Path(where))


def retention(settings: Settings, owns: Callable[[], bool]) -> Retention:
    """What archives by itself what is older than RETENTION_DAYS, where it is this process's turn."""
    dsn, storage = with_liveness(settings.direct_dsn()), _storage(settings)
    return Retention(dsn, storage, settings.retention_days, NAMES, owns)


def archive_before(settings: Settings, end: datetime) -> Iterator[Archive | Kept]:
    """Archive every month that ends at an instant or earlier; one that has to stay does not keep the others.

    Raises `StorageUnset`, `ArchivingRunning`, `StorageUnusable` and `Damaged`.
    """
    if settings.archive_dir is None:
        raise StorageUnset
    storage = _storage(settings)
    with alone(settings.direct_dsn()) as connection:
        moved = False
        for month in list(months_before(connection, end)):
            try:
                yield archive_month(connection, storage, month, NAMES)
                moved = True
            except NotArchivable as error:
                yield Kept(month, str(error))
        if moved:
            make_room(connection)


def list_archives(settings: Settings, months: Collection[Month] = ()) -> Sequence[Archive]:
    """These months, or every one that was ever archived, the oldest first. Raises `NoSuchArchive`."""
    with psycopg.connect(with_liveness(settings.direct_dsn()), autocommit=True) as connection:
        if months:
            return [archive_of(connection, month) for month in sorted(months)]
        return archives_in(connection)


def verify_archive(settings: Settings, archive: Archive) -> None:
    """Read a file and compare it with all that is known of it. Raises `ArchiveAway`."""
    catalog(settings).ask(archive, lambda file: file.verify(archive.sha256))


def restore_archive(settings: Settings, month: Month) -> Archive:
    """Put a month back into the log. Raises `NoSuchArchive`, `ArchivingRunning` and `ArchiveAway`."""
    with alone(settings.direct_dsn()) as connection:
        return restore_month(connection, catalog(settings), month)


type LogPlace = int | datetime
"""A position of the log, or an instant by the database's clock."""

_JUST_BEFORE = timedelta(microseconds=1)


class NotRecordedYet(Exception):
    """What is asked for lies beyond the end of the log; ask for an earlier storage."""

    def __init__(self, place: LogPlace, why: str) -> None:
        wanted = place if isinstance(place, int) else place.isoformat()
        super().__init__(f"{wanted} lies in the future, for {why}: give an earlier one")


async def selection(
    settings: Settings,
    namespace: str | None,
    task_id: UUID | None,
    first: LogPlace | None,
    last: LogPlace | None,
) -> Selection:
    """Which events are meant, by their positions. Raises `NotRecordedYet`."""
    return Selection(
        namespace=namespace,
        task_id=task_id,
        first=None if first is None else await _first(settings, first),
        last=None if last is None else await position_of(settings, last),
    )


async def position_of(settings: Settings, place: LogPlace) -> int:
    """The last position at a place of the log: at an instant, that recorded last by then.

    Raises `NotRecordedYet`.
    """
    async with pool(with_liveness(settings.dsn()), 1) as connections:
        past = PostgresPast(connections, ArchiveReader(connections, catalog(settings)))
        try:
            moment = await (past.after(place) if isinstance(place, int) else past.at(place))
        except NotYet as error:
            raise NotRecordedYet(place, str(error)) from None
    return moment.position


class NoConnectionString(Exception):
    """What names a database cannot be read; give a Postgres connection string."""

    def __init__(self) -> None:
        super().__init__(
            "the database to replay to is named by no connection string: give one such as "
            "postgresql://user@host/name, with @, /, : and % of a name or a password as %40, %2F, %3A and %25"
        )


def elsewhere(settings: Settings, dsn: str) -> Settings:
    """The same settings on another database. Raises `NoConnectionString`."""
    try:
        conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:  # what it says may hold a part of the password
        raise NoConnectionString from None
    return with_database(settings, dsn, "--to")


def export_events(
    settings: Settings, path: Path, selection: Selection, report: Progress, went_on: Callable[[int], object]
) -> Manifest:
    """Write the selected events to a file, archived or not; `went_on` hears of an export that was begun.

    Raises `TransferRefused` and `ArchiveAway`.
    """
    return export_to(settings.direct_dsn(), path, selection, report, catalog(settings), went_on)


def replay_events(settings: Settings, target: Settings, until: int, report: Progress) -> Copied:
    """Copy the events up to a position to another database. Raises `TransferRefused` and `ArchiveAway`."""
    return replay_to(settings.direct_dsn(), target.direct_dsn(), until, report, catalog(settings))


async def _first(settings: Settings, place: LogPlace) -> int:
    if isinstance(place, int):
        return await position_of(settings, place)
    with contextlib.suppress(OverflowError):  # nothing was recorded at the first instant that there is
        place -= _JUST_BEFORE
    return await position_of(settings, place) + 1
