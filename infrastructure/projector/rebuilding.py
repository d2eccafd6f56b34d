"""Rebuilding read models from the whole log, beside the live ones, and swapping them in."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

import structlog
from psycopg import AsyncConnection, errors, sql

from infrastructure.database import with_liveness
from infrastructure.projector.batch import Batch, apply_batch
from infrastructure.projector.checkpoints import lock_checkpoints, set_checkpoint
from infrastructure.projector.preparation import existing_relations, live_schema, relations
from infrastructure.projector.statements import statement
from infrastructure.projector.whole_log import NOTHING_ARCHIVED, WholeLog

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infrastructure.projector.ports import Projection

SCHEMA = sql.Identifier("rebuilding")
# One attempt at the swap waits so long at most: whoever wants to read the old tables waits behind it.
LOCK_WAIT_SECONDS = 3.0

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


async def rebuild(
    dsn: str,
    projections: Sequence[Projection],
    *,
    whole_log: WholeLog = NOTHING_ARCHIVED,
    patience_seconds: float = 120.0,
) -> Rebuilt:
    """Fold the whole log into new tables in a schema of their own, then put them in the place of the old.

    The live tables can be read, and the projector goes on with them, until the swap: one transaction that
    holds the projector for as long as the last few events take. What a crash leaves behind, the next rebuild
    drops. `whole_log` finds what is archived. `patience_seconds` is how long to try when others keep the old
    tables locked. `dsn` must reach Postgres directly. Raises `RebuildRunning`, `TablesInUse`, `ArchiveAway`
    and `psycopg.Error`.
    """
    async with await AsyncConnection.connect(with_liveness(dsn), autocommit=True) as connection:
        cursor = await connection.execute(statement("take_rebuild"))
        if await cursor.fetchone() != (True,):
            raise RebuildRunning
        live = sql.Identifier(await live_schema(connection))
        return await _Rebuild(connection, projections, live, whole_log).run(patience_seconds)


class _Rebuild:
    def __init__(
        self,
        connection: AsyncConnection,
        projections: Sequence[Projection],
        live: sql.Identifier,
        whole_log: WholeLog,
    ) -> None:
        self._log = whole_log
        self._connection = connection
        self._projections = projections
        self._live = live
        self._position = 0
        self._parked = 0

    async def run(self, patience_seconds: float) -> Rebuilt:
        await self._begin()
        await self._catch_up()
        await self._index()
        await self._do("ANALYZE {}", sql.SQL(", ").join(map(sql.Identifier, self._tables())))
        deadline = monotonic() + patience_seconds
        while not await self._swapped(min(LOCK_WAIT_SECONDS, patience_seconds)):
            if monotonic() > deadline:
                raise TablesInUse
        log.info("read models rebuilt", position=self._position, parked=self._parked)
        return Rebuilt(self._position, self._parked)

    def _tables(self) -> list[str]:
        return [table for projection in self._projections for table in projection.tables]

    async def _begin(self) -> None:
        """Empty tables, with checkpoints and parked events of their own, first in the search path."""
        async with self._connection.transaction():
            await self._do("DROP SCHEMA IF EXISTS {} CASCADE", SCHEMA)
            await self._do("CREATE SCHEMA {}", SCHEMA)
            for name in ("projection_checkpoints", "parked_events"):
                table = sql.Identifier(name)
                await self._do(
                    "CREATE TABLE {}.{} (LIKE {}.{} INCLUDING ALL)", SCHEMA, table, self._live, table
                )
            await self._do("SET search_path TO {}, {}", SCHEMA, self._live)
            for projection in self._projections:
                await self._connection.execute(projection.ddl)
                await set_checkpoint(self._connection, projection, 0)

    async def _index(self) -> None:
        """At the end, in one go: kept up row by row, indexes cost more than the rows."""
        for projection in self._projections:
            if projection.indexes:
                await self._connection.execute(projection.indexes)

    async def _catch_up(self) -> None:
        full = True
        while full:
            entries, full = await self._log.entries(self._connection, self._position)
            if not entries:
                return
            parked = await apply_batch(self._connection, Batch(self._projections, entries, self._position))
            self._position = entries[-1].position
            self._parked += len(parked)

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
