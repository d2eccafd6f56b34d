"""What the scheduler takes up from the read models: tasks that are due soon, executions that are not over."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import msgspec
from msgspec import Struct
from psycopg_pool import AsyncConnectionPool

from domain.definition import Definition
from projections.statements import statement

type SchedulePosition = tuple[datetime, UUID]

_ALWAYS = datetime.max.replace(tzinfo=UTC)

_definition = msgspec.json.Decoder(Definition)


class DueRow(Struct, frozen=True, kw_only=True):
    """A task and the instant where it is due next; it was last paused from `paused_at` to `resumed_at`."""

    task_id: UUID
    version: int
    namespace: str
    definition: Definition
    due_at: datetime
    runs: int
    fires_at: datetime
    paused_at: datetime | None = None
    resumed_at: datetime | None = None


class UnfinishedRow(Struct, frozen=True, kw_only=True):
    """An execution that is not over: claimed by `node` until `lease_until`, or waiting for `retry_at`.

    `node` None: a user has requested it, and nobody has claimed it yet.
    """

    execution_id: UUID
    node: str | None
    lease_until: datetime | None
    retry_at: datetime | None


class DueReader:
    """The scheduler's queries. All raise `psycopg.OperationalError` when the database is away."""

    def __init__(self, pool: AsyncConnectionPool) -> None:
        self._pool = pool

    async def page(
        self, after: SchedulePosition | None, until: datetime, limit: int
    ) -> tuple[int, Sequence[DueRow]]:
        """Up to `limit` tasks to fire after a place and not after `until`, in order, and the position that
        they reflect: both from one snapshot.
        """
        return await self._page(after, until, limit, None)

    async def place(self, task_id: UUID) -> tuple[int, DueRow | None]:
        """Where one task stands, None when it is not due at any time; and the log position as in `page`."""
        position, rows = await self._page(None, _ALWAYS, 1, task_id)
        return position, rows[0] if rows else None

    async def _page(
        self, after: SchedulePosition | None, until: datetime, limit: int, task_id: UUID | None
    ) -> tuple[int, Sequence[DueRow]]:
        after_at, after_id = after or (None, None)
        bounds = {
            "until": until,
            "after_at": after_at,
            "after_id": after_id,
            "limit": limit,
            "task_id": task_id,
        }
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
                runs=runs,
                fires_at=fires_at,
                paused_at=paused_at,
                resumed_at=resumed_at,
            )
            for (
                _,
                task_id,
                version,
                namespace,
                definition,
                due_at,
                runs,
                fires_at,
                paused_at,
                resumed_at,
            ) in rows
            if task_id is not None
        ]
        return rows[0][0], due

    async def open_runs(self) -> tuple[int, Sequence[tuple[UUID, UUID, bool]]]:
        """Task, execution and whether it is queued, of every scheduled occurrence that is not over: started
        ones, oldest first, then queued ones in the order of the log; and the position that they reflect.
        """
        async with self._pool.connection() as connection, connection.cursor(binary=True) as cursor:
            await cursor.execute(statement("open_runs"))
            rows = await cursor.fetchall()
        return rows[0][0], [tuple(row[1:]) for row in rows if row[1] is not None]

    async def unfinished(self, limit: int) -> Sequence[UnfinishedRow]:
        """Executions that are not over, those first that need somebody soonest.

        Up to `limit` of those claimed, and as many of those requested.
        """
        async with self._pool.connection() as connection, connection.cursor(binary=True) as cursor:
            await cursor.execute(statement("unfinished_executions"), {"limit": limit})
            return [
                UnfinishedRow(execution_id=row[0], node=row[1], lease_until=row[2], retry_at=row[3])
                for row in await cursor.fetchall()
            ]
