"""Where read models are built anew: a schema of its own, which outlives a rebuild that was interrupted."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from functools import cache
from importlib import resources
from importlib.metadata import version
from importlib.resources.abc import Traversable
from typing import ClassVar, Literal, NamedTuple
from uuid import UUID

from msgspec.structs import replace
from psycopg import AsyncConnection, sql

from domain.facts import EventsRedacted
from infrastructure.archive.catalog import Wanted, archives
from infrastructure.event_store.log import LogRewound, head
from infrastructure.event_store.mapper import FACT_TYPES
from infrastructure.projector.batch import (
    Checkpoint,
    CheckpointMoved,
    lock_checkpoints,
    read_positions,
    set_checkpoint,
)
from infrastructure.sql import statements
from projections.projection import Entry, Projection

_SOURCES = (".py", ".sql")


@cache
def this_fold() -> str:
    """That of this release, of its sources in `projections/`, and of how a log is shared out."""
    shares = resources.files("infrastructure.projector") / "workplace.py"
    return fold_of(version("chronoledger"), resources.files("projections"), shares.read_bytes())


def fold_of(release: str, folder: Traversable, *others: bytes) -> str:
    """The SHA-256, in hexadecimal digits, of a release, of all sources of a folder, and of others."""
    digest = hashlib.sha256(repr((release, *others)).encode())
    for name, content in sorted(_sources(folder, "")):
        digest.update(repr((name, content)).encode())
    return digest.hexdigest()


def _sources(folder: Traversable, path: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        name = f"{path}/{entry.name}"
        if entry.is_dir():
            yield from _sources(entry, name)
        elif name.endswith(_SOURCES):
            yield name, entry.read_bytes()


statement = statements("infrastructure.projector")


type Relation = Literal["table", "view"]


class LaterRelease(Exception):
    """A read model was written by a later release; run that one, or rebuild with this one."""

    def __init__(self, projection: Projection, found: int) -> None:
        super().__init__(
            f"the read model {projection.name} has version {found}, this release knows {projection.version}; "
            f"run the later release, or `chronoledger rebuild {projection.name}`"
        )


class Prepared(NamedTuple):
    """`current` can go on from their checkpoints; `outdated` have to be rebuilt.

    `rewound` is set when some of those know of events that the log no longer holds.
    """

    current: list[Projection]
    outdated: list[Projection]
    rewound: LogRewound | None


async def prepare(connection: AsyncConnection, projections: Sequence[Projection]) -> Prepared:
    """Create the tables of projections that never ran here, and tell which others have to be rebuilt.

    Safe to call from any number of processes at once. Raises `LaterRelease`.
    """
    async with connection.transaction():
        await connection.execute(statement("lock_preparation"))
        checkpoints = await lock_checkpoints(connection, projections)
        existing = set(await existing_relations(connection, projections))
        prepared = Prepared([], [], await _rewound(connection, checkpoints.values()))
        gone = await _gone_up_to(connection)
        for projection in projections:
            checkpoint = checkpoints.get(projection.name)
            if checkpoint is None and not gone and existing.isdisjoint(relations(projection)):
                await _create(connection, projection)
                prepared.current.append(projection)
            elif (
                checkpoint is not None
                and _is_current(projection, checkpoint, existing, prepared.rewound)
                and checkpoint.position >= gone
            ):
                prepared.current.append(projection)
            else:
                prepared.outdated.append(projection)
        return prepared


async def _gone_up_to(connection: AsyncConnection) -> int:
    """The last position that is in an archive alone: who is before it would miss what lies there."""
    known = await archives(connection)
    return max((archive.last_position for archive in known if archive.away), default=0)


async def _rewound(connection: AsyncConnection, checkpoints: Iterable[Checkpoint]) -> LogRewound | None:
    furthest = max((checkpoint.position for checkpoint in checkpoints), default=0)
    ends_at = await head(connection)
    return LogRewound(ends_at, furthest) if ends_at < furthest else None


def _is_current(
    projection: Projection, checkpoint: Checkpoint, existing: set[str], rewound: LogRewound | None
) -> bool:
    if checkpoint.version > projection.version:
        raise LaterRelease(projection, checkpoint.version)
    if rewound and checkpoint.position > rewound.head:
        return False
    return checkpoint.version == projection.version and existing.issuperset(relations(projection))


async def _create(connection: AsyncConnection, projection: Projection) -> None:
    await connection.execute(projection.ddl)
    if projection.indexes:
        await connection.execute(projection.indexes)
    await set_checkpoint(connection, projection, 0)


def relations(projection: Projection) -> tuple[str, ...]:
    """Views, and then the tables that they are made of."""
    return projection.views + projection.tables


async def existing_relations(
    connection: AsyncConnection, projections: Iterable[Projection]
) -> dict[str, Relation]:
    """Those of these projections that the current schema has."""
    names = [name for projection in projections for name in relations(projection)]
    cursor = await connection.execute(statement("existing_tables"), {"names": names})
    return {name: "view" if kind == "v" else "table" for name, kind in await cursor.fetchall()}


async def live_schema(connection: AsyncConnection) -> str:
    """The schema in which the read models live."""
    cursor = await connection.execute(statement("live_schema"))
    [(name,)] = await cursor.fetchall()
    return str(name)


LAST_BYTES = 256
# What `tasks` costs, as a part of all that is folded stream by stream.
ACROSS_COST = 0.3


class Share(NamedTuple):
    """One of two or more, counted from 1."""

    number: int
    of: int

    def parts(self, projections: Sequence[Projection]) -> list[Projection]:
        """What this share folds of these projections, each with a checkpoint named after its streams."""
        wanted = self.wanted(projections)
        streams = _Streams(wanted)
        here = [each for each in projections if self.number == 1 or not each.across]
        return [_Part(each, f"{each.name} {wanted.first}+{wanted.width}", streams) for each in here]

    def wanted(self, projections: Sequence[Projection]) -> Wanted:
        """What it reads of the log: its streams, and what it needs of all."""
        across = {fact for each in projections for fact in each.across}
        first = round(LAST_BYTES * max(0.0, 1 - (ACROSS_COST if across else 0) * (self.of - 1)) / self.of)
        bounds = [0, *[first + (LAST_BYTES - first) * step // (self.of - 1) for step in range(self.of)]]
        begin, end = bounds[self.number - 1 : self.number + 1]
        needed = {EventsRedacted} | (across if self.number == 1 else set())
        return Wanted(begin, end - begin, frozenset(fact.topic for fact in FACT_TYPES if fact in needed))


def can_be_shared(projections: Iterable[Projection]) -> bool:
    """Whether there is anything to fold stream by stream."""
    return any(not each.across for each in projections)


def at_work(projections: Sequence[Projection], shares: int) -> Sequence[Projection]:
    """What so many processes have checkpoints for: the parts of all shares; of one, the projections."""
    if shares == 1:
        return projections
    return [part for number in range(shares) for part in Share(number + 1, shares).parts(projections)]


class _Part:
    """What a share folds of a projection, into the same tables."""

    tables: ClassVar[tuple[str, ...]] = ()
    views: ClassVar[tuple[str, ...]] = ()
    across: ClassVar[frozenset[type]] = frozenset()
    ddl: ClassVar[bytes] = b""
    indexes: ClassVar[bytes] = b""

    def __init__(self, projection: Projection, name: str, streams: _Streams) -> None:
        self._projection = projection
        self._streams = streams
        self.name = name
        self.version = projection.version

    def key(self, entry: Entry) -> UUID:
        return self._projection.key(entry)

    def apply(self, connection: AsyncConnection, entries: Sequence[Entry]) -> AsyncGenerator[None]:
        across = self._projection.across
        if across:
            return self._projection.apply(
                connection, [entry for entry in entries if type(entry.fact) in across]
            )
        return self._projection.apply(connection, self._streams.of(entries))


class _Streams:
    """The streams of a share: what is told of them, looked for once for all that fold it."""

    def __init__(self, wanted: Wanted) -> None:
        self._has = wanted.has
        self._entries: Sequence[Entry] = ()
        self._own: Sequence[Entry] = ()

    def of(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """What some entries tell of them."""
        if entries is not self._entries:
            self._entries, self._own = entries, list(self._told(entries))
        return self._own

    def _told(self, entries: Sequence[Entry]) -> Iterator[Entry]:
        has = self._has
        for entry in entries:
            if type(entry.fact) is EventsRedacted:
                yield self._narrowed(entry, entry.fact)
            elif has(entry.stream):
                yield entry

    def _narrowed(self, entry: Entry, fact: EventsRedacted) -> Entry:
        """A rewriting of its own streams alone: to take out the rows of others is not its business."""
        rewritten = tuple(event for event in fact.rewritten if self._has(event.stream))
        return replace(entry, fact=replace(fact, rewritten=rewritten))  # type: ignore[type-var]  # all entries are structs


SCHEMA = sql.Identifier("rebuilding")
_INDEXED = "indexed"
_SHARES = " shares"


class NewTablesLost(Exception):
    """The tables that were being built are gone, or another process has written to them."""

    def __init__(self) -> None:
        super().__init__(
            "the tables that were being built are gone, or another process has written to them; rebuild again"
        )


class Workplace(NamedTuple):
    """Tables that reflect the log up to `position`, `parked` events left out; `indexed`: with all indexes.

    `shares`: so many processes each have folded their share of the log, at least up to there.
    """

    position: int
    parked: int = 0
    indexed: bool = False
    shares: int = 1


async def take_up(
    connection: AsyncConnection, projections: Sequence[Projection], live: sql.Identifier
) -> Workplace | None:
    """What an interrupted rebuild of the very same tables has left, first in the search path from now on.

    None when there is nothing to go on from: no such tables, others, some that other code has filled, or some
    that know of events which the log does not hold.
    """
    cursor = await connection.execute(statement("read_workplace"))
    [(told,)] = await cursor.fetchall()
    plan, _, state = (told or "").partition(" ")
    if plan != _plan(projections):
        return None
    await enter(connection, live)
    shares = int(state.removesuffix(_SHARES)) if state.endswith(_SHARES) else 1
    expected = at_work(projections, shares)
    positions = await read_positions(connection, expected)
    reached = set(positions.values())
    if len(positions) < len(expected) or max(reached) > await head(connection):
        return None
    if shares == 1 and len(reached) > 1:
        return None
    cursor = await connection.execute(statement("count_parked"))
    [(parked,)] = await cursor.fetchall()
    return Workplace(min(reached), parked, state == _INDEXED, shares)


async def set_up(
    connection: AsyncConnection, projections: Sequence[Projection], live: sql.Identifier, shares: int = 1
) -> Workplace:
    """Empty tables, with checkpoints and parked events of their own, first in the search path.

    With more `shares` than one so many processes fold the log, and have the checkpoints.
    """
    async with connection.transaction():
        await _do(connection, "DROP SCHEMA IF EXISTS {} CASCADE", SCHEMA)
        await _do(connection, "CREATE SCHEMA {}", SCHEMA)
        for name in ("projection_checkpoints", "parked_events"):
            table = sql.Identifier(name)
            await _do(connection, "CREATE TABLE {}.{} (LIKE {}.{} INCLUDING ALL)", SCHEMA, table, live, table)
        await enter(connection, live)
        for projection in projections:
            await connection.execute(projection.ddl)
        for each in at_work(projections, shares):
            await set_checkpoint(connection, each, 0)
        await _tell(connection, projections, f"{shares}{_SHARES}" if shares > 1 else "")
    return Workplace(0, shares=shares)


async def bring_together(
    connection: AsyncConnection, projections: Sequence[Projection], shares: int, position: int
) -> None:
    """All of them have come to a position: the tables are there as well. Raises `CheckpointMoved`."""
    parts = at_work(projections, shares)
    async with connection.transaction():
        reached = {checkpoint.position for checkpoint in (await lock_checkpoints(connection, parts)).values()}
        if reached != {position}:
            raise CheckpointMoved
        names = {"names": [part.name for part in parts]}
        await connection.execute(statement("forget_checkpoints"), names)
        for projection in projections:
            await set_checkpoint(connection, projection, position)
        await _tell(connection, projections, "")


async def index(connection: AsyncConnection, projections: Sequence[Projection]) -> None:
    """Make the indexes, all of them or none: kept up row by row, they cost more than the rows."""
    async with connection.transaction():
        for projection in projections:
            if projection.indexes:
                await connection.execute(projection.indexes)
        await _tell(connection, projections, _INDEXED)


def _plan(projections: Sequence[Projection]) -> str:
    """Tells what is being built: another release may build other tables under these names, or other rows."""
    parts = [(one.name, str(one.version), one.ddl, one.indexes or "") for one in projections]
    return hashlib.sha256(repr((parts, this_fold())).encode()).hexdigest()


async def enter(connection: AsyncConnection, live: sql.Identifier) -> None:
    """Have it first in the search path."""
    await _do(connection, "SET search_path TO {}, {}", SCHEMA, live)


async def _tell(connection: AsyncConnection, projections: Sequence[Projection], state: str) -> None:
    told = f"{_plan(projections)} {state}".rstrip()
    await _do(connection, "COMMENT ON SCHEMA {} IS {}", SCHEMA, sql.Literal(told))


async def _do(connection: AsyncConnection, text: str, *parts: sql.Composable) -> None:
    """Run a statement about schemas and tables, whose names no parameter can carry."""
    await connection.execute(sql.SQL(text).format(*parts))
