"""Connections to Postgres: how long to wait for one, and how soon a dead one is noticed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import select
import socket
from typing import Any, Literal

import psycopg
from psycopg import AsyncConnection
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import AsyncConnectionPool

POOL_WAIT_SECONDS = 3.0
# A server that hangs keeps its connections open and acknowledges what it is sent: only time tells.
ANSWER_SECONDS = 10.0

# A peer that vanished without a word is noticed within about ten seconds.
_LIVENESS: dict[str, str | int] = {
    "connect_timeout": 3,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "application_name": "chronoledger",
}


def with_liveness(dsn: str) -> str:
    """The conninfo with timeouts, unless it names its own."""
    given = conninfo_to_dict(dsn)
    return make_conninfo(dsn, **{key: value for key, value in _LIVENESS.items() if key not in given})


class WatchedConnection(AsyncConnection):
    """Lost, as if the server had closed it, once the server says nothing for ten seconds."""

    async def wait[T](self, gen: PQGen[T], *args: Any, **named: Any) -> T:
        """See `AsyncConnection.wait`."""
        watchdog = asyncio.get_running_loop().call_later(ANSWER_SECONDS, self._hang_up)
        try:
            return await super().wait(gen, *args, **named)
        finally:
            watchdog.cancel()

    def _hang_up(self) -> None:
        # Not `close`, which would pull the descriptor away under the one who waits on it.
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)


async def check(connection: AsyncConnection) -> None:
    """Raise `OperationalError` when a connection that lay in the pool has been closed meanwhile.

    The server is asked only where something lies unread, as the end of a closed connection does: asking each
    time would double the round trips of what reads one row.
    """
    line = select.poll()
    line.register(connection.fileno(), select.POLLIN)
    if line.poll(0):
        await AsyncConnectionPool.check_connection(connection)


def pool(dsn: str, max_connections: int) -> AsyncConnectionPool:
    """A closed pool: open it with `async with`; it comes up even while the database is away."""
    return AsyncConnectionPool(
        dsn,
        connection_class=WatchedConnection,
        min_size=1,
        max_size=max_connections,
        timeout=POOL_WAIT_SECONDS,
        # The pool doubles the time between its attempts until it gives up: soon, so that the first request
        # after an outage dials at once.
        reconnect_timeout=POOL_WAIT_SECONDS,
        kwargs={"autocommit": True},
        open=False,
        check=check,
    )


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


type Refusal = Literal["password", "role", "database"]

_BY_STATE: dict[str | None, Refusal] = {"28P01": "password", "28000": "role", "3D000": "database"}
# libpq hands on the server's words for a refused connection, and not their SQLSTATE. PgBouncer has its own.
_BY_WORDS: tuple[tuple[re.Pattern[str], Refusal], ...] = (
    (re.compile(r"password authentication failed|no password supplied"), "password"),
    (re.compile(r'database ".*" does not exist|no such database'), "database"),
    (re.compile(r'role ".*" (does not exist|is not permitted to log in)|no such user'), "role"),
    (re.compile(r"(Peer|Ident) authentication failed|no pg_hba\.conf entry|pg_hba\.conf rejects"), "role"),
)


def refusal(error: BaseException) -> Refusal | None:
    """What the server has against the one who connects; None when it is away, or says something else.

    A server that speaks another language than English is not understood.
    """
    if isinstance(error, psycopg.Error) and error.sqlstate in _BY_STATE:
        return _BY_STATE[error.sqlstate]
    if not isinstance(error, psycopg.OperationalError):
        return None
    found = (kind for words, kind in _BY_WORDS if words.search(str(error)))
    return next(found, None)
