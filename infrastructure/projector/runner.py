"""The projector: follows the log and keeps the read models."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from application.ports import ArchiveAway
from infrastructure.event_store.follower import LOOK_SECONDS, ListeningConnection
from infrastructure.event_store.log import LogRewound, head
from infrastructure.postgres import first_line, with_liveness
from infrastructure.projector.batch import (
    Batch,
    CheckpointMoved,
    QuarantinedEvent,
    apply_batch,
    read_positions,
)
from infrastructure.projector.reading import (
    NOTHING_ARCHIVED,
    Entry,
    ProjectorObserver,
    WholeLog,
    read_entries,
)
from infrastructure.projector.rebuild import RebuildRunning, TablesInUse, rebuild
from infrastructure.projector.workplace import LaterRelease, NewTablesLost, prepare
from infrastructure.sql import statements
from projections.projection import Projection

statement = statements("infrastructure.projector")

_COMMANDS = "commands"
_LISTEN = b"LISTEN commands; LISTEN events"
_HEAR_ALL = b"LISTEN events"
_HEAR_COMMANDS_ALONE = b"UNLISTEN events"
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

    It hears all of them, or under load those of commands alone: a batch is due soon anyway then.
    """

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self._hears_all = True

    async def hear_all(self) -> bool:
        """Listen to all events again; answers whether some may have come unheard meanwhile."""
        if self._hears_all:
            return False
        await self._connection.execute(_HEAR_ALL)
        self._hears_all = True
        return True

    async def wait_for_batch(self, since: float, applied: int, position: int) -> None:
        """Return when the next batch is due, after that of `applied` events begun at `since` (loop time).

        - After a command: at once, but at least 2 ms from now per event applied, at most 10 ms after `since`.
        - After other events: 30 ms after `since`.
        - Without any notification: in a second, because notifications can get lost.
        - While events come fast behind `position`, the last one applied: at a command, or up to 300 ms after
          `since`.

        Raises `psycopg.Error` when the connection, and with it the lock, is lost, and `TimeoutError` when the
        server does not answer.
        """
        if applied >= FAST_BATCH:
            await self._hear_commands_alone()
            await self._while_fast(since, position)
            return
        clock = asyncio.get_running_loop().time
        now = clock()
        rested_at = min(since + COMMAND_CADENCE_SECONDS, now + applied * COMMAND_REST_SECONDS)
        due_at = now + _POLL_SECONDS if self._hears_all else since + CADENCE_SECONDS
        heard = 0
        while (left := due_at - clock()) > 0:
            async for told in self._connection.notifies(timeout=left, stop_after=1):
                command = told.channel == _COMMANDS
                due_at = min(due_at, rested_at if command else since + CADENCE_SECONDS)
                heard += not command
            if heard > ENOUGH_HEARD:
                await self._hear_commands_alone()

    async def _hear_commands_alone(self) -> None:
        if self._hears_all:
            await self._connection.execute(_HEAR_COMMANDS_ALONE)
            self._hears_all = False

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
            if pulled.more or (not pulled.events and await session.hear_all()):
                continue
            await session.wait_for_batch(started, pulled.events, pulled.position)

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

    def _applied(self, batch: Batch, parked: Sequence[QuarantinedEvent]) -> None:
        for event in parked:
            log.error("event parked", projection=event.projection, position=event.position, error=event.error)
        for projection in batch.projections:
            self._positions[projection.name] = batch.entries[-1].position
            if self._observer is not None:
                quarantined = sum(event.projection == projection.name for event in parked)
                self._observer.projected(projection.name, len(batch.entries) - quarantined)


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
