"""The databases of an export, an import or a replay, and the fence that keeps schedulers away from a copy."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence

import psycopg
from psycopg import Connection, OperationalError
from psycopg.errors import UndefinedTable
from psycopg_pool import AsyncConnectionPool

from infrastructure.archive.catalog import archives_in
from infrastructure.event_store.log import HEAD, Row
from infrastructure.migrator import services_beside
from infrastructure.postgres import with_liveness
from infrastructure.sql import statements
from infrastructure.transfer.errors import (
    StreamsCut,
    TargetArchived,
    TargetInUse,
    TargetIsSource,
    TransferRefused,
)

statement = statements("infrastructure.transfer")

type Progress = Callable[[str, int, int], None]
"""Called with the stage, the position reached, and the last position."""

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


_REST_SECONDS = 1.0

IMPORTING = (
    "an import into this database has not ended: run `chronoledger import` with the same file again, "
    "which goes on with it"
)
REPLAYING = (
    "a replay into this database has not ended: run `chronoledger replay` to the same moment again, which "
    "goes on with it"
)
_CALLED_AGAIN = (
    "what was due then, and what has been called since, would be called now. Look at it with "
    "`chronoledger api`; if it is to go on from there, `chronoledger replay --release` on it lets schedulers "
    "begin"
)
REPLAYED = f"this database holds the state of an earlier moment, replayed: {_CALLED_AGAIN}"
IMPORTED = (
    "this database holds a part of a log, or one on which no scheduler began, imported: " + _CALLED_AGAIN
)
_LASTING = frozenset({REPLAYED, IMPORTED})


class Fenced(Exception):
    """No scheduler may start on this database; the message says why, and what would let them."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"No scheduler begins here: {reason}.")


class NotReleased(TransferRefused):
    """Schedulers are not let begin on a log of which a part is missing; have what has not ended end first."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"Nothing is released: {reason}. Or empty the database by `chronoledger migrate --down`."
        )


def raise_fence(connection: Connection, reason: str) -> None:
    """Keep schedulers from starting until `lift_fence`; one that starts meanwhile is found, or finds it.

    Raises `TargetInUse`.
    """
    first = reason not in _fence_reasons(connection)
    _add_reason(connection, reason)
    try:
        check_unused(connection)
    except TargetInUse:
        if first:
            lift_fence(connection, reason)
        raise


def lift_fence(connection: Connection, reason: str, lasting: str | None = None) -> None:
    """Take back what `raise_fence` did, if it did; a `lasting` reason takes its place."""
    with connection.transaction():
        left = _fence_reasons(connection)
        if reason not in left:
            return
        if lasting is not None:
            _add_reason(connection, lasting)
        if lasting is not None or len(left) > 1:
            connection.execute(statement("remove_fence_reason"), {"reason": reason})
        else:
            connection.execute(statement("drop_fence"))


def fence_reason(connection: Connection) -> str | None:
    """Why schedulers must not begin, what has not ended first; None: they may."""
    return _first(_fence_reasons(connection))


def holds_replay(connection: Connection) -> bool:
    """Whether a replay ended in this database, or was begun and nothing else."""
    reasons = _fence_reasons(connection)
    return bool(reasons) and reasons <= {REPLAYED, REPLAYING}


def check_fence(dsn: str) -> None:
    """Raises `Fenced` and `psycopg.Error`."""
    with connected(dsn) as connection:
        if reason := fence_reason(connection):
            raise Fenced(reason)


async def check_fence_once_connected(connections: AsyncConnectionPool) -> None:
    """Look by a connection that `raise_fence` can see, once there is one. Raises `Fenced`."""
    while True:
        try:
            async with connections.connection() as connection:
                there = await (await connection.execute(statement("fence_exists"))).fetchone()
                if there != (True,):
                    return
                reasons = await (await connection.execute(statement("fence_reasons"))).fetchall()
        except (OperationalError, UndefinedTable):  # away, or released in between
            await asyncio.sleep(_REST_SECONDS)
            continue
        if reason := _first({str(reason) for (reason,) in reasons}):
            raise Fenced(reason)
        return


def remove_fence(dsn: str) -> bool:
    """Let schedulers begin; whether they were kept away. Raises `NotReleased` and `psycopg.Error`."""
    with connected(dsn) as connection:
        reason = fence_reason(connection)
        if reason is not None and reason not in _LASTING:
            raise NotReleased(reason)
        for each in _LASTING:
            lift_fence(connection, each)
        return reason is not None


def _first(reasons: set[str]) -> str | None:
    return min(reasons, key=_LASTING.__contains__, default=None)


def _fence_reasons(connection: Connection) -> set[str]:
    if connection.execute(statement("fence_exists")).fetchone() != (True,):
        return set()
    return {str(reason) for (reason,) in connection.execute(statement("fence_reasons"))}


def _add_reason(connection: Connection, reason: str) -> None:
    with connection.transaction():
        connection.execute(statement("create_fence"))
        connection.execute(statement("add_fence_reason"), {"reason": reason})
