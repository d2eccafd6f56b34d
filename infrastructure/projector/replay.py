"""Trying parked events again."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

import structlog
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from infrastructure.projector.batch import Sieve, lock_checkpoints, store_parked
from infrastructure.projector.reading import NOTHING_ARCHIVED, Projection, WholeLog
from infrastructure.sql import statements

statement = statements("infrastructure.projector")

_PAGE = 200

log = structlog.get_logger(__name__)


class Replayed(NamedTuple):
    """How many parked events are applied now, and how many still cannot be."""

    applied: int
    parked: int


class ParkedEventMissing(Exception):
    """An event is parked that the log does not hold; rebuild the read model."""

    def __init__(self, projection: Projection, position: int) -> None:
        super().__init__(
            f"event {position} is parked, and the log does not hold it; "
            f"make the read model anew with `chronoledger rebuild {projection.name}`"
        )


async def replay_parked(
    pool: AsyncConnectionPool, projection: Projection, whole_log: WholeLog = NOTHING_ARCHIVED
) -> Replayed:
    """Apply a projection's parked events in the order of the log, after their cause is mended.

    Events with the same key (the same task, or the same execution) were held back behind the first one that
    failed, so each key continues exactly where it stopped, and the rows come out as if nothing had happened.
    What a key cannot vouch for is an event so broken that its key could not be read: it was parked under its
    stream alone. A rebuild is right in every case. `whole_log` finds what is archived. Raises `ArchiveAway`,
    `ParkedEventMissing` and `psycopg.Error`.
    """
    held: dict[UUID, int] = {}
    applied = parked = 0
    after = 0
    while True:
        async with pool.connection() as connection, connection.transaction():
            await lock_checkpoints(connection, [projection])
            positions = await _parked_after(connection, projection, after)
            for position in positions:
                if await _retry(connection, projection, whole_log, held, position):
                    applied += 1
                else:
                    parked += 1
        if not positions:
            log.info("parked events replayed", projection=projection.name, applied=applied, parked=parked)
            return Replayed(applied, parked)
        after = positions[-1]


async def _parked_after(connection: AsyncConnection, projection: Projection, after: int) -> list[int]:
    parameters = {"projection": projection.name, "after": after, "limit": _PAGE}
    cursor = await connection.execute(statement("parked_positions"), parameters)
    return [position for (position,) in await cursor.fetchall()]


async def _retry(
    connection: AsyncConnection,
    projection: Projection,
    whole_log: WholeLog,
    held: dict[UUID, int],
    position: int,
) -> bool:
    sieve = Sieve(connection, projection, held)
    entries, _ = await whole_log.entries(connection, position - 1, 1)
    if [entry.position for entry in entries] != [position]:
        raise ParkedEventMissing(projection, position)
    await sieve.apply(entries)
    if sieve.parked:
        await store_parked(connection, projection, sieve.parked)
        return False
    parameters = {"projection": projection.name, "position": position}
    await connection.execute(statement("unpark_event"), parameters)
    return True
