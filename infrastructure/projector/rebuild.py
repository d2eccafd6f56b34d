"""Rebuilding read models from the whole log, beside the live ones, and swapping them in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from time import monotonic
from typing import NamedTuple, Protocol

import structlog
from psycopg import AsyncConnection, errors, sql

from infrastructure.event_store.log import head
from infrastructure.postgres import with_liveness
from infrastructure.projector.batch import (
    Batch,
    CheckpointMoved,
    apply_batch,
    apply_together,
    is_poison,
    lock_checkpoints,
    move_checkpoints,
    read_positions,
    set_checkpoint,
)
from infrastructure.projector.reading import NOTHING_ARCHIVED, WholeLog
from infrastructure.projector.workplace import (
    SCHEMA,
    NewTablesLost,
    Share,
    Workplace,
    at_work,
    bring_together,
    can_be_shared,
    enter,
    existing_relations,
    index,
    live_schema,
    relations,
    set_up,
    take_up,
)
from infrastructure.sql import statements
from projections.projection import Projection

LOOK_SECONDS = 0.5


class EventRefused(Exception):
    """A share holds an event that cannot be applied: one process has to fold the log.

    What waits behind that event may be in another share, whose process knows nothing of it.
    """


class Workers(Protocol):
    """Processes that fold a log together."""

    def number(self, events: int) -> int:
        """How many there should be for so many events."""
        ...

    async def fold(self, projections: Sequence[str], shares: int, until: int) -> None:
        """Have each share folded up to a position, by `fold_share` in a process of its own.

        They end with this, however it ends. Raises `EventRefused`, and whatever says why one of them failed.
        """
        ...


async def fold_share(
    dsn: str, projections: Sequence[Projection], share: Share, whole_log: WholeLog, until: int
) -> None:
    """Fold a share of the log up to a position into the tables of a rebuild that has shared it out.

    Goes on where the share was. Raises `EventRefused`, `NewTablesLost` where there is no such rebuild (any
    more), or another process folds the share, `ArchiveAway` and `psycopg.Error`.
    """
    parts = share.parts(projections)
    log = whole_log.some(share.wanted(projections))
    async with await AsyncConnection.connect(with_liveness(dsn), autocommit=True) as connection:
        await enter(connection, sql.Identifier(await live_schema(connection)))
        positions = set((await read_positions(connection, parts)).values())
        if len(positions) != 1:
            raise NewTablesLost
        position = positions.pop()
        while position < until:
            read = await log.entries(connection, position)
            entries = [entry for entry in read.entries if entry.position <= until]
            if not entries:
                break
            await _apply(connection, Batch(parts, entries, position))
            position = entries[-1].position
        await move_checkpoints(connection, parts, position, max(position, until), None)


async def _apply(connection: AsyncConnection, batch: Batch) -> None:
    """To find out which of its events cannot be applied is for the process that folds them all."""
    try:
        await apply_together(connection, batch)
    except CheckpointMoved as error:
        raise NewTablesLost from error
    except Exception as error:
        if is_poison(error):
            raise EventRefused from error
        raise


async def fold_together(
    connection: AsyncConnection,
    projections: Sequence[Projection],
    workers: Workers,
    shares: int,
    until: int,
    folded: Callable[[int, int], None],
) -> None:
    """Have a log that was shared out folded up to a position; `folded` hears how far all of them are.

    Raises `NewTablesLost`, and as `Workers.fold` does.
    """
    parts = at_work(projections, shares)
    working = asyncio.create_task(workers.fold([each.name for each in projections], shares, until))
    try:
        while not (await asyncio.wait((working,), timeout=LOOK_SECONDS))[0]:
            positions = await read_positions(connection, parts)
            if len(positions) < len(parts):
                raise NewTablesLost
            folded(min(positions.values()), until)
        working.result()
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


statement = statements("infrastructure.projector")

# One attempt at the swap waits so long at most: whoever wants to read the old tables waits behind it.
LOCK_WAIT_SECONDS = 3.0
LOG_SECONDS = 5.0

log = structlog.get_logger(__name__)


class RebuildRunning(Exception):
    """Another rebuild is running on this database; wait until it is done."""

    def __init__(self) -> None:
        super().__init__("another rebuild is running on this database; wait until it is done")


class TablesInUse(Exception):
    """Some other session keeps the old tables locked, so the new ones cannot take their place."""

    def __init__(self) -> None:
        super().__init__(
            "the new tables are ready, but long-running transactions keep the old ones locked; end those "
            "(see pg_stat_activity) and rebuild again"
        )


class Rebuilt(NamedTuple):
    """The log position that the new tables reflect, and how many events could not be applied to them."""

    position: int
    parked: int


class RebuildObserver(Protocol):
    """Hears how far a rebuild is."""

    def resumed(self, position: int) -> None:
        """An interrupted rebuild of the same tables had come so far; this one goes on from there."""

    def begun_again(self) -> None:
        """An event cannot be applied, so that one process folds the log, from its beginning."""

    def folded(self, position: int, until: int) -> None:
        """The log is folded up to a position, of those up to `until`."""

    def indexing(self) -> None:
        """The log is read; indexes are made now, and then the tables are swapped."""


async def rebuild(
    dsn: str,
    projections: Sequence[Projection],
    observer: RebuildObserver | None = None,
    *,
    whole_log: WholeLog = NOTHING_ARCHIVED,
    workers: Workers | None = None,
    anew: bool = False,
    patience_seconds: float = 120.0,
) -> Rebuilt:
    """Fold the whole log into new tables in a schema of their own, then put them in the place of the old.

    The live tables can be read, and the projector goes on with them, until the swap: one transaction that
    holds the projector for as long as the last few events take. What an interrupted rebuild of the same
    tables left is taken up where it was, unless it is to be done `anew`. `whole_log` finds what is archived.
    `workers` are processes to fold it with; None: this one does it alone. `patience_seconds` is how long to
    try when others keep the old tables locked. `dsn` must reach Postgres directly.
    Raises `RebuildRunning`, `TablesInUse`, `NewTablesLost`, `ArchiveAway`, `psycopg.Error` and what
    `Workers.fold` does.
    """
    async with await AsyncConnection.connect(with_liveness(dsn), autocommit=True) as connection:
        cursor = await connection.execute(statement("take_rebuild"))
        if await cursor.fetchone() != (True,):
            raise RebuildRunning
        live = sql.Identifier(await live_schema(connection))
        work = _Rebuild(connection, projections, live, whole_log, workers, observer or _Logged())
        try:
            return await work.run(patience_seconds, anew=anew)
        except CheckpointMoved as error:
            raise NewTablesLost from error


class _Logged:
    """Tells the log of the process, every now and then."""

    def __init__(self) -> None:
        self._told = monotonic()

    def resumed(self, position: int) -> None:
        log.info("going on with an interrupted rebuild", position=position)

    def begun_again(self) -> None:
        log.warning("an event cannot be applied; one process folds the log, from its beginning")

    def folded(self, position: int, until: int) -> None:
        if monotonic() - self._told >= LOG_SECONDS:
            self._told = monotonic()
            log.info("rebuilding read models", position=position, until=until)

    def indexing(self) -> None:
        log.info("indexing rebuilt read models")


class _Rebuild:
    def __init__(
        self,
        connection: AsyncConnection,
        projections: Sequence[Projection],
        live: sql.Identifier,
        whole_log: WholeLog,
        workers: Workers | None,
        observer: RebuildObserver,
    ) -> None:
        self._log = whole_log
        self._workers = workers
        self._connection = connection
        self._projections = projections
        self._live = live
        self._observer = observer
        self._position = 0
        self._parked = 0

    async def run(self, patience_seconds: float, *, anew: bool) -> Rebuilt:
        indexed = await self._begin(anew=anew)
        await self._catch_up()
        self._observer.indexing()
        if not indexed:
            await index(self._connection, self._projections)
        await self._do("ANALYZE {}", sql.SQL(", ").join(map(sql.Identifier, self._tables())))
        deadline = monotonic() + patience_seconds
        while not await self._swapped(min(LOCK_WAIT_SECONDS, patience_seconds)):
            if monotonic() > deadline:
                raise TablesInUse
        log.info("read models rebuilt", position=self._position, parked=self._parked)
        return Rebuilt(self._position, self._parked)

    def _tables(self) -> list[str]:
        return [table for projection in self._projections for table in projection.tables]

    async def _begin(self, *, anew: bool) -> bool:
        """Whether the tables that are there have all their indexes."""
        found = None if anew else await take_up(self._connection, self._projections, self._live)
        if found is not None and (found.shares == 1 or self._workers is not None):
            self._observer.resumed(found.position)
        else:
            found = await self._set_up()
        if found.shares > 1:
            found = await self._fold_together(found)
        self._position, self._parked = found.position, found.parked
        return found.indexed

    async def _set_up(self) -> Workplace:
        await self._do("SET search_path TO {}", self._live)
        return await set_up(self._connection, self._projections, self._live, await self._shares())

    async def _shares(self) -> int:
        """One, too, where events are known that cannot be applied: what depends on them may be anywhere."""
        if self._workers is None or not can_be_shared(self._projections):
            return 1
        names = {"names": [projection.name for projection in self._projections]}
        cursor = await self._connection.execute(statement("any_parked"), names)
        if await cursor.fetchone() == (True,):
            return 1
        return self._workers.number(await head(self._connection))

    async def _fold_together(self, found: Workplace) -> Workplace:
        assert self._workers is not None
        until = max(found.position, await head(self._connection))
        try:
            await fold_together(
                self._connection, self._projections, self._workers, found.shares, until, self._observer.folded
            )
        except EventRefused:
            self._observer.begun_again()
            await self._do("SET search_path TO {}", self._live)
            return await set_up(self._connection, self._projections, self._live)
        await bring_together(self._connection, self._projections, found.shares, until)
        self._observer.folded(until, until)
        return Workplace(until)

    async def _catch_up(self) -> None:
        full, until = True, await head(self._connection)
        while full:
            entries, full = await self._log.entries(self._connection, self._position)
            if not entries:
                return
            parked = await apply_batch(self._connection, Batch(self._projections, entries, self._position))
            self._position = entries[-1].position
            self._parked += len(parked)
            until = max(until, self._position)
            self._observer.folded(self._position, until)

    async def _swapped(self, wait_seconds: float) -> bool:
        await self._catch_up()
        position, parked = self._position, self._parked
        try:
            await self._swap(wait_seconds)
        except (errors.LockNotAvailable, errors.DeadlockDetected):
            self._position, self._parked = position, parked
            return False
        return True

    async def _swap(self, wait_seconds: float) -> None:
        async with self._connection.transaction():
            limit = {"milliseconds": round(wait_seconds * 1_000)}
            await self._connection.execute(statement("limit_lock_wait"), limit)
            await self._hold_projector()
            await self._catch_up()
            await self._replace_tables()
            await self._take_over_books()
            await self._do("DROP SCHEMA {} CASCADE", SCHEMA)

    async def _hold_projector(self) -> None:
        """From here to the commit no batch is applied: each begins by locking these rows."""
        await self._connection.execute(statement("lock_preparation"))
        await self._do("SET LOCAL search_path TO {}", self._live)
        for projection in self._projections:
            parameters = {"name": projection.name, "version": projection.version}
            await self._connection.execute(statement("ensure_checkpoint"), parameters)
        await lock_checkpoints(self._connection, self._projections)
        await self._do("SET LOCAL search_path TO {}, {}", SCHEMA, self._live)

    async def _replace_tables(self) -> None:
        """What an earlier release kept as a table may be a view in this one, or the other way round."""
        await self._do("SET LOCAL search_path TO {}", self._live)
        old = await existing_relations(self._connection, self._projections)
        names = [name for projection in self._projections for name in relations(projection)]
        for name in sorted(old, key=names.index):
            drop = "DROP VIEW {}.{}" if old[name] == "view" else "DROP TABLE {}.{}"
            await self._do(drop, self._live, sql.Identifier(name))
        for name in names:
            # Of views too: tables and views share the statement.
            await self._do("ALTER TABLE {}.{} SET SCHEMA {}", SCHEMA, sql.Identifier(name), self._live)

    async def _take_over_books(self) -> None:
        names = {"names": [projection.name for projection in self._projections]}
        await self._do("SET LOCAL search_path TO {}", self._live)
        for projection in self._projections:
            await set_checkpoint(self._connection, projection, self._position)
        await self._connection.execute(statement("forget_parked"), names)
        await self._do("INSERT INTO parked_events SELECT * FROM {}.parked_events", SCHEMA)

    async def _do(self, text: str, *parts: sql.Composable) -> None:
        """Run a statement about schemas and tables, whose names no parameter can carry."""
        await self._connection.execute(sql.SQL(text).format(*parts))
