"""The sealer: seals the log in the background, some seconds after something was appended."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import psycopg
import structlog

from application.archived import ArchiveAway
from infrastructure.archive.library import NO_ARCHIVES
from infrastructure.database import with_liveness
from infrastructure.event_store.news import ListeningConnection
from infrastructure.event_store.outage import first_line
from infrastructure.sealed_log.keys import KeyUnusable, read_signing_key
from infrastructure.sealed_log.reading import latest_heads
from infrastructure.sealed_log.sealing import seal_block
from infrastructure.sealed_log.statements import statement

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from psycopg import AsyncConnection

    from domain.sealing import SignedHead
    from infrastructure.archive.library import Library
    from infrastructure.sealed_log.keys import SigningKey

REST_SECONDS = 5.0
"""From the first event that is not sealed to its seal, which later ones share; and between two attempts."""
ARCHIVE_SECONDS = 60.0
"""Between two attempts to read an archive: somebody has to put its file back."""

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
        library: Library = NO_ARCHIVES,
    ) -> None:
        """`on_head` hears of the latest head when this process begins to seal, and of each new one.

        `library` is needed for a log of which months had left before its first seal.
        """
        self._on_head = on_head
        self._dsn = direct_dsn
        self._key_file = key_file
        self._rest_seconds = rest_seconds
        self._library = library
        self._lost: int | None = None

    async def run(self) -> None:
        """Seal for ever; without a key, say so and return."""
        if self._key_file is None:
            log.warning("the log is not sealed: AUDIT_KEY_FILE names no key to sign its heads with")
            return
        try:
            key = read_signing_key(self._key_file)
        except KeyUnusable as error:
            log.error("the log is not sealed: set AUDIT_KEY_FILE right and restart", error=str(error))  # noqa: TRY400
            return
        while True:
            try:
                await self._own(key)
            except ArchiveAway as error:
                log.error("sealing waits for an archive", error=str(error))  # noqa: TRY400
                await asyncio.sleep(ARCHIVE_SECONDS)
            except (psycopg.Error, OSError, TimeoutError) as error:
                log.warning("sealing waits for the database", error=first_line(error))
                await asyncio.sleep(self._rest_seconds)

    async def _own(self, key: SigningKey) -> None:
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
                if not await self._seal(connection, key):
                    async for _ in connection.notifies(stop_after=1):
                        pass
                # Under load each append would wake it.
                await connection.execute(b"UNLISTEN events")
                await asyncio.sleep(self._rest_seconds)
                await self._seal(connection, key)

    async def _seal(self, connection: AsyncConnection, key: SigningKey) -> bool:
        """Seal all there is; whether there was something."""
        loop, anything, more = asyncio.get_running_loop(), False, True
        while more:
            started = loop.time()
            signed, more, lost = await seal_block(connection, key, self._library)
            if lost is not None and lost != self._lost:
                log.error(
                    "an event that was sealed is no longer in the log: run `chronoledger verify`",
                    position=lost,
                )
            self._lost = lost
            if signed is not None:
                anything = True
                self._on_head(signed)
            if more:  # a log of before is long, and nobody waits for it
                await asyncio.sleep(loop.time() - started)
        return anything


async def _taken(connection: AsyncConnection) -> bool:
    row = await (await connection.execute(statement("take_sealing"))).fetchone()
    return row is not None and bool(row[0])
