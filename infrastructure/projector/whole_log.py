"""The whole log as projections see it: what whoever begins at the beginning reads, as a rebuild does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infrastructure.archive.library import NO_ARCHIVES, Library
from infrastructure.archive.merging import events_after
from infrastructure.projector.reading import (
    BATCH_BYTES,
    BATCH_EVENTS,
    Entry,
    Reading,
    bounded,
    decoded,
)

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from infrastructure.archive.merging import Wanted

# More than a projector takes: nobody waits for the first of them, and a task with many executions among them
# is taken out and put back once.
EVENTS_AT_ONCE = 20_000
# Each event of an execution beyond its second may bring back a row with an answer in it.
LATER_AT_ONCE = 5_000
SECOND = 2


class WholeLog:
    """Facts in the order of their positions, those in archives among them."""

    def __init__(self, library: Library, at_once: int = EVENTS_AT_ONCE, wanted: Wanted | None = None) -> None:
        """`at_once`: so many of them, where they are small. `wanted`: these alone."""
        self._library = library
        self._at_once = at_once
        self._next = at_once
        self._wanted = wanted

    def some(self, wanted: Wanted) -> WholeLog:
        """What is wanted of it, as if there were nothing else."""
        return WholeLog(self._library, self._at_once, wanted)

    async def entries(
        self,
        connection: AsyncConnection,
        position: int,
        limit: int | None = None,
        most_bytes: int = BATCH_BYTES,
    ) -> Reading:
        """As `read_entries`; no more than `LATER_AT_ONCE` of them are the third of their stream or later.

        Raises `ArchiveAway` rather than to leave out what cannot be read.
        """
        asked = limit or self._next
        events, full = await events_after(
            connection, self._library, position, asked, most_bytes, self._wanted
        )
        # The sizes of all that is asked for are added up: where few are taken, few are asked for.
        self._next = min(self._at_once, BATCH_EVENTS) if full and len(events) < asked else self._at_once
        entries = [
            Entry(event.position, event.stream, event.version, decoded(event.topic, event.state))
            for event in events
        ]
        later = [place for place, entry in enumerate(entries, 1) if entry.version > SECOND]
        if len(later) > LATER_AT_ONCE:
            entries, full = entries[: later[LATER_AT_ONCE - 1]], True
        return bounded(entries, full=full)


NOTHING_ARCHIVED = WholeLog(NO_ARCHIVES)
"""The log of who knows of no archives: it refuses to be read past one."""
