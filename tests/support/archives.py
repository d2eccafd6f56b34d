"""Archives of a test: a log of some months, and a folder to move them to."""

from __future__ import annotations

import itertools
from pathlib import Path

from psycopg import AsyncConnection

from domain.identity import Month
from infrastructure.archive.archiving import alone, archive_month, restore_month
from infrastructure.archive.catalog import Archive, Catalog, events_after
from infrastructure.archive.files import Event
from infrastructure.archive.storage import Folder
from infrastructure.projector.reading import WholeLog
from projections import NAMES
from tests.support.months import year_of
from tests.support.projecting import connect, project
from tests.support.sealing import seal
from tests.support.stored import append

MUCH = 1 << 30
ROWS = (
    "SELECT notification_id, originator_id, originator_version, topic, state, recorded_at FROM events "
    "ORDER BY notification_id"
)


class Archivist:
    """Moves months of a database to a folder, and back."""

    def __init__(self, dsn: str, folder: Path) -> None:
        self.dsn = dsn
        self.folder = folder
        self.storage = Folder(folder)

    @property
    def catalog(self) -> Catalog:
        """One that has nothing open yet."""
        return Catalog(self.storage)

    @property
    def whole_log(self) -> WholeLog:
        """What rebuilds and checks read."""
        return WholeLog(self.catalog)

    def archive(self, month: Month) -> Archive:
        """Move a month to a file."""
        with alone(self.dsn) as connection:
            return archive_month(connection, self.storage, month, NAMES)

    def restore(self, month: Month) -> Archive:
        """Put a month back."""
        with alone(self.dsn) as connection:
            return restore_month(connection, self.catalog, month)


async def settle(connection: AsyncConnection) -> None:
    """Project and seal all there is."""
    await project(connection)
    await seal(connection)


async def filled(dsn: str, days: int = 28) -> None:
    """Three months of executions, and the first of a fourth, stored and projected."""
    async with await connect(dsn) as connection:
        for facts in itertools.batched(year_of(days), 17):
            await append(connection, facts)
        await settle(connection)


async def rows(connection: AsyncConnection) -> list[tuple[object, ...]]:
    """What the table holds, in the order of the positions."""
    return await (await connection.execute(ROWS)).fetchall()


async def whole(connection: AsyncConnection, catalog: Catalog, limit: int = 100) -> list[Event]:
    """The whole log, read a stretch at a time."""
    found: list[Event] = []
    full = True
    while full:
        position = found[-1].position if found else 0
        events, full = await events_after(connection, catalog, position, limit, MUCH)
        found += events
    return found
