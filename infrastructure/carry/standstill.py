"""Keeping schedulers away from a log that is not theirs to go on with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infrastructure.carry.database import connected
from infrastructure.carry.statements import statement

if TYPE_CHECKING:
    from psycopg import Connection

IMPORTING = (
    "an import into this database has not ended: run `chronoledger import` with the same file again, "
    "which goes on with it"
)
REPLAYED = (
    "this database holds the state of an earlier moment, replayed: what was due then, and what has been "
    "called since, would be called now. Look at it with `chronoledger api`; if it is to go on from there, "
    "`chronoledger replay --release` on it lets schedulers begin"
)


class StandsStill(Exception):
    """Schedulers must not begin on this database; the message says why, and what would let them."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"No scheduler begins here: {reason}.")


def mark(connection: Connection, reason: str) -> None:
    """Have schedulers refuse to begin, until `release`."""
    with connection.transaction():
        connection.execute(statement("begin_standstill"))
        connection.execute(statement("mark_standstill"), {"reason": reason})


def marked(connection: Connection) -> str | None:
    """Why schedulers must not begin; None: they may."""
    if connection.execute(statement("standstill_there")).fetchone() != (True,):
        return None
    row = connection.execute(statement("standstill_reason")).fetchone()
    return None if row is None else str(row[0])


def release(connection: Connection, reason: str | None = None) -> None:
    """Let schedulers begin; with a `reason`, only if that is the one that they are kept away for."""
    if reason in {None, marked(connection)}:
        connection.execute(statement("end_standstill"))


def check_standstill(dsn: str) -> None:
    """Raises `StandsStill` and `psycopg.Error`."""
    with connected(dsn) as connection:
        if reason := marked(connection):
            raise StandsStill(reason)


def end_standstill(dsn: str) -> bool:
    """Let schedulers begin; whether they were kept away. Raises `psycopg.Error`."""
    with connected(dsn) as connection:
        found = marked(connection) is not None
        release(connection)
        return found
