"""How to tell an outage of the database from a mistake of ours."""

from __future__ import annotations

import psycopg

# The database is away or cannot write now. A missing table or function means that somebody migrates: it comes
# back.
AWAY = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.ReadOnlySqlTransaction,
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedFunction,
    OSError,
    TimeoutError,
)
# Operational by their class, but about the statement: it would fail for ever.
TOO_LARGE = (psycopg.errors.ProgramLimitExceeded, psycopg.errors.StatementTooComplex)


def first_line(error: BaseException) -> str:
    """What to log of an error: the driver's messages go on with hints and positions."""
    return str(error).partition("\n")[0] or type(error).__name__
