"""Keeping schedulers away from a log that is not theirs to go on with."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from psycopg import OperationalError
from psycopg.errors import UndefinedTable

from infrastructure.carry.database import check_unused, connected
from infrastructure.carry.errors import CarryRefused, TargetInUse
from infrastructure.sql import statements

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg_pool import AsyncConnectionPool

statement = statements("infrastructure.carry")

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


class StandsStill(Exception):
    """Schedulers must not begin on this database; the message says why, and what would let them."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"No scheduler begins here: {reason}.")


class NotReleased(CarryRefused):
    """Schedulers are not let begin on a log of which a part is missing; have what has not ended end first."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"Nothing is released: {reason}. Or empty the database by `chronoledger migrate --down`."
        )


def begin(connection: Connection, reason: str) -> None:
    """Have schedulers refuse to begin, until `end`; one that begins at the same time is found or finds it.

    Raises `TargetInUse`.
    """
    first = reason not in _marks(connection)
    _mark(connection, reason)
    try:
        check_unused(connection)
    except TargetInUse:
        if first:
            end(connection, reason)
        raise


def end(connection: Connection, reason: str, lasting: str | None = None) -> None:
    """Take back what `begin` did, if it did; for a `lasting` reason schedulers are kept away all the same."""
    with connection.transaction():
        left = _marks(connection)
        if reason not in left:
            return
        if lasting is not None:
            _mark(connection, lasting)
        if lasting is not None or len(left) > 1:
            connection.execute(statement("unmark_standstill"), {"reason": reason})
        else:
            connection.execute(statement("end_standstill"))


def marked(connection: Connection) -> str | None:
    """Why schedulers must not begin, what has not ended first; None: they may."""
    return _first(_marks(connection))


def replayed(connection: Connection) -> bool:
    """Whether a replay ended in this database, or was begun and nothing else."""
    marks = _marks(connection)
    return bool(marks) and marks <= {REPLAYED, REPLAYING}


def check_standstill(dsn: str) -> None:
    """Raises `StandsStill` and `psycopg.Error`."""
    with connected(dsn) as connection:
        if reason := marked(connection):
            raise StandsStill(reason)


async def check_once_connected(connections: AsyncConnectionPool) -> None:
    """Look by a connection that `begin` can see, once there is one. Raises `StandsStill`."""
    while True:
        try:
            async with connections.connection() as connection:
                there = await (await connection.execute(statement("standstill_there"))).fetchone()
                if there != (True,):
                    return
                reasons = await (await connection.execute(statement("standstill_reasons"))).fetchall()
        except (OperationalError, UndefinedTable):  # away, or released in between
            await asyncio.sleep(_REST_SECONDS)
            continue
        if reason := _first({str(reason) for (reason,) in reasons}):
            raise StandsStill(reason)
        return


def end_standstill(dsn: str) -> bool:
    """Let schedulers begin; whether they were kept away. Raises `NotReleased` and `psycopg.Error`."""
    with connected(dsn) as connection:
        reason = marked(connection)
        if reason is not None and reason not in _LASTING:
            raise NotReleased(reason)
        for each in _LASTING:
            end(connection, each)
        return reason is not None


def _first(marks: set[str]) -> str | None:
    return min(marks, key=_LASTING.__contains__, default=None)


def _marks(connection: Connection) -> set[str]:
    if connection.execute(statement("standstill_there")).fetchone() != (True,):
        return set()
    return {str(reason) for (reason,) in connection.execute(statement("standstill_reasons"))}


def _mark(connection: Connection, reason: str) -> None:
    with connection.transaction():
        connection.execute(statement("begin_standstill"))
        connection.execute(statement("mark_standstill"), {"reason": reason})
