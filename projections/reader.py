"""Queries over the read models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, LiteralString

import msgspec
from msgspec import Struct
from msgspec.structs import asdict

from domain.definition import Definition
from projections.catalogue import PROJECTIONS
from projections.figures import StoredFigures, figures, stored_figures
from projections.gathered import Gathered
from projections.ordering import (
    RESULT_SORTS,
    TASK_SORTS,
    BadCursor,
    BadSort,
    Sort,
    counted_statement,
    order,
)
from projections.plain import plain_text
from projections.statements import statement
from projections.views import (
    AttemptView,
    Figures,
    Listing,
    Paging,
    ResultQuery,
    ResultView,
    TaskQuery,
    TaskView,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import datetime
    from uuid import UUID

    from psycopg import AsyncCursor
    from psycopg_pool import AsyncConnectionPool

__all__ = ["BadCursor", "BadSort", "ReadModels", "StoredFigures"]

type _Row = tuple[Any, ...]

_PROJECTIONS = [projection.name for projection in PROJECTIONS]

_definition = msgspec.json.Decoder(Definition)
_headers = msgspec.json.Decoder(dict[str, Any])
_attempts = msgspec.json.Decoder(list[AttemptView])


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
        view = None if row is None else _task(row)
        return view if view is not None and view.namespace == namespace else None

    async def result(self, namespace: str, result_id: UUID) -> ResultView | None:
        """An occurrence of a namespace."""
        row = await self._results.one(result_id)
        view = None if row is None else _result(row)
        return view if view is not None and view.namespace == namespace else None

    async def tasks(self, query: TaskQuery, paging: Paging) -> Listing[TaskView]:
        """One page of tasks, the newest first unless told. Raises `BadSort` and `BadCursor`."""
        filters = asdict(query)
        if query.name is not None:
            filters["name"] = f"%{_literal(plain_text(query.name))}%"
        return await self._page(_TASKS, filters, paging)

    async def results(self, query: ResultQuery, paging: Paging) -> Listing[ResultView]:
        """One page of the ledger, what was due last first unless told. Raises `BadSort` and `BadCursor`."""
        return await self._page(_RESULTS, asdict(query), paging)

    async def figures(self, now: datetime) -> Figures:
        """The specification's metrics."""
        async with self._pool.connection() as connection:
            return await figures(connection, now)

    async def stored_figures(self) -> StoredFigures:
        """The counts behind the Prometheus metrics."""
        async with self._pool.connection() as connection:
            return await stored_figures(connection, _PROJECTIONS)

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

    async def _page[V](self, of: _List[V], filters: dict[str, Any], paging: Paging) -> Listing[V]:
        by = order(of.sorts, of.default_sort, paging.sort, paging.cursor)
        offset = 0 if by.last else (paging.page - 1) * paging.limit
        page = filters | by.parameters | {"limit": paging.limit + 1, "offset": offset}
        counting = of.counting(filters)
        async with self._pool.connection() as connection, connection.cursor(binary=True) as cursor:
            # Planned with the values at hand: a plan for any values could not tell which filters are set.
            listing = counted_statement(of.page, counting, of.source(filters), by.name, by.sort)
            await cursor.execute(listing, page, prepare=False)
            rows = await cursor.fetchall()
            if not rows:
                await cursor.execute(statement(counting), filters, prepare=False)
            total = rows[0][-1] if rows else await _only(cursor)
        items = [of.shown(row[:-1]) for row in rows]
        more = len(items) > paging.limit
        del items[paging.limit :]
        return Listing(
            items=items,
            total=total,
            page=paging.page,
            limit=paging.limit,
            next_cursor=by.cursor(items[-1]) if more else None,
        )


class _List[V](Struct, frozen=True):
    """A list's statements: a page, how many there are, and the quick count where few filters are set.

    With a status other tables serve best.
    """

    view: LiteralString
    view_of_status: LiteralString
    page: str
    count: str
    count_of_status: str
    quick_count: str
    quick_filters: frozenset[str]
    sorts: dict[str, Sort]
    default_sort: str
    shown: Callable[[_Row], V]

    def source(self, filters: dict[str, Any]) -> LiteralString:
        """What the page is read from: what is quickest with these filters."""
        return self.view if filters["status"] is None else self.view_of_status

    def counting(self, filters: dict[str, Any]) -> str:
        """The statement that counts what these filters let through."""
        used = {name for name, value in filters.items() if value is not None}
        if used <= self.quick_filters:
            return self.quick_count
        return self.count if filters["status"] is None else self.count_of_status


async def _only(cursor: AsyncCursor) -> int:
    """The value of the only row."""
    row = await cursor.fetchone()
    assert row is not None, "it counts"
    return int(row[0])


def _literal(text: str) -> str:
    """The text as a LIKE pattern that matches nothing but itself."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _task(row: _Row) -> TaskView:
    task_id, namespace, status, next_run, created_at, updated_at, version, stored, paused_at, pause_note = row
    definition = _definition.decode(stored)
    return TaskView(
        id=task_id,
        namespace=namespace,
        **{name: getattr(definition, name) for name in Definition.__struct_fields__},
        status=status,
        next_run=next_run,
        created_at=created_at,
        updated_at=updated_at,
        version=version,
        paused_at=paused_at,
        pause_note=pause_note,
    )


# In the order in which the result statements select them: that of the view.
_RESULT_COLUMNS = ResultView.__struct_fields__


def _result(row: _Row) -> ResultView:
    values = dict(zip(_RESULT_COLUMNS, row, strict=True))
    headers = values["response_headers"]
    values["response_headers"] = None if headers is None else _headers.decode(headers)
    values["attempt_log"] = _attempts.decode(values["attempt_log"])
    return ResultView(**values)


_TASKS = _List(
    view="tasks",
    view_of_status="tasks_by_status",
    page="list_tasks",
    count="count_tasks",
    count_of_status="count_tasks_by_status",
    quick_count="total_tasks",
    quick_filters=frozenset({"namespace", "status"}),
    sorts=TASK_SORTS,
    default_sort="-created_at",
    shown=_task,
)
_RESULTS = _List(
    view="task_results",
    view_of_status="task_results",
    page="list_results",
    count="count_results",
    count_of_status="count_results",
    quick_count="total_results",
    quick_filters=frozenset({"namespace", "status", "success"}),
    sorts=RESULT_SORTS,
    default_sort="-due_at",
    shown=_result,
)
