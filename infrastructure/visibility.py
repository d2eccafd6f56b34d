"""How far the read models have come, told by the projector's notifications."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import psycopg
import structlog

from infrastructure.event_store.news import ListeningConnection, notified
from infrastructure.event_store.outage import first_line

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

LISTEN = "LISTEN projected"
POLL_SECONDS = 0.25
# While nobody waits nothing is read; who comes after a notification got lost waits this long at most.
CALM_POLL_SECONDS = 1.0
BACKOFF_SECONDS = 0.5

log = structlog.get_logger(__name__)


class Visibility:
    """Follows the least checkpoint of the read models; any number may wait for a position."""

    def __init__(self, dsn: str, checkpoint: Callable[[], Awaitable[int]]) -> None:
        """`dsn` must reach Postgres directly; `checkpoint` reads the least position of the read models."""
        self._dsn = dsn
        self._checkpoint = checkpoint
        self._position = -1
        self._away = False
        self._waiting: dict[asyncio.Future[None], int] = {}

    async def wait_for(self, position: int, timeout_seconds: float) -> bool:
        """Whether the read models passed a position of the log within the time given."""
        if position <= self._position:
            return True
        passed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[passed] = position
        try:
            async with asyncio.timeout(timeout_seconds):
                await passed
        except TimeoutError:
            return False
        finally:
            del self._waiting[passed]
        return True

    async def run(self) -> None:
        """Follow for ever, through outages."""
        while True:
            try:
                await self._follow()
            except (psycopg.Error, OSError) as error:
                if not self._away:
                    self._away = True
                    log.warning("lost the projector's notifications", error=first_line(error))
                await asyncio.sleep(BACKOFF_SECONDS)

    async def _follow(self) -> None:
        async with await ListeningConnection.connect(self._dsn, autocommit=True) as connection:
            await connection.execute(LISTEN)
            while True:
                # The notification names one projection's position; what counts is the least of all.
                self._passed(await self._checkpoint())
                self._away = False
                while not await notified(connection, self._poll_seconds()) and not self._waiting:
                    pass

    def _poll_seconds(self) -> float:
        return POLL_SECONDS if self._waiting else CALM_POLL_SECONDS

    def _passed(self, position: int) -> None:
        self._position = position
        for passed, wanted in self._waiting.items():
            if wanted <= position and not passed.done():
                passed.set_result(None)
