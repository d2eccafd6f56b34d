"""Following the log: every event after a position, in order, soon after it is committed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import structlog
from psycopg import AsyncConnection
from psycopg.abc import PQGen

from application.ports import Recorded
from infrastructure.event_store.appender import OwnEvents
from infrastructure.event_store.log import LogRewound, head, read_after
from infrastructure.postgres import AWAY, first_line

# A look finds what a lost notification has not told of. It is rarely worth its price: an idle service does
# little else. Where one did get lost, as behind a proxy that delivers none, looks have to do the work.
LOOK_SECONDS = 1.0
DOUBTFUL_LOOK_SECONDS = 0.25
# psycopg wakes ten times a second to hear of Ctrl-C, which an event loop hears of by itself.
_INTERVAL_SECONDS = 3_600.0


class ListeningConnection(AsyncConnection):
    """A connection that sleeps while it waits for notifications."""

    async def wait[T](self, gen: PQGen[T], *args: Any, **named: Any) -> T:
        """See `AsyncConnection.wait`."""
        return await super().wait(gen, *args, **{"interval": _INTERVAL_SECONDS, **named})


class News:
    """Says when it is time to read on: on a notification, and a second after the last look.

    Once a look has found what no notification told of, looks come every 250 ms until one is heard again.
    """

    def __init__(self, connection: AsyncConnection, position: int) -> None:
        """The connection listens already, and is used by nobody else while this waits."""
        self._connection = connection
        self._position = self._heard = position
        self._told = True
        self._trusted = True

    async def wait(self, position: int) -> None:
        """Return when there may be events after `position`, up to which all has been read.

        A notification tells up to where there are some. Raises `psycopg.OperationalError` when the connection
        is lost.
        """
        found, self._position = position > self._position, position
        if found and not self._told:
            self._trusted = False
        self._told = self._heard > position or await self._told_of_more()

    async def _told_of_more(self) -> bool:
        now = asyncio.get_running_loop().time
        until = now() + self._look_seconds()
        while self._heard <= self._position:
            # All that came in one packet: psycopg forgets what is not taken of it.
            heard = self._connection.notifies(timeout=max(0.0, until - now()), stop_after=1)
            told = [notification.payload async for notification in heard]
            if not told:
                return False
            self._trusted = True
            self._heard = max(self._heard, *(int(payload) for payload in told if payload.isdigit()), 0)
            if not all(payload.isdigit() for payload in told):
                return True  # earlier releases say only that there may be some: that is worth one look
        return True

    def _look_seconds(self) -> float:
        return LOOK_SECONDS if self._trusted else DOUBTFUL_LOOK_SECONDS


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
