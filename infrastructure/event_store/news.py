"""Hearing of new events: by notifications, and by looking for what none has told of."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from psycopg import AsyncConnection

if TYPE_CHECKING:
    from psycopg.abc import PQGen

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
