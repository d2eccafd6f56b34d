"""The scheduler's queries: tasks that are due soon, and executions that are not over."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import psycopg
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from application.ports import DueTask, LogUnavailable, Open, SchedulePosition, Unfinished
from domain.definition import Definition
from domain.task import Pause
from projections.projection import statement

_ALWAYS = datetime.max.replace(tzinfo=UTC)

_definition = msgspec.json.Decoder(Definition)


class DueReader:
    """`application.ports.DueTasks` over the read models of one database."""

    def __init__(self, pool: AsyncConnectionPool) -> None:
        self._pool = pool

    async def page(
        self, after: SchedulePosition | None, until: datetime, limit: int
    ) -> tuple[int, Sequence[DueTask]]:
        """See `DueTasks`. Tasks and position are of one snapshot."""
        return await self._page(after, until, limit, None)

    async def place(self, task_id: UUID) -> tuple[int, DueTask | None]:
        """See `DueTasks`."""
        position, tasks = await self._page(None, _ALWAYS, 1, task_id)
        return position, tasks[0] if tasks else None

    async def _page(
        self, after: SchedulePosition | None, until: datetime, limit: int, task_id: UUID | None
    ) -> tuple[int, Sequence[DueTask]]:
        after_at, after_id = after or (None, None)
        bounds = {
            "until": until,
            "after_at": after_at,
            "after_id": after_id,
            "limit": limit,
            "task_id": task_id,
        }
        rows = await self._rows("due_page", bounds, prepare=False)
        return rows[0][0], [_due(*row) for _, *row in rows if row[0] is not None]

    async def open_runs(self) -> tuple[int, Sequence[Open]]:
        """See `DueTasks`."""
        rows = await self._rows("open_runs")
        return rows[0][0], [Open(*row) for _, *row in rows if row[0] is not None]

    async def unfinished(self, limit: int) -> Sequence[Unfinished]:
        """See `DueTasks`."""
        return [
            Unfinished(execution_id=execution_id, node=node, lease_until=lease_until, retry_at=retry_at)
            for execution_id, node, lease_until, retry_at in await self._rows(
                "unfinished_executions", {"limit": limit}
            )
        ]

    async def _rows(
        self, name: str, parameters: dict[str, Any] | None = None, *, prepare: bool | None = None
    ) -> list[tuple[Any, ...]]:
        try:
            async with self._pool.connection() as connection, connection.cursor(binary=True) as cursor:
                await cursor.execute(statement(name), parameters, prepare=prepare)
                return await cursor.fetchall()
        # A missing table is one that a rebuild is about to bring back.
        except (psycopg.Error, PoolTimeout, PoolClosed) as error:
            raise LogUnavailable(str(error)) from error


def _due(
    task_id: UUID,
    version: int,
    namespace: str,
    definition: str,
    due_at: datetime,
    runs: int,
    fire_at: datetime,
    *pause: datetime | None,
) -> DueTask:
    """A row of `due_page`; it ends with when the last pause began and ended."""
    since, until = pause
    return DueTask(
        task_id=task_id,
        version=version,
        namespace=namespace,
        definition=_definition.decode(definition),
        due_at=due_at,
        runs=runs,
        fire_at=fire_at,
        pause=Pause(since=since, until=until) if since and until else None,
    )
