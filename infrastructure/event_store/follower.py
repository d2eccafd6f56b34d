"""Following the log: every event after a position, in order, soon after it is committed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog
from psycopg import AsyncConnection

from infrastructure.event_store.log import LogRewound, head, read_after
from infrastructure.event_store.news import ListeningConnection, News
from infrastructure.event_store.outage import AWAY, first_line
from infrastructure.event_store.own import OwnEvents

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from application.ports import Recorded

LISTEN = "LISTEN events"
BATCH = 1_000
BACKOFF_SECONDS = 0.5
ANSWER_SECONDS = 10.0

log = structlog.get_logger(__name__)


class PostgresFollower:
    """Reads on a notification, and every second for the one that got lost (see `News`).

    `dsn` must reach Postgres directly: a transaction-pooling proxy never delivers notifications.
    """

    def __init__(self, dsn: str, own: OwnEvents | None = None) -> None:
        """`own` knows what this process has appended: it is told without being read."""
        self._dsn = dsn
        self._own = own or OwnEvents()

    async def follow(self, position: int) -> AsyncIterator[Sequence[Recorded]]:
        """See `application.ports.Follower`. An empty batch says that all is read, once after each wait.

        Raises `LogRewound` when the log no longer holds what was read of it.
        """
        away, last = False, None
        while True:
            try:
                # The first read comes after LISTEN, so nothing can be committed unseen between the two.
                async with await _listening(self._dsn) as connection:
                    self._own.forget()
                    await _check_place(connection, position, last)
                    news = News(connection, position)
                    while True:
                        own = self._own.take(position)
                        batch = own or await _read(connection, position)
                        away = False
                        yield batch
                        if batch:
                            last = batch[-1]
                            position = last.position
                        if own or len(batch) < BATCH:
                            await news.wait(position)
                            await self._own.answered()
            except AWAY as error:
                if not away:
                    away = True
                    log.warning("follower lost the database", error=first_line(error))
                await asyncio.sleep(BACKOFF_SECONDS)


async def _listening(dsn: str) -> AsyncConnection:
    async with asyncio.timeout(ANSWER_SECONDS):
        connection = await ListeningConnection.connect(dsn, autocommit=True)
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
        if ends_at < position or (last and not await _holds(connection, last)):
            raise LogRewound(ends_at, position)


async def _holds(connection: AsyncConnection, event: Recorded) -> bool:
    """No two appends have the same command, so more than that need not be compared."""
    found = await read_after(connection, event.position - 1, 1)
    return [_place(one) for one in found] == [_place(event)]


def _place(event: Recorded) -> tuple[object, ...]:
    return event.position, event.stream, event.version, event.meta


async def _read(connection: AsyncConnection, position: int) -> Sequence[Recorded]:
    async with asyncio.timeout(ANSWER_SECONDS):
        return await read_after(connection, position, BATCH)
