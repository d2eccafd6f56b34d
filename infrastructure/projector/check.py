"""Checking read models: the log is folded afresh beside them, and every difference is told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Literal, NamedTuple, Protocol
from uuid import UUID

from psycopg import AsyncConnection, IsolationLevel, errors, sql

from infrastructure.event_store.log import LogRewound, head
from infrastructure.postgres import with_liveness
from infrastructure.projector.batch import Quarantine, QuarantinedEvent
from infrastructure.projector.reading import NOTHING_ARCHIVED, Entry, WholeLog
from infrastructure.projector.workplace import existing_relations, live_schema
from infrastructure.sql import statements
from projections.projection import Projection

statement = statements("infrastructure.projector")

# What users wrote or servers answered may be secret: that it differs is told, not what it is.
_UNTOLD = frozenset({"text", "json", "jsonb", "character varying(255)"})
_WITHOUT_EQUALITY = frozenset({"json", "jsonb"})  # equal numbers of jsonb may be other bytes


class DifferentColumn(NamedTuple):
    """A column whose value is another one than the log tells.

    `told` False: `stored` and `expected` are left out, for they may be secret.
    """

    name: str
    told: bool
    stored: str | None
    expected: str | None


class Difference(NamedTuple):
    """A row of a read model that is not what the log tells.

    `missing`: it has to be there; `unexpected`: it must not; `different`: `columns` are wrong. `key` maps the
    columns of the primary key to their values.
    """

    projection: str
    table: str
    key: dict[str, str]
    kind: Literal["missing", "unexpected", "different"]
    columns: tuple[DifferentColumn, ...] = ()


class Column(NamedTuple):
    """A column as the catalogue knows it."""

    name: str
    sql_type: str
    in_key: bool

    @property
    def told(self) -> bool:
        """Whether its values may be shown."""
        return self.sql_type not in _UNTOLD

    def of(self, side: str) -> sql.Composable:
        """Its value in a table, as something that can be compared."""
        value = sql.Identifier(side, self.name)
        return sql.SQL("{}::text").format(value) if self.sql_type in _WITHOUT_EQUALITY else value

    def shown_of(self, side: str) -> sql.Composable:
        """Its value as text; NULL when that is not to be told."""
        return sql.SQL("{}::text").format(sql.Identifier(side, self.name)) if self.told else sql.SQL("NULL")


async def differences(
    connection: AsyncConnection, projection: str, table: str, *, live: str, fresh: str
) -> AsyncIterator[Difference]:
    """The rows of a table in the schema `live` that are not as in `fresh`, in the order of its key.

    Needs a transaction: rows are fetched as they are asked for.
    """
    columns = await _columns(connection, fresh, table)
    keys = [column.name for column in columns if column.in_key]
    others = [column for column in columns if not column.in_key]
    async with connection.cursor(name="differences") as cursor:
        await cursor.execute(_statement(columns, live=(live, table), fresh=(fresh, table)))
        async for stored, expected, key, *values in cursor:
            named = dict(zip(keys, key, strict=True))
            if stored and expected:
                yield Difference(projection, table, named, "different", tuple(_changed(others, *values)))
            else:
                yield Difference(projection, table, named, "unexpected" if stored else "missing")


def _changed(
    columns: Sequence[Column],
    changed: Sequence[bool],
    stored: Sequence[str | None],
    expected: Sequence[str | None],
) -> list[DifferentColumn]:
    rows = zip(columns, changed, stored, expected, strict=True)
    return [
        DifferentColumn(column.name, column.told, found, right)
        for column, differs, found, right in rows
        if differs
    ]


async def _columns(connection: AsyncConnection, schema: str, table: str) -> list[Column]:
    parameters = {"table": sql.Identifier(schema, table).as_string(connection)}
    cursor = await connection.execute(statement("table_columns"), parameters)
    return [Column(*row) for row in await cursor.fetchall()]


def _statement(columns: Sequence[Column], *, live: tuple[str, str], fresh: tuple[str, str]) -> sql.Composed:
    keys = [sql.Identifier(column.name) for column in columns if column.in_key]
    others = [column for column in columns if not column.in_key]
    stored = [column.of("live") for column in columns]
    expected = [column.of("fresh") for column in columns]
    changed = [
        sql.SQL("{} IS DISTINCT FROM {}").format(column.of("live"), column.of("fresh")) for column in others
    ]
    return sql.SQL(statement("table_differences").decode()).format(
        first=keys[0],
        key=_list(keys),
        key_values=_list([sql.SQL("{}::text").format(key) for key in keys]),
        changed=_list(changed),
        stored_values=_list([column.shown_of("live") for column in others]),
        expected_values=_list([column.shown_of("fresh") for column in others]),
        live=sql.Identifier(*live),
        fresh=sql.Identifier(*fresh),
        stored=_list(stored),
        expected=_list(expected),
    )


def _list(parts: Sequence[sql.Composable]) -> sql.Composed:
    return sql.SQL(", ").join(parts)


SCHEMA = "checking"
# What is appended while the log is read is read before the snapshot is taken, so that little is left for it.
PASSES = 3


class CheckRunning(Exception):
    """Another check is running on this database; wait until it is done."""

    def __init__(self) -> None:
        super().__init__("another check is running on this database; wait until it is done")


class NotCheckable(Exception):
    """A read model is not one that this release can check."""


class ReplayedMeanwhile(Exception):
    """QuarantinedEvent events were replayed while the log was read; check again."""

    def __init__(self, projection: Projection) -> None:
        super().__init__(
            f"parked events of {projection.name} were replayed while the log was read; check again"
        )


class CheckObserver(Protocol):
    """Hears how far a check is and what it finds, as soon as it is found."""

    def folded(self, position: int, until: int) -> None:
        """The log is folded up to a position, of those up to `until`."""

    def comparing(self, table: str) -> None:
        """All is folded; a table is compared now."""

    def refused(self, event: QuarantinedEvent) -> None:
        """An event cannot be applied, though the read model has not parked it."""

    def differs(self, difference: Difference) -> None:
        """A row is not what the log tells."""


class Checked(NamedTuple):
    """Where each read model stood, how many of its events were left out because they are parked, and how many
    rows differ, or events cannot be applied.
    """

    positions: dict[str, int]
    parked: dict[str, int]
    differences: int
    refused: int


async def check(
    dsn: str,
    projections: Sequence[Projection],
    observer: CheckObserver,
    whole_log: WholeLog = NOTHING_ARCHIVED,
) -> Checked:
    """Fold the log up to where the read models stand, in a schema of its own, and compare them with that.

    The log is read in short transactions; the last events and the tables are read in one snapshot, so that
    both are of the very same position. Nothing is locked but against `DROP`, and the projector goes on. What
    is parked in a read model is left out. What a killed check leaves behind, the next one drops. `dsn` must
    reach Postgres directly. Raises `CheckRunning`, `NotCheckable`, `ReplayedMeanwhile`, `LogRewound`,
    `ArchiveAway` and `psycopg.Error`.
    """
    async with await AsyncConnection.connect(with_liveness(dsn), autocommit=True) as connection:
        cursor = await connection.execute(statement("take_check"))
        if await cursor.fetchone() != (True,):
            raise CheckRunning
        live = await live_schema(connection)
        missing = set(_tables(projections)).difference(await existing_relations(connection, projections))
        if missing:
            raise _tables_missing(missing)
        async with _own_tables(connection, projections, live):
            return await _Check(connection, projections, live, observer, whole_log).run()


@asynccontextmanager
async def _own_tables(
    connection: AsyncConnection, projections: Sequence[Projection], live: str
) -> AsyncIterator[None]:
    """Empty tables, first in the search path for as long as they are needed."""
    own = sql.Identifier(SCHEMA)
    drop = sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(own)
    async with connection.transaction():
        await connection.execute(drop)
        await connection.execute(sql.SQL("CREATE SCHEMA {}").format(own))
        await connection.execute(sql.SQL("SET search_path TO {}, {}").format(own, sql.Identifier(live)))
        for projection in projections:
            await connection.execute(projection.ddl)
        for table in _tables(projections):
            # They are gone before anybody could miss them: neither disk nor replicas need their WAL.
            unlogged = sql.SQL("ALTER TABLE {} SET UNLOGGED").format(sql.Identifier(SCHEMA, table))
            await connection.execute(unlogged)
    try:
        yield
    finally:
        if not connection.closed:
            await connection.execute(drop)


class _Check:
    def __init__(
        self,
        connection: AsyncConnection,
        projections: Sequence[Projection],
        live: str,
        observer: CheckObserver,
        whole_log: WholeLog,
    ) -> None:
        self._log = whole_log
        self._connection = connection
        self._projections = projections
        self._live = live
        self._observer = observer
        self._position = 0
        self._parked: dict[str, set[int]] = {projection.name: set() for projection in projections}
        self._held: dict[str, dict[UUID, int]] = {projection.name: {} for projection in projections}
        self._refused = 0

    async def run(self) -> Checked:
        for _ in range(PASSES):
            until = min((await self._places()).values())
            await self._fold(self._projections, until)
            self._position = max(self._position, until)
        tables = sql.SQL(", ").join(sql.Identifier(SCHEMA, table) for table in _tables(self._projections))
        await self._connection.execute(sql.SQL("ANALYZE {}").format(tables))
        await self._connection.set_isolation_level(IsolationLevel.REPEATABLE_READ)
        async with self._connection.transaction():
            await self._keep_tables()
            places = await self._places()
            for projection in self._projections:
                await self._fold([projection], places[projection.name])
                await self._check_parked(projection, places[projection.name])
            found = await self._compare()
        parked = {name: len(positions) for name, positions in self._parked.items()}
        return Checked(places, parked, found, self._refused)

    async def _places(self) -> dict[str, int]:
        """How far each read model has come. Raises `NotCheckable` and `LogRewound`."""
        names = {"names": [projection.name for projection in self._projections]}
        cursor = await self._connection.execute(statement("read_places"), names)
        found = {name: (version, position) for name, version, position in await cursor.fetchall()}
        for projection in self._projections:
            version, _ = found.get(projection.name, (None, 0))
            _check_version(projection, version)
        places = {projection.name: found[projection.name][1] for projection in self._projections}
        furthest, ends_at = max(places.values()), await head(self._connection)
        if ends_at < furthest or min(places.values()) < self._position:
            raise LogRewound(ends_at, max(furthest, self._position))
        return places

    async def _keep_tables(self) -> None:
        """Before the snapshot is taken: tables that a rebuild swaps in afterwards would look empty in it."""
        names = _tables(self._projections)
        tables = sql.SQL(", ").join(sql.Identifier(self._live, table) for table in names)
        try:
            await self._connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(tables))
        except errors.UndefinedTable as error:
            raise _tables_missing(names) from error

    async def _fold(self, projections: Sequence[Projection], until: int) -> None:
        """Apply to projections what follows in the log, up to a position."""
        position = self._position
        while position < until:
            entries, _ = await self._log.entries(self._connection, position)
            position = min(entries[-1].position, until)
            for projection in projections:
                await self._apply(projection, [entry for entry in entries if entry.position <= until])
            self._observer.folded(position, until)

    async def _apply(self, projection: Projection, entries: Sequence[Entry]) -> None:
        parked = await self._parked_between(projection, entries[0].position, entries[-1].position)
        self._parked[projection.name] |= parked
        quarantine = Quarantine(self._connection, projection, self._held[projection.name])
        async with self._connection.transaction():
            await quarantine.apply([entry for entry in entries if entry.position not in parked])
        self._refused += len(quarantine.events)
        for event in quarantine.events:
            self._observer.refused(event)

    async def _parked_between(self, projection: Projection, first: int, last: int) -> set[int]:
        bounds = {"projection": projection.name, "first": first, "last": last}
        cursor = await self._connection.execute(statement("parked_between"), bounds)
        return {position for (position,) in await cursor.fetchall()}

    async def _check_parked(self, projection: Projection, until: int) -> None:
        if await self._parked_between(projection, 1, until) != self._parked[projection.name]:
            raise ReplayedMeanwhile(projection)

    async def _compare(self) -> int:
        found = 0
        for projection in self._projections:
            for table in projection.tables:
                self._observer.comparing(table)
                rows = differences(self._connection, projection.name, table, live=self._live, fresh=SCHEMA)
                async for difference in rows:
                    self._observer.differs(difference)
                    found += 1
        return found


def _tables(projections: Sequence[Projection]) -> list[str]:
    return [table for projection in projections for table in projection.tables]


def _tables_missing(tables: Iterable[str]) -> NotCheckable:
    return NotCheckable(
        f"tables of the read models are missing ({', '.join(sorted(tables))}); start a projector, or make "
        "them again with `chronoledger rebuild`"
    )


def _check_version(projection: Projection, found: int | None) -> None:
    if found is None:
        raise NotCheckable(
            f"the read model {projection.name} was never made here; start a projector, or "
            f"`chronoledger rebuild {projection.name}`"
        )
    if found != projection.version:
        raise NotCheckable(
            f"the read model {projection.name} has version {found}, this release makes {projection.version}; "
            f"wait until a projector of this release has rebuilt it, or check it with the other release"
        )
