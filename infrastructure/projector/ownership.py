"""One projector at a time: the others stand by."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from infrastructure.database import with_liveness
from infrastructure.event_store.log import head
from infrastructure.event_store.news import LOOK_SECONDS, ListeningConnection
from infrastructure.sql import statements

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from psycopg import AsyncConnection

statement = statements("infrastructure.projector")

_COMMANDS = "commands"
_LISTEN = b"LISTEN commands; LISTEN events"
_ATTEND = b"LISTEN events"
_TURN_AWAY = b"UNLISTEN events"
_STANDBY_SECONDS = 0.5
_POLL_SECONDS = LOOK_SECONDS
_ANSWER_SECONDS = 10.0
# Small batches, not events, are what projecting costs. A command is somebody who waits to see its effect, so
# the next one waits for as long as the last batch had company to offer; executions by the thousand are looked
# at a little later, or counted.
COMMAND_CADENCE_SECONDS = 0.01
COMMAND_REST_SECONDS = 0.002
CADENCE_SECONDS = 0.03
# Where events come so fast, executions begin and end within a longer batch: what had come and gone in three
# tables is one row in one then.
FAST_EVENTS_A_SECOND = 8_000
FAST_BATCH = 400
FAST_CADENCE_SECONDS = 0.3
# Of `reading.BATCH_EVENTS`: what comes until the next look, and while it is read, should find room as well.
NEARLY_FULL = 4_000
# Under load each append wakes whoever listens, which costs more than the batches.
ENOUGH_HEARD = 3


class Session:
    """The connection that holds the lock and hears of new events.

    It attends to all of them, or under load to commands alone: a batch is due soon anyway then.
    """

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self._attentive = True

    async def attend(self) -> bool:
        """Attend to all events; whether it did not until now, so that some may have come unheard."""
        if self._attentive:
            return False
        await self._connection.execute(_ATTEND)
        self._attentive = True
        return True

    async def news(self, since: float, applied: int, position: int) -> None:
        """Return when a batch is due after that of `applied` events, begun at `since` by the loop's clock.

        That is as soon as a command is told of, but no sooner than 2 ms from now for each event applied, or
        10 ms after `since`; or 30 ms after it, when executions go on; and without any news a second from now,
        for what was told and got lost.
        Where events come fast behind `position`, up to where all are applied, it is at once for a command, or
        up to 300 ms after `since`.
        Raises `psycopg.Error` when the connection, and with it the lock, is lost, and `TimeoutError` when the
        server does not answer.
        """
        if applied >= FAST_BATCH:
            await self._turn_away()
            await self._while_fast(since, position)
            return
        clock = asyncio.get_running_loop().time
        now = clock()
        rested_at = min(since + COMMAND_CADENCE_SECONDS, now + applied * COMMAND_REST_SECONDS)
        due_at = now + _POLL_SECONDS if self._attentive else since + CADENCE_SECONDS
        heard = 0
        while (left := due_at - clock()) > 0:
            async for told in self._connection.notifies(timeout=left, stop_after=1):
                command = told.channel == _COMMANDS
                due_at = min(due_at, rested_at if command else since + CADENCE_SECONDS)
                heard += not command
            if heard > ENOUGH_HEARD:
                await self._turn_away()

    async def _turn_away(self) -> None:
        if self._attentive:
            await self._connection.execute(_TURN_AWAY)
            self._attentive = False

    async def _while_fast(self, since: float, position: int) -> None:
        """Return on a command, with enough for a batch, once events come more slowly, or when time is up."""
        clock = asyncio.get_running_loop().time
        until = since + FAST_CADENCE_SECONDS
        seen, looks_in_vain = position, 0
        look_at = since + CADENCE_SECONDS
        while not await self._is_command_told(look_at) and clock() < until:
            async with asyncio.timeout(_ANSWER_SECONDS):
                newest = await head(self._connection)
            waiting = newest - position
            looks_in_vain = looks_in_vain + 1 if newest == seen else 0
            ebbs = looks_in_vain > 1 or waiting < FAST_EVENTS_A_SECOND * (clock() - since)
            if ebbs or waiting >= NEARLY_FULL:
                return
            seen, look_at = newest, min(until, clock() + CADENCE_SECONDS)

    async def _is_command_told(self, by: float) -> bool:
        clock = asyncio.get_running_loop().time
        while (left := by - clock()) > 0:
            heard = self._connection.notifies(timeout=left, stop_after=1)
            if _COMMANDS in [told.channel async for told in heard]:
                return True
        return False


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
