"""Following the log: every event after a position, in order, soon after it is committed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog
from psycopg import AsyncConnection

from infrastructure.event_store.log import LogRewound, head, read_after
from infrastructure.event_store.outage import AWAY, first_line

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from application.ports import Recorded

LISTEN = "LISTEN events"
BATCH = 1_000
POLL_SECONDS = 0.25
BACKOFF_SECONDS = 0.5
ANSWER_SECONDS = 10.0

log = structlog.get_logger(__name__)


class PostgresFollower:
    """Reads on a notification, and every 250 ms for the one that got lost.

    `dsn` must reach Postgres directly: a transaction-pooling proxy never delivers notifications.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    async def follow(self, position: int) -> AsyncIterator[Sequence[Recorded]]:
        """See `application.ports.Follower`. An empty batch says that all is read, once after each wait.

        Raises `LogRewound` when the log no longer holds what was read of it.
        """
        away, last = False, None
        while True:
            try:
                # The first read comes after LISTEN, so nothing can be committed unseen between the two.
                async with await _listening(self._dsn) as connection:
                    await _check_place(connection, position, last)
                    while True:
                        async with asyncio.timeout(ANSWER_SECONDS):
                            batch = await read_after(connection, position, BATCH)
                        away = False
                        yield batch
                        if batch:
                            last = batch[-1]
                            position = last.position
                        if len(batch) < BATCH:
                            await _notified(connection)
            except AWAY as error:
                if not away:
                    away = True
                    log.warning("follower lost the database", error=first_line(error))
                await asyncio.sleep(BACKOFF_SECONDS)


async def _listening(dsn: str) -> AsyncConnection:
    async with asyncio.timeout(ANSWER_SECONDS):
        connection = await AsyncConnection.connect(dsn, autocommit=True)
        try:
            await connection.execute(LISTEN)
        except BaseException:
            await connection.close()
            raise
    return connection


async def _check_place(connection: AsyncConnection, position: int, last: Recorded | None) -> None:
    """What was read up to `position`, with `last` at its end, must still be the log's past."""
    async with asyncio.timeout(ANSWER_SECONDS):
        ends_at = await head(connection)
        if ends_at < position or (last and list(await read_after(connection, position - 1, 1)) != [last]):
            raise LogRewound(ends_at, position)


async def _notified(connection: AsyncConnection) -> None:
    async for _ in connection.notifies(timeout=POLL_SECONDS, stop_after=1):
        pass
