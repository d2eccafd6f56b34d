"""Lists of read models: their statements, their filters, and a page of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, LiteralString

import msgspec
from msgspec import Struct
from msgspec.structs import asdict

from domain.definition import Definition
from projections.ordering import RESULT_SORTS, TASK_SORTS, Sort, counted_statement, order
from projections.plain import plain_text
from projections.statements import statement
from projections.views import AttemptView, Listing, Paging, ResultView, TaskQuery, TaskView

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import AsyncConnection, AsyncCursor

_definition = msgspec.json.Decoder(Definition)
_headers = msgspec.json.Decoder(dict[str, Any])
_attempts = msgspec.json.Decoder(list[AttemptView])


class List[V](Struct, frozen=True):
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
    shown: Callable[[tuple[Any, ...]], V]

    def source(self, filters: dict[str, Any]) -> LiteralString:
        """What the page is read from: what is quickest with these filters."""
        return self.view if filters["status"] is None else self.view_of_status

    def counting(self, filters: dict[str, Any]) -> str:
        """The statement that counts what these filters let through."""
        used = {name for name, value in filters.items() if value is not None}
        if used <= self.quick_filters:
            return self.quick_count
        return self.count if filters["status"] is None else self.count_of_status


async def read_page[V](
    connection: AsyncConnection, of: List[V], filters: dict[str, Any], paging: Paging
) -> Listing[V]:
    """One page of what the filters let through. Raises `BadSort` and `BadCursor`."""
    by = order(of.sorts, of.default_sort, paging.sort, paging.cursor)
    offset = 0 if by.last else (paging.page - 1) * paging.limit
    page = filters | by.parameters | {"limit": paging.limit + 1, "offset": offset}
    counting = of.counting(filters)
    async with connection.cursor(binary=True) as cursor:
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


async def _only(cursor: AsyncCursor) -> int:
    """The value of the only row."""
    row = await cursor.fetchone()
    assert row is not None, "it counts"
    return int(row[0])


def task_filters(query: TaskQuery) -> dict[str, Any]:
    """What the statements of the list of tasks bind for a query."""
    filters = asdict(query)
    if query.name is not None:
        filters["name"] = f"%{_literal(plain_text(query.name))}%"
    return filters


def _literal(text: str) -> str:
    """The text as a LIKE pattern that matches nothing but itself."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def task_of(row: tuple[Any, ...]) -> TaskView:
    """The task of a row of the list statement."""
    task_id, namespace, status, next_run, created_at, updated_at, version, stored, *rest = row
    paused_at, pause_note, redacted_at = rest
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
        redacted_at=redacted_at,
    )


# In the order in which the result statements select them: that of the view.
_RESULT_COLUMNS = ResultView.__struct_fields__


def result_of(row: tuple[Any, ...]) -> ResultView:
    """The occurrence of a row of the list statement."""
    values = dict(zip(_RESULT_COLUMNS, row, strict=True))
    headers = values["response_headers"]
    values["response_headers"] = None if headers is None else _headers.decode(headers)
    values["attempt_log"] = _attempts.decode(values["attempt_log"])
    return ResultView(**values)


TASKS = List(
    view="tasks",
    view_of_status="tasks_by_status",
    page="list_tasks",
    count="count_tasks",
    count_of_status="count_tasks_by_status",
    quick_count="total_tasks",
    quick_filters=frozenset({"namespace", "status"}),
    sorts=TASK_SORTS,
    default_sort="-created_at",
    shown=task_of,
)
RESULTS = List(
    view="task_results",
    view_of_status="task_results",
    page="list_results",
    count="count_results",
    count_of_status="count_results",
    quick_count="total_results",
    quick_filters=frozenset({"namespace", "status", "success"}),
    sorts=RESULT_SORTS,
    default_sort="-due_at",
    shown=result_of,
)
