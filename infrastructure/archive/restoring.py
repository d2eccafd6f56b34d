"""Putting an archived month back into the log, at its old places."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infrastructure.archive.catalogue import archives_in, first_day
from infrastructure.sql import statements

if TYPE_CHECKING:
    from psycopg import Connection

    from domain.months import Month
    from infrastructure.archive.catalogue import Archive
    from infrastructure.archive.library import Library

statement = statements("infrastructure.archive")

_TYPES = ("int8", "uuid", "int8", "text", "bytea", "timestamptz")


class NoSuchArchive(Exception):
    """The month was never archived."""

    def __init__(self, month: Month) -> None:
        super().__init__(f"{month} was never archived; `chronoledger archive list` shows what was")


def restore_month(connection: Connection, library: Library, month: Month) -> Archive:
    """Put a month's events back; the file stays, as a copy. Nothing happens when they are there already.

    All of it in one commit, so that who reads meanwhile finds each event either there or in the file.
    Raises `NoSuchArchive`, `ArchiveAway` and `psycopg.Error`.
    """
    archive = archive_of(connection, month)
    if not archive.away:
        return archive
    library.ask(archive, lambda file: file.verify(archive.sha256))
    with connection.transaction():
        with connection.cursor() as cursor, cursor.copy(statement("restore_events")) as copy:
            copy.set_types(_TYPES)
            for event in library.ask(archive, lambda file: file.events()):
                copy.write_row(event)
        connection.execute(statement("mark_restored"), {"month": first_day(month)})
    return archive_of(connection, month)


def archive_of(connection: Connection, month: Month) -> Archive:
    """What the catalogue says of a month. Raises `NoSuchArchive`."""
    for archive in archives_in(connection):
        if archive.month == month:
            return archive
    raise NoSuchArchive(month)
