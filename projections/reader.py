"""Queries over the read models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import asdict

from projections.catalogue import PROJECTIONS
from projections.figures import StoredFigures, figures, stored_figures
from projections.gathered import Gathered
from projections.lists import RESULTS, TASKS, read_page, result_of, task_filters, task_of
from projections.ordering import BadCursor, BadSort
from projections.statements import statement

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import datetime
    from uuid import UUID

    from psycopg_pool import AsyncConnectionPool

    from projections.views import Figures, Listing, Paging, ResultQuery, ResultView, TaskQuery, TaskView

__all__ = ["BadCursor", "BadSort", "ReadModels", "StoredFigures"]

type _Row = tuple[Any, ...]

_PROJECTIONS = [projection.name for projection in PROJECTIONS]


class ReadModels:
    """Answers from the read models of one database.

    Every method raises `psycopg.OperationalError` (a pool's timeout is one) when the database is away.
    """

    def __init__(self, pool: AsyncConnectionPool) -> None:
        self._pool = pool
        self._tasks = Gathered(self._reading("get_tasks"))
        self._results = Gathered(self._reading("get_results"))

    async def task(self, namespace: str, task_id: UUID) -> TaskView | None:
        """A task of a namespace."""
        row = await self._tasks.one(task_id)
        view = None if row is None else task_of(row)
        return view if view is not None and view.namespace == namespace else None

    async def result(self, namespace: str, result_id: UUID) -> ResultView | None:
        """An occurrence of a namespace."""
        row = await self._results.one(result_id)
        view = None if row is None else result_of(row)
        return view if view is not None and view.namespace == namespace else None

    async def tasks(self, query: TaskQuery, paging: Paging) -> Listing[TaskView]:
        """One page of tasks, the newest first unless told. Raises `BadSort` and `BadCursor`."""
        async with self._pool.connection() as connection:
            return await read_page(connection, TASKS, task_filters(query), paging)

    async def results(self, query: ResultQuery, paging: Paging) -> Listing[ResultView]:
        """One page of the ledger, what was due last first unless told. Raises `BadSort` and `BadCursor`."""
        async with self._pool.connection() as connection:
            return await read_page(connection, RESULTS, asdict(query), paging)

    async def figures(self, now: datetime) -> Figures:
        """The specification's metrics."""
        async with self._pool.connection() as connection:
            return await figures(connection, now)

    async def stored_figures(self) -> StoredFigures:
        """The counts behind the Prometheus metrics."""
        async with self._pool.connection() as connection:
            return await stored_figures(connection, _PROJECTIONS)

    async def runs(self, task_id: UUID) -> Sequence[tuple[UUID, bool]]:
        """Every execution of a task, and whether it is over as far as the ledger knows."""
        named = f'"task_id":"{task_id}"'.encode()
        return [tuple(row) for row in await self._rows("runs_of_task", {"task_id": task_id, "named": named})]

    async def checkpoint(self) -> int:
        """The position up to which every read model reflects the log."""
        rows = await self._rows("least_position", {"names": _PROJECTIONS})
        return int(rows[0][0])

    def _reading(self, name: str) -> Callable[[Sequence[UUID]], Awaitable[dict[UUID, _Row]]]:
        """Reads rows by their ids; whoever asked for one decodes it, so that a bad one fails nobody else."""

        async def read(ids: Sequence[UUID]) -> dict[UUID, _Row]:
            return {row[0]: row for row in await self._rows(name, {"ids": ids})}

        return read

    async def _rows(self, name: str, parameters: dict[str, Any]) -> list[_Row]:
        async with self._pool.connection() as connection, connection.cursor(binary=True) as cursor:
            await cursor.execute(statement(name), parameters)
            return await cursor.fetchall()
