"""The projector: follows the log and keeps the read models."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

import psycopg
import structlog

from application.archived import ArchiveAway
from infrastructure.event_store.log import LogRewound, head
from infrastructure.event_store.outage import first_line
from infrastructure.projector.batch import Batch, apply_batch
from infrastructure.projector.checkpoints import CheckpointMoved, read_positions
from infrastructure.projector.ownership import Session, owned
from infrastructure.projector.preparation import LaterRelease, prepare
from infrastructure.projector.reading import read_entries
from infrastructure.projector.rebuilding import RebuildRunning, TablesInUse, rebuild
from infrastructure.projector.whole_log import NOTHING_ARCHIVED, WholeLog
from infrastructure.projector.workplace import NewTablesLost

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import AsyncConnection
    from psycopg_pool import AsyncConnectionPool

    from infrastructure.projector.parking import Parked
    from infrastructure.projector.ports import Projection, ProjectorObserver
    from infrastructure.projector.reading import Entry

FIRST_BACKOFF_SECONDS = 0.1
# A server that neither answers nor hangs up is given up on; a batch takes a fraction of a second.
BATCH_SECONDS = 60.0

log = structlog.get_logger(__name__)


class Pulled(NamedTuple):
    """What was there to apply: how many events, whether there are more, and the position of the last one."""

    events: int = 0
    more: bool = False
    position: int = 0


class TablesMissing(Exception):
    """A read model's tables are gone; `chronoledger rebuild` makes them again."""

    def __init__(self, projections: Sequence[Projection]) -> None:
        names = " ".join(projection.name for projection in projections)
        super().__init__(
            f"tables or checkpoints are gone; make them again with `chronoledger rebuild {names}`"
        )


_WAITED_OUT = (
    *(psycopg.Error, OSError, TimeoutError, ArchiveAway),
    *(LaterRelease, TablesMissing, RebuildRunning, TablesInUse, NewTablesLost),
)


class Projector:
    """Applies every event to every projection, in order and exactly once, until it is cancelled.

    Of several projectors on a database one works and the others stand by. Outages are waited out. An event
    that a projection cannot apply is parked, with what depends on it, and the rest goes on.
    A log that has become shorter ends it with `LogRewound`: the next start rebuilds what knows too much.
    `direct_dsn` must reach Postgres without a transaction-pooling proxy between.
    """

    def __init__(
        self,
        pool: AsyncConnectionPool,
        direct_dsn: str,
        projections: Sequence[Projection],
        observer: ProjectorObserver | None = None,
        whole_log: WholeLog = NOTHING_ARCHIVED,
    ) -> None:
        """`whole_log` is what read models are rebuilt from."""
        self._log = whole_log
        self._pool = pool
        self._direct_dsn = direct_dsn
        self._projections = projections
        self._observer = observer
        self._current: list[Projection] = []
        self._positions: dict[str, int] = {}
        self._settled = False
        self._turn = asyncio.Lock()  # a batch and a change of what is projected never meet
        self._backoff = _Backoff()
        self.owns = False
        """Whether this process is the one that projects now."""

    async def run(self) -> None:
        """Project for ever."""
        while True:
            try:
                async with owned(self._direct_dsn) as session:
                    await self._own(session)
            except* _WAITED_OUT as errors:
                await self._backoff.wait(errors.exceptions[0])

    async def _own(self, session: Session) -> None:
        self.owns = True
        try:
            outdated = await self._prepare()
            if outdated and self._settled:
                # Who dropped them under a running projector may be about to rebuild: do not get in the way.
                raise TablesMissing(outdated)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._renew(outdated))
                await self._follow(session)
        finally:
            self.owns = False

    async def _prepare(self) -> list[Projection]:
        async with self._pool.connection() as connection:
            prepared = await prepare(connection, self._projections)
        if prepared.rewound:
            if self._settled:
                raise prepared.rewound
            log.error("read models know of lost events", error=str(prepared.rewound))
        self._current, self._positions = prepared.current, {}
        return prepared.outdated

    async def _renew(self, outdated: list[Projection]) -> None:
        """Rebuild what a release changed, beside the projections that go on."""
        backoff = _Backoff(longest_seconds=60.0)
        while outdated:
            log.info("rebuilding read models", projections=[projection.name for projection in outdated])
            try:
                await rebuild(self._direct_dsn, outdated, whole_log=self._log)
            except _WAITED_OUT as error:
                await backoff.wait(error)
            async with self._turn:
                outdated = await self._prepare()
        self._settled = True

    async def _follow(self, session: Session) -> None:
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            async with self._turn, asyncio.timeout(BATCH_SECONDS):
                pulled = await self._pull()
            self._backoff.over()
            if pulled.more or (not pulled.events and await session.attend()):
                continue
            await session.news(started, pulled.events, pulled.position)

    async def _pull(self) -> Pulled:
        """Apply the next batch to the projections that are furthest behind."""
        async with self._pool.connection() as connection:
            if not self._positions:
                self._positions = await read_positions(connection, self._current)
            if len(self._positions) < len(self._current):
                raise TablesMissing(self._current)
            if not self._positions:
                return Pulled()
            after = min(self._positions.values())
            entries, full = await read_entries(connection, after)
            if not entries:
                await self._check_past(connection)
            batch = self._next(after, entries)
            if not batch.entries:
                return Pulled()
            try:
                parked = await apply_batch(connection, batch)
            except CheckpointMoved:
                self._positions = {}
                return Pulled(more=True)
        self._applied(batch, parked)
        more = full or len(batch.entries) < len(entries)
        return Pulled(len(batch.entries), more, batch.entries[-1].position)

    async def _check_past(self, connection: AsyncConnection) -> None:
        """Events that come to lie behind a checkpoint would never be applied."""
        furthest = max(self._positions.values())
        if (ends_at := await head(connection)) < furthest:
            raise LogRewound(ends_at, furthest)

    def _next(self, after: int, entries: Sequence[Entry]) -> Batch:
        """A batch ends where a projection that is further ahead stands, so that they go on together."""
        ahead = [position for position in self._positions.values() if position > after]
        until = min(ahead, default=None)
        behind = [projection for projection in self._current if self._positions[projection.name] == after]
        if until is not None:
            entries = [entry for entry in entries if entry.position <= until]
        last = entries[-1].position if entries else after
        # While some are rebuilt, nobody can say what all have applied.
        complete = len(self._current) == len(self._projections)
        return Batch(behind, entries, after, visible=min([last, *ahead]) if complete else None)

    def _applied(self, batch: Batch, parked: Sequence[Parked]) -> None:
        for event in parked:
            log.error("event parked", projection=event.projection, position=event.position, error=event.error)
        for projection in batch.projections:
            self._positions[projection.name] = batch.entries[-1].position
            if self._observer is not None:
                aside = sum(event.projection == projection.name for event in parked)
                self._observer.projected(projection.name, len(batch.entries) - aside)
                self._observer.parked(projection.name, aside)


class _Backoff:
    """Waits longer from failure to failure, and says so once an outage."""

    def __init__(self, longest_seconds: float = 2.0) -> None:
        self._longest_seconds = longest_seconds
        self._failures = 0

    async def wait(self, error: BaseException) -> None:
        if self._failures == 0:
            log.warning("projector waits", error=first_line(error))
        delay = min(self._longest_seconds, FIRST_BACKOFF_SECONDS * 2.0 ** min(self._failures, 10))
        self._failures += 1
        await asyncio.sleep(delay)

    def over(self) -> None:
        if self._failures:
            log.info("projector goes on")
        self._failures = 0
