"""How far the read models have come, told by the projector's notifications."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import psycopg
import structlog
from psycopg import AsyncConnection

from infrastructure.event_store.follower import ListeningConnection
from infrastructure.postgres import first_line

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
        self._waiting: dict[asyncio.Future[bool], int] = {}

    async def wait_for(self, position: int, timeout_seconds: float) -> bool:
        """Whether the read models passed a position of the log within the time given."""
        if position <= self._position:
            return True
        loop = asyncio.get_running_loop()
        passed: asyncio.Future[bool] = loop.create_future()
        self._waiting[passed] = position
        # Every write waits here: a bare timer costs a fraction of what `asyncio.timeout` does.
        giving_up = loop.call_later(timeout_seconds, _give_up, passed)
        try:
            return await passed
        finally:
            giving_up.cancel()
            del self._waiting[passed]

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
                # What was told before, or got lost, is read.
                self._passed(await self._checkpoint())
                self._away = False
                while await self._told(connection) or not self._waiting:
                    pass

    async def _told(self, connection: AsyncConnection) -> bool:
        """Hear for a while what all read models have passed by now; whether anything was told."""
        told = False
        seconds = POLL_SECONDS if self._waiting else CALM_POLL_SECONDS
        async with contextlib.aclosing(connection.notifies(timeout=seconds)) as notifications:
            async for notification in notifications:
                if notification.payload.isdigit():
                    told = True
                    self._passed(int(notification.payload))
        return told

    def _passed(self, position: int) -> None:
        self._position = position
        for passed, wanted in self._waiting.items():
            if wanted <= position and not passed.done():
                passed.set_result(True)


def _give_up(passed: asyncio.Future[bool]) -> None:
    if not passed.done():
        passed.set_result(False)
