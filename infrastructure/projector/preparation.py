"""Tables and checkpoints, before the first batch: what is there, what is missing, what is out of date."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from infrastructure.archive.catalogue import archives
from infrastructure.event_store.log import LogRewound, head
from infrastructure.projector.checkpoints import Checkpoint, lock_checkpoints, set_checkpoint
from infrastructure.sql import statements

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from psycopg import AsyncConnection

    from infrastructure.projector.ports import Projection

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
