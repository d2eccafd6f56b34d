"""One projector at a time: the others stand by."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from infrastructure.database import with_liveness
from infrastructure.event_store.news import LOOK_SECONDS, ListeningConnection
from infrastructure.projector.statements import statement

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from psycopg import AsyncConnection

_LISTEN = b"LISTEN events"
_STANDBY_SECONDS = 0.5
_POLL_SECONDS = LOOK_SECONDS


class Session:
    """The connection that holds the lock and hears of new events."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def news(self) -> None:
        """Return on the next notification, or after a second for one that got lost.

        Raises `psycopg.OperationalError` when the connection, and with it the lock, is lost.
        """
        async for _ in self._connection.notifies(timeout=_POLL_SECONDS, stop_after=1):
            pass


@asynccontextmanager
async def owned(dsn: str) -> AsyncIterator[Session]:
    """Wait until no other process projects into this database, and be the one that does.

    `dsn` must reach Postgres directly: a transaction-pooling proxy keeps neither locks nor LISTEN.
    """
    async with await ListeningConnection.connect(with_liveness(dsn), autocommit=True) as connection:
        # Not by waiting inside Postgres: that would not notice a server that vanished.
        while not await _taken(connection):  # noqa: ASYNC110
            await asyncio.sleep(_STANDBY_SECONDS)
        await connection.execute(_LISTEN)
        yield Session(connection)


async def _taken(connection: AsyncConnection) -> bool:
    cursor = await connection.execute(statement("take_ownership"))
    row = await cursor.fetchone()
    return row is not None and bool(row[0])
