"""Archiving by itself: what is older than so many days, once a day, by whoever projects."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import psycopg
import structlog

from application.archived import ArchiveAway
from infrastructure.archive.archiving import (
    ArchivingRunning,
    NotArchivable,
    Stopped,
    alone,
    archive_month,
    make_room,
    months_before,
)
from infrastructure.archive.catalogue import archives_in
from infrastructure.archive.form import Damaged
from infrastructure.archive.places import PlaceUnset, PlaceUnusable
from infrastructure.event_store.outage import first_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import date

    from psycopg import Connection

    from domain.months import Month
    from infrastructure.archive.places import Place

LOOK_SECONDS = 3_600.0
_FAILURES = (
    *(psycopg.Error, OSError),
    *(ArchiveAway, ArchivingRunning, Damaged, PlaceUnset, PlaceUnusable),
)

log = structlog.get_logger(__name__)


class Retention:
    """Archives each month that has been over for `days`, as long as `owns` says that it is this one's turn.

    A month that was restored stays until somebody archives it: it is there because it is wanted.
    `dsn` must reach Postgres directly.
    """

    def __init__(
        self, dsn: str, place: Place, days: int, projections: Sequence[str], owns: Callable[[], bool]
    ) -> None:
        self._dsn = dsn
        self._place = place
        self._age = timedelta(days=days)
        self._projections = projections
        self._owns = owns

    async def run(self, look_seconds: float = LOOK_SECONDS) -> None:
        """Once a day, for ever; what failed is tried again at the next look."""
        done: date | None = None
        while True:
            await asyncio.sleep(look_seconds)
            now = datetime.now(UTC)
            if self._owns() and done != now.date() and await self.once(now):
                done = now.date()

    async def once(self, now: datetime) -> bool:
        """Archive what is old enough at an instant; whether that could be told of every month."""
        stopping = threading.Event()
        # On a thread, for it writes files; told to stop, it does so after some thousand rows.
        work = asyncio.ensure_future(asyncio.to_thread(self._archive, now - self._age, stopping.is_set))
        try:
            failure = await asyncio.shield(work)
        except asyncio.CancelledError:
            stopping.set()
            with contextlib.suppress(Stopped):
                await work
            raise
        if failure is not None:
            log.error("archiving failed", error=failure)
        return failure is None

    def _archive(self, end: datetime, stopped: Callable[[], bool]) -> str | None:
        """What went wrong, if anything did."""
        try:
            with alone(self._dsn) as connection:
                wanted = {archive.month for archive in archives_in(connection) if not archive.away}
                months = [month for month in months_before(connection, end) if month not in wanted]
                moved = [month for month in months if self._moved(connection, month, stopped)]
                if moved:
                    make_room(connection)
        except _FAILURES as error:
            return first_line(error)
        return None

    def _moved(self, connection: Connection, month: Month, stopped: Callable[[], bool]) -> bool:
        try:
            done = archive_month(connection, self._place, month, self._projections, stopped)
        except NotArchivable as error:
            log.warning("a month is not archived", error=str(error))
            return False
        log.info("month archived", month=str(month), events=done.events, archive=done.name)
        return True
