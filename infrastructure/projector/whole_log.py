"""The whole log as projections see it: what whoever begins at the beginning reads, as a rebuild does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infrastructure.archive.library import NO_ARCHIVES, Library
from infrastructure.archive.merging import events_after
from infrastructure.projector.reading import BATCH_BYTES, Entry, Reading, bounded, decoded

if TYPE_CHECKING:
    from psycopg import AsyncConnection

# More than a projector takes: here nobody waits for the first of them, and a task with many executions among
# them is taken out and put back once.
EVENTS_AT_ONCE = 20_000


class WholeLog:
    """Facts in the order of their positions, those in archives among them."""

    def __init__(self, library: Library) -> None:
        self._library = library

    async def entries(
        self,
        connection: AsyncConnection,
        position: int,
        limit: int = EVENTS_AT_ONCE,
        most_bytes: int = BATCH_BYTES,
    ) -> Reading:
        """As `read_entries`. Raises `ArchiveAway` rather than to leave out what cannot be read."""
        events, full = await events_after(connection, self._library, position, limit, most_bytes)
        entries = [
            Entry(event.position, event.stream, event.version, decoded(event.topic, event.state))
            for event in events
        ]
        return bounded(entries, full=full)


NOTHING_ARCHIVED = WholeLog(NO_ARCHIVES)
"""The log of who knows of no archives: it refuses to be read past one."""
