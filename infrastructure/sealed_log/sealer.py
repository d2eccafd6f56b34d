"""The sealer: seals the log in the background, some seconds after something was appended."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import psycopg
import structlog

from infrastructure.database import with_liveness
from infrastructure.event_store.news import ListeningConnection
from infrastructure.event_store.outage import first_line
from infrastructure.sealed_log.continuing import LastHead, SealsDiffer
from infrastructure.sealed_log.keys import KeyUnusable, read_signing_key
from infrastructure.sealed_log.publishing import HeadsUnreadable
from infrastructure.sealed_log.reading import latest_heads
from infrastructure.sealed_log.sealing import seal_block
from infrastructure.sql import statements

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from psycopg import AsyncConnection

    from domain.sealing import SignedHead
    from infrastructure.sealed_log.keys import SigningKey

statement = statements("infrastructure.sealed_log")

REST_SECONDS = 5.0
"""From the first event that is not sealed to its seal, which later ones share; and between two attempts."""

log = structlog.get_logger(__name__)


class Sealer:
    """Seals one database's log until it is cancelled; of several, one works and the others stand by.

    While nothing is appended it sleeps. Outages are waited out. `direct_dsn` must reach Postgres without a
    transaction-pooling proxy between.
    """

    def __init__(
        self,
        direct_dsn: str,
        key_file: Path | None,
        on_head: Callable[[SignedHead], object] = lambda _signed: None,
        rest_seconds: float = REST_SECONDS,
    ) -> None:
        """`on_head` hears of the latest head when this process begins to seal, and of each new one."""
        self._on_head = on_head
        self._dsn = direct_dsn
        self._key_file = key_file
        self._rest_seconds = rest_seconds
        self._lost: int | None = None
        self._told = self._differ = ""

    async def run(self) -> None:
        """Seal for ever; without a key, say so and return."""
        if self._key_file is None:
            log.warning("the log is not sealed: AUDIT_KEY_FILE names no key to sign its heads with")
            return
        try:
            key, last = read_signing_key(self._key_file), LastHead(self._key_file)
        except KeyUnusable as error:
            log.error("the log is not sealed: set AUDIT_KEY_FILE right and restart", error=str(error))  # noqa: TRY400
            return
        except HeadsUnreadable as error:
            log.error("the log is not sealed: nobody knows what was signed last", error=str(error))  # noqa: TRY400
            return
        while True:
            try:
                await self._own(key, last)
            except (psycopg.Error, OSError, TimeoutError) as error:
                if self._tells_first(first_line(error)):
                    log.warning("sealing waits for the database", error=self._told)
            except Exception as error:  # whatever it was: one that has ended would seal nothing any more
                if self._tells_first(repr(error)):
                    log.exception("sealing failed; trying again")
            await asyncio.sleep(self._rest_seconds)

    def _tells_first(self, line: str) -> bool:
        """Whether something else was told last."""
        before, self._told = self._told, line
        return line != before

    async def _own(self, key: SigningKey, last: LastHead) -> None:
        dsn = with_liveness(self._dsn)
        async with await ListeningConnection.connect(dsn, autocommit=True) as connection:
            # Not by waiting inside Postgres: that would not notice a server that vanished.
            while not await _taken(connection):  # noqa: ASYNC110
                await asyncio.sleep(self._rest_seconds)
            stored = {"key_id": key.public.id, "public_key": key.public.pem}
            await connection.execute(statement("put_key"), stored)
            for signed in await latest_heads(connection, 1):
                self._on_head(signed)
            while True:
                # What comes while it does not listen is found by the look that follows.
                await connection.execute(b"LISTEN events")
                if not await self._seal(connection, key, last):
                    async for _ in connection.notifies(stop_after=1):
                        pass
                # Under load each append would wake it.
                await connection.execute(b"UNLISTEN events")
                await asyncio.sleep(self._rest_seconds)
                await self._seal(connection, key, last)

    async def _seal(self, connection: AsyncConnection, key: SigningKey, last: LastHead) -> bool:
        """Seal all there is, unless the seals differ; whether there was something."""
        loop, anything, more = asyncio.get_running_loop(), False, True
        while more:
            started = loop.time()
            try:
                signed, more, lost = await seal_block(connection, key, known=last.signed)
            except SealsDiffer as error:
                self._tell_difference(str(error), last)
                return False
            self._told = self._differ = ""
            if lost is not None and lost != self._lost:
                log.error(
                    "an event that was sealed is no longer in the log: run `chronoledger verify`",
                    position=lost,
                )
            self._lost = lost
            if signed is not None:
                anything = True
                await asyncio.to_thread(last.keep, signed)
                self._on_head(signed)
            if more:  # a log of before is long, and nobody waits for it
                await asyncio.sleep(loop.time() - started)
        return anything

    def _tell_difference(self, what: str, last: LastHead) -> None:
        if what != self._differ:
            log.error(
                "the log is no longer sealed, for its seals are not those that were signed: run "
                "`chronoledger verify` and restore the database; to begin anew on purpose, delete the file "
                "and restart",
                error=what,
                file=str(last.file),
            )
        self._differ = what


async def _taken(connection: AsyncConnection) -> bool:
    row = await (await connection.execute(statement("take_sealing"))).fetchone()
    return row is not None and bool(row[0])
