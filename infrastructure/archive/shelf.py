"""The archives of one database: which there are by its catalogue, and what lies in them."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from application.ports import LogUnavailable
from infrastructure.archive.catalogue import archives
from infrastructure.archive.merging import events_after
from infrastructure.archive.reading import ArchiveFile
from infrastructure.event_store.outage import AWAY, first_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence, Set
    from uuid import UUID

    from psycopg import AsyncConnection
    from psycopg_pool import AsyncConnectionPool

    from domain.months import Month
    from infrastructure.archive.catalogue import Archive
    from infrastructure.archive.form import Event
    from infrastructure.archive.library import Library
    from infrastructure.archive.merging import Stretch

ANSWER_SECONDS = 10.0


class Shelf:
    """What has left the log. Every method raises `LogUnavailable`, which `ArchiveAway` is."""

    def __init__(self, pool: AsyncConnectionPool, library: Library) -> None:
        self._pool = pool
        self._library = library

    async def of_stream(self, stream: UUID) -> Sequence[Event] | None:
        """The events of a stream that is not in the log; None: it is not away, so look there again."""
        for archive in await self._away():
            if archive.has(stream):
                return await self._library.look(archive, lambda file: file.of_stream(stream))
        return None

    async def months(self) -> Set[Month]:
        """See `application.archived.Archived`."""
        return {archive.month for archive in await self._away()}

    async def last(self, question: Callable[[ArchiveFile], Event | None]) -> Event | None:
        """The one with the highest position among what all that is away answers."""
        answers = [await self._library.look(archive, question) for archive in await self._away()]
        return max((event for event in answers if event is not None), default=None)

    async def between(self, connection: AsyncConnection, after: int, until: int) -> bool:
        """Whether any events behind a position and up to another may be away. Raises `psycopg.Error`."""
        known = await archives(connection)
        return any(one.away and one.last_position > after and one.first_position <= until for one in known)

    async def first_of(self, connection: AsyncConnection, streams: Set[UUID]) -> dict[UUID, Event]:
        """The first event of each of these streams that is away. Raises `psycopg.Error`, too."""
        found: dict[UUID, Event] = {}
        for archive in await archives(connection):
            wanted = [stream for stream in streams if archive.away and archive.has(stream)]
            if wanted:
                found |= await self._library.look(archive, partial(ArchiveFile.first_of, streams=wanted))
        return found

    async def stretch(
        self, connection: AsyncConnection, position: int, limit: int, most_bytes: int
    ) -> Stretch:
        """Events after a position, wherever they lie: see `events_after`."""
        return await events_after(connection, self._library, position, limit, most_bytes)

    async def _away(self) -> Sequence[Archive]:
        try:
            async with asyncio.timeout(ANSWER_SECONDS), self._pool.connection() as connection:
                return [archive for archive in await archives(connection) if archive.away]
        except AWAY as error:
            raise LogUnavailable(first_line(error)) from error
