"""Archives of past months: where they are kept, and the jobs around them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psycopg

from infrastructure.archive.archiving import NotArchivable, alone, archive_month, make_room, months_before
from infrastructure.archive.bucket import Bucket
from infrastructure.archive.catalogue import archives_in
from infrastructure.archive.library import Library
from infrastructure.archive.places import Folder, Nowhere, PlaceUnset
from infrastructure.archive.restoring import archive_of, restore_month
from infrastructure.archive.retention import Retention
from infrastructure.database import with_liveness
from projections.catalogue import NAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from datetime import datetime

    from domain.months import Month
    from infrastructure.archive.catalogue import Archive
    from infrastructure.archive.places import Place
    from infrastructure.settings import Settings


class Kept(NamedTuple):
    """A month that could not be archived, and the sentence that says why."""

    month: Month
    reason: str


def library(settings: Settings) -> Library:
    """The archives that ARCHIVE_DIR holds. Raises `PlaceUnusable`."""
    return Library(_place(settings))


def _place(settings: Settings) -> Place:
    where = settings.archive_dir
    if where is None:
        return Nowhere()
    return Bucket(where) if where.startswith("s3://") else Folder(Path(where))


def retention(settings: Settings, owns: Callable[[], bool]) -> Retention:
    """What archives by itself what is older than RETENTION_DAYS, where it is this process's turn."""
    dsn, place = with_liveness(settings.direct_dsn()), _place(settings)
    return Retention(dsn, place, settings.retention_days, NAMES, owns)


def archive_before(settings: Settings, end: datetime) -> Iterator[Archive | Kept]:
    """Archive every month that ends at an instant or earlier; one that has to stay does not keep the others.

    Raises `PlaceUnset`, `ArchivingRunning`, `PlaceUnusable` and `Damaged`.
    """
    if settings.archive_dir is None:
        raise PlaceUnset
    place = _place(settings)
    with alone(settings.direct_dsn()) as connection:
        moved = False
        for month in list(months_before(connection, end)):
            try:
                yield archive_month(connection, place, month, NAMES)
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
    library(settings).ask(archive, lambda file: file.verify(archive.sha256))


def restore_archive(settings: Settings, month: Month) -> Archive:
    """Put a month back into the log. Raises `NoSuchArchive`, `ArchivingRunning` and `ArchiveAway`."""
    with alone(settings.direct_dsn()) as connection:
        return restore_month(connection, library(settings), month)
