"""The databases that a log is carried from and to; to one that nobody else writes to meanwhile."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import psycopg

from infrastructure.archive.catalogue import archives_in
from infrastructure.carry.errors import StreamsCut, TargetArchived, TargetInUse, TargetIsSource
from infrastructure.database import with_liveness
from infrastructure.event_store.log import HEAD
from infrastructure.migrator import services_beside
from infrastructure.sql import statements

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from psycopg import Connection

    from infrastructure.event_store.log import Row

statement = statements("infrastructure.carry")

type Told = Callable[[str, int, int], None]
"""Hears what is being done, how far that is, and how far it goes."""

_COLUMNS = ("uuid", "int8", "text", "bytea", "int8", "timestamptz")


@contextlib.contextmanager
def connected(dsn: str) -> Iterator[Connection]:
    """A connection that tells instants in UTC, and plans for a log that grows. Raises `psycopg.Error`."""
    with psycopg.connect(with_liveness(dsn), autocommit=True) as connection:
        connection.execute(statement("settle_session"))
        yield connection


@contextlib.contextmanager
def snapshot(connection: Connection) -> Iterator[None]:
    """A transaction that sees one state of the database."""
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    try:
        with connection.transaction():
            yield
    finally:
        connection.isolation_level = None


def head(connection: Connection) -> int:
    """The position of the newest event; 0 when there is none."""
    [(position,)] = connection.execute(HEAD).fetchall()
    return int(position)


def check_unused(connection: Connection) -> None:
    """Raises `TargetInUse`."""
    if services_beside(connection):
        raise TargetInUse("services are still connected to the database: stop them first")


def _check_elsewhere(connection: Connection, source: Connection) -> None:
    """Raises `TargetIsSource`."""
    [(pid, began)] = source.execute(statement("own_session")).fetchall()
    there = connection.execute(statement("session_there"), {"pid": pid, "began": began}).fetchone()
    if there == (True,):
        raise TargetIsSource


@contextlib.contextmanager
def held(dsn: str, source: Connection | None = None) -> Iterator[Connection]:
    """A connection to a database of which the log is its own until it ends.

    `source` leads to the log that is copied to it. `dsn` must reach Postgres directly. Raises `TargetInUse`,
    which `TargetIsSource` is, and `TargetArchived`.
    """
    with connected(dsn) as connection:
        if source is not None:
            _check_elsewhere(connection, source)
        check_unused(connection)
        if connection.execute(statement("take_log")).fetchone() != (True,):
            raise TargetInUse("somebody else writes to the log of the database: wait until that is done")
        if archives_in(connection):
            raise TargetArchived
        yield connection


def stored(connection: Connection) -> int:
    """How many events there are."""
    [(events,)] = connection.execute(statement("count_events")).fetchall()
    return int(events)


def append(connection: Connection, rows: Sequence[Row]) -> None:
    """Store events at their positions, all or none; who appends afterwards comes behind them.

    Each must be the first of its stream or follow the one before it. Raises `StreamsCut`.
    """
    first, last = rows[0][0], rows[-1][0]
    with connection.transaction(), connection.cursor() as cursor:
        with cursor.copy(statement("store_events")) as copy:
            copy.set_types(_COLUMNS)
            for position, stream, version, topic, state, recorded_at in rows:
                copy.write_row((stream, version, topic, state, position, recorded_at))
        bounds = {"first": first, "last": last}
        cut = cursor.execute(statement("events_without_predecessor"), bounds).fetchone()
        if cut is not None:
            raise StreamsCut(f"event {cut[0]} and perhaps others")
        cursor.execute(statement("go_on_behind"), bounds)
