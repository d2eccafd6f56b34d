"""Heartbeats in Postgres: `application.ports.Nodes` for schedulers, and the same for projectors."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg_pool import PoolClosed, PoolTimeout

from application.ports import LogUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from datetime import datetime

    from psycopg import AsyncConnection
    from psycopg_pool import AsyncConnectionPool

BEAT = (
    "INSERT INTO nodes (node, role, started_at, heartbeat_at) "
    "VALUES (%(node)s, %(role)s, clock_timestamp(), clock_timestamp()) "
    "ON CONFLICT (node, role) DO UPDATE SET heartbeat_at = excluded.heartbeat_at"
)
# A node that has been silent for a day has been taken over long ago.
FORGET = "DELETE FROM nodes WHERE role = %(role)s AND heartbeat_at < clock_timestamp() - interval '1 day'"
BEATS = "SELECT node, heartbeat_at FROM nodes WHERE role = %(role)s"
# As `/health` judges: a killed node's row stays for a day.
ALIVE = (
    "SELECT count(*) FROM nodes "
    "WHERE role = %(role)s AND heartbeat_at > clock_timestamp() - interval '10 seconds'"
)
LEAVE = "DELETE FROM nodes WHERE node = %(node)s AND role = %(role)s"


class PostgresNodes:
    """The nodes of one role."""

    def __init__(self, pool: AsyncConnectionPool, role: str) -> None:
        self._pool = pool
        self._role = role

    async def beat(self, node: str) -> None:
        """See `application.ports.Nodes`."""
        async with self._connection() as connection:
            await connection.execute(BEAT, {"node": node, "role": self._role})

    async def beats(self) -> Mapping[str, datetime]:
        """See `application.ports.Nodes`."""
        async with self._connection() as connection:
            await connection.execute(FORGET, {"role": self._role})
            cursor = await connection.execute(BEATS, {"role": self._role})
            return dict(await cursor.fetchall())

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
