"""Heartbeats in Postgres: `application.ports.Nodes` for schedulers, and the same for projectors."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import psycopg
from msgspec import Struct
from msgspec.structs import asdict
from psycopg import AsyncConnection
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from application.ports import Beat, HeartbeatPayload, LogUnavailable

BEAT = """
INSERT INTO nodes (
    node, role, started_at, heartbeat_at,
    claims, clock_right, clock_offset_ms, share, in_flight, entries, position
) VALUES (
    %(node)s, %(role)s, clock_timestamp(), clock_timestamp(),
    %(claims)s, %(clock_right)s, %(clock_offset_ms)s, %(share)s, %(in_flight)s, %(entries)s, %(position)s
)
ON CONFLICT (node, role) DO UPDATE SET
    heartbeat_at = excluded.heartbeat_at,
    claims = excluded.claims,
    clock_right = excluded.clock_right,
    clock_offset_ms = excluded.clock_offset_ms,
    share = excluded.share,
    in_flight = excluded.in_flight,
    entries = excluded.entries,
    position = excluded.position
RETURNING clock_timestamp()
"""
# A node that has been silent for a day has been taken over long ago. One statement, as looks come often.
BEATS = """
WITH forgotten AS (
    DELETE FROM nodes WHERE role = %(role)s AND heartbeat_at < clock_timestamp() - interval '1 day'
    RETURNING node
)
SELECT node, heartbeat_at, clock_timestamp() - heartbeat_at, claims FROM nodes
WHERE role = %(role)s AND node NOT IN (SELECT node FROM forgotten)
"""
# As `/health` judges: a killed node's row stays for a day.
ALIVE = (
    "SELECT count(*) FROM nodes "
    "WHERE role = %(role)s AND heartbeat_at > clock_timestamp() - interval '10 seconds'"
)
# A scheduler is as far as it has followed the log, a projector as the slowest projection.
SHOWN = """
WITH head AS (SELECT coalesce(max(notification_id), 0) AS position FROM events)
SELECT
    node AS name, role, started_at,
    extract(epoch FROM clock_timestamp() - heartbeat_at)::float8 AS heartbeat_age_seconds,
    claims, clock_right, clock_offset_ms / 1000.0::float8 AS clock_offset_seconds,
    share, in_flight, entries AS due_index_entries,
    head.position - CASE role
        WHEN 'projector' THEN (
            SELECT min(checkpoint.position) FROM projection_checkpoints AS checkpoint
            WHERE checkpoint.name = ANY (%(projections)s::text[])
        )
        ELSE nodes.position
    END AS lag_events
FROM nodes, head
ORDER BY role, started_at, node
"""
LEAVE = "DELETE FROM nodes WHERE node = %(node)s AND role = %(role)s"

NOTHING_SAID: Mapping[str, object] = dict.fromkeys(HeartbeatPayload.__struct_fields__) | {
    "claims": False,
    "clock_right": True,
}


class NodeRow(Struct, frozen=True, kw_only=True):
    """A node as it was at its last beat; what only schedulers say is None for a projector.

    A positive offset is a clock ahead of the database's; the lag is in events of the log.
    """

    name: str
    role: Literal["projector", "scheduler"]
    started_at: datetime
    heartbeat_age_seconds: float
    claims: bool
    clock_right: bool
    clock_offset_seconds: float | None
    share: float | None
    in_flight: int | None
    due_index_entries: int | None
    lag_events: int | None


class PostgresNodes:
    """The nodes of one role."""

    def __init__(self, pool: AsyncConnectionPool, role: str) -> None:
        self._pool = pool
        self._role = role

    async def beat(self, node: str, payload: HeartbeatPayload | None = None) -> datetime:
        """See `application.ports.Nodes`."""
        said = NOTHING_SAID if payload is None else asdict(payload)
        async with self._connection() as connection:
            cursor = await connection.execute(BEAT, {"node": node, "role": self._role, **said})
            row = await cursor.fetchone()
        assert row is not None
        now: datetime = row[0]
        return now

    async def beats(self) -> Mapping[str, Beat]:
        """See `application.ports.Nodes`."""
        async with self._connection() as connection:
            cursor = await connection.execute(BEATS, {"role": self._role})
            return {node: Beat(at, age, claims) for node, at, age, claims in await cursor.fetchall()}

    async def alive(self) -> int:
        """How many nodes have beaten within the last ten seconds. Raises `LogUnavailable`."""
        async with self._connection() as connection:
            cursor = await connection.execute(ALIVE, {"role": self._role})
            row = await cursor.fetchone()
            return int(row[0]) if row else 0

    async def leave(self, node: str) -> None:
        """See `application.ports.Nodes`."""
        async with self._connection() as connection:
            await connection.execute(LEAVE, {"node": node, "role": self._role})

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[AsyncConnection[Any]]:
        try:
            async with self._pool.connection() as connection:
                yield connection
        except (psycopg.Error, PoolTimeout, PoolClosed) as error:
            raise LogUnavailable(str(error)) from error


class NodeTable:
    """The nodes of every role, for those who want to see them."""

    def __init__(self, pool: AsyncConnectionPool, projections: Sequence[str]) -> None:
        """`projections` are the names of the read models."""
        self._pool = pool
        self._names = {"projections": list(projections)}

    async def rows(self) -> Sequence[NodeRow]:
        """All that have beaten within a day and have not left. Raises `psycopg.OperationalError`."""
        async with self._pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(SHOWN, self._names)
            return [NodeRow(**row) for row in await cursor.fetchall()]
