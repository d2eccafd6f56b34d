"""What `/health` judges, read in one query."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import psycopg
from msgspec import Struct
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from infrastructure.postgres import first_line

# Probes give up soon, and should hear the reason before they do.
ANSWER_SECONDS = 3.0

# The age of the oldest event that some projection has not applied yet, and of the youngest beat of a role.
# What a projection that this release no longer has left behind is nobody's concern.
READ = """
WITH live AS (SELECT name, position FROM projection_checkpoints WHERE name = ANY (%(projections)s::text[]))
SELECT
    (SELECT max(notification_id) FROM events) AS head,
    (SELECT min(position) FROM live) AS projected,
    (SELECT max(position) FROM live) AS furthest,
    (SELECT extract(epoch FROM clock_timestamp() - recorded_at)::float8 FROM events
     WHERE notification_id > coalesce((SELECT min(position) FROM live), 0)
     ORDER BY notification_id LIMIT 1) AS oldest_unprojected_seconds,
    (SELECT extract(epoch FROM clock_timestamp() - max(heartbeat_at))::float8 FROM nodes
     WHERE role = 'projector') AS projector_beat_seconds,
    (SELECT extract(epoch FROM clock_timestamp() - max(heartbeat_at))::float8 FROM nodes
     WHERE role = 'scheduler') AS scheduler_beat_seconds,
    (SELECT count(*) FROM nodes WHERE role = 'scheduler' AND claims
     AND heartbeat_at > clock_timestamp() - interval '10 seconds') AS claiming,
    (SELECT (array_agg(clock_offset_ms / 1000.0::float8 ORDER BY abs(clock_offset_ms) DESC))[1] FROM nodes
     WHERE role = 'scheduler' AND NOT clock_right
     AND heartbeat_at > clock_timestamp() - interval '10 seconds') AS wrong_clock_seconds,
    (SELECT count(*) FROM parked_events WHERE projection = ANY (%(projections)s::text[])) AS parked,
    ARRAY(SELECT name FROM unnest(%(tables)s::text[]) AS name WHERE to_regclass(name) IS NULL) AS missing,
    to_regclass('standstill') IS NOT NULL AS fenced
"""


class Readiness(Struct, frozen=True, kw_only=True):
    """Positions in the log, ages in seconds (None: there is none), and the tables that are not there.

    `projected` and `furthest` are the least and the greatest checkpoint; `claiming` counts the schedulers
    that claim; `wrong_clock_seconds` is how far ahead the clock is that is furthest off, if one is too far;
    `fenced`: schedulers must not begin here.
    """

    head: int
    projected: int
    furthest: int
    oldest_unprojected_seconds: float | None
    projector_beat_seconds: float | None
    scheduler_beat_seconds: float | None
    claiming: int
    wrong_clock_seconds: float | None
    parked: int
    missing: list[str]
    fenced: bool


class DatabaseAway(Exception):
    """The database does not answer."""


class ReadinessReader:
    """Reads through a pool how ready the service is."""

    def __init__(self, pool: AsyncConnectionPool, projections: Sequence[str], tables: Sequence[str]) -> None:
        """The read models' names, and the tables of all of them."""
        self._pool = pool
        self._names = {"projections": list(projections), "tables": list(tables)}

    async def read(self) -> Readiness:
        """The signs now, within three seconds.

        Raises `DatabaseAway`, and `psycopg.Error` when the database answers with a refusal.
        """
        reading = asyncio.ensure_future(self._read())
        reading.add_done_callback(_retrieved)
        # Not asyncio.timeout: psycopg goes on waiting for a while for the query that it cancels.
        done, _ = await asyncio.wait({reading}, timeout=ANSWER_SECONDS)
        if not done:
            reading.cancel()
            raise DatabaseAway(f"nothing came within {ANSWER_SECONDS:.0f} seconds")
        return reading.result()

    async def _read(self) -> Readiness:
        try:
            async with self._pool.connection(timeout=2.0) as connection:
                row = await (await connection.execute(READ, self._names)).fetchone()
        except (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout, PoolClosed, OSError) as error:
            raise DatabaseAway(first_line(error)) from error
        assert row is not None
        return Readiness(
            head=row[0] or 0,
            projected=row[1] or 0,
            furthest=row[2] or 0,
            oldest_unprojected_seconds=row[3],
            projector_beat_seconds=row[4],
            scheduler_beat_seconds=row[5],
            claiming=row[6],
            wrong_clock_seconds=row[7],
            parked=row[8],
            missing=row[9],
            fenced=row[10],
        )


def _retrieved(reading: asyncio.Future[Readiness]) -> None:
    """Nobody may be waiting any more, and asyncio complains of errors that nobody has seen."""
    if not reading.cancelled():
        reading.exception()
