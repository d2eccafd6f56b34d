"""The scheduler's port to the read models."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import psycopg
from psycopg_pool import PoolClosed, PoolTimeout

from application.ports import DueTask, LogUnavailable, Open, Unfinished
from domain.task import Pause

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime
    from uuid import UUID

    from application.ports import Place
    from projections.due import DueReader, DueRow


class DueTasksOfReadModels:
    """`application.ports.DueTasks` over the projections' queries."""

    def __init__(self, reader: DueReader) -> None:
        self._reader = reader

    async def page(self, after: Place | None, until: datetime, limit: int) -> tuple[int, Sequence[DueTask]]:
        """See `application.ports.DueTasks`."""
        with _as_unavailable():
            position, rows = await self._reader.page(after, until, limit)
        return position, [_due(row) for row in rows]

    async def place(self, task_id: UUID) -> tuple[int, DueTask | None]:
        """See `application.ports.DueTasks`."""
        with _as_unavailable():
            position, row = await self._reader.place(task_id)
        return position, None if row is None else _due(row)

    async def open_runs(self) -> tuple[int, Sequence[Open]]:
        """See `application.ports.DueTasks`."""
        with _as_unavailable():
            position, rows = await self._reader.open_runs()
        return position, [Open(*row) for row in rows]

    async def unfinished(self, limit: int) -> Sequence[Unfinished]:
        """See `application.ports.DueTasks`."""
        with _as_unavailable():
            rows = await self._reader.unfinished(limit)
        return [
            Unfinished(
                execution_id=row.execution_id,
                node=row.node,
                lease_until=row.lease_until,
                retry_at=row.retry_at,
            )
            for row in rows
        ]


def _due(row: DueRow) -> DueTask:
    return DueTask(
        task_id=row.task_id,
        version=row.version,
        namespace=row.namespace,
        definition=row.definition,
        due_at=row.due_at,
        runs=row.runs,
        fire_at=row.fires_at,
        pause=Pause(since=row.paused_at, until=row.resumed_at) if row.paused_at and row.resumed_at else None,
    )


@contextlib.contextmanager
def _as_unavailable() -> Iterator[None]:
    # A missing table is one that a rebuild is about to bring back.
    try:
        yield
    except (psycopg.Error, PoolTimeout, PoolClosed) as error:
        raise LogUnavailable(str(error)) from error
