"""What the scheduler takes up from the read models: tasks that are due soon, executions that are not over."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec
from msgspec import Struct

from domain.definition import Definition
from projections.statements import statement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg_pool import AsyncConnectionPool

type Place = tuple[datetime, UUID]

_definition = msgspec.json.Decoder(Definition)


class DueRow(Struct, frozen=True, kw_only=True):
    """A task and the instant where it is due next."""

    task_id: UUID
    version: int
    namespace: str
    definition: Definition
    due_at: datetime


class UnfinishedRow(Struct, frozen=True, kw_only=True):
    """An execution that is not over: claimed by `node` until `lease_until`, or waiting for `retry_at`."""

    execution_id: UUID
    node: str
    lease_until: datetime | None
    retry_at: datetime | None


class DueReader:
    """The scheduler's queries. Both raise `psycopg.OperationalError` when the database is away."""

    def __init__(self, pool: AsyncConnectionPool) -> None:
        self._pool = pool

    async def page(self, after: Place | None, until: datetime, limit: int) -> tuple[int, Sequence[DueRow]]:
        """Up to `limit` tasks due after a place and not after `until`, in order, and the log position that
        they reflect: both from one snapshot.
        """
        after_at, after_id = after or (None, None)
        bounds = {"until": until, "after_at": after_at, "after_id": after_id, "limit": limit}
        async with self._pool.connection() as connection, connection.cursor(binary=True) as cursor:
            await cursor.execute(statement("due_page"), bounds, prepare=False)
            rows = await cursor.fetchall()
        due = [
            DueRow(
                task_id=task_id,
                version=version,
                namespace=namespace,
                definition=_definition.decode(definition),
                due_at=due_at,
            )
            for _, task_id, version, namespace, definition, due_at in rows
            if task_id is not None
        ]
        return rows[0][0], due

    async def unfinished(self, limit: int) -> Sequence[UnfinishedRow]:
        """Up to `limit` executions that are not over, those first that need somebody soonest."""
        async with self._pool.connection() as connection, connection.cursor(binary=True) as cursor:
            await cursor.execute(statement("unfinished_executions"), {"limit": limit})
            return [
                UnfinishedRow(execution_id=row[0], node=row[1], lease_until=row[2], retry_at=row[3])
                for row in await cursor.fetchall()
            ]
