"""Queries over the read models, as they are now and, folded from the log, as they were."""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, LiteralString
from uuid import UUID

import msgspec
from msgspec import Struct
from msgspec.structs import asdict
from psycopg import AsyncConnection, AsyncCursor, sql
from psycopg_pool import AsyncConnectionPool

from domain.definition import Definition
from projections import PROJECTIONS, statistics, tasks
from projections.projection import Entry, statement
from projections.rows import plain_text
from projections.statistics import StoredFigures, Tally, figures, figures_of, stored_figures
from projections.tasks import TaskRow
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

MOST_AT_ONCE = 500


class CoalescedReads[K, V]:
    """Answers one key at a time from reads of many.

    A read begins after all that it answers was asked for, so everybody sees what was committed by then. Under
    load one round trip serves many callers, and without it nobody waits for company.
    """

    def __init__(self, read: Callable[[Sequence[K]], Awaitable[Mapping[K, V]]]) -> None:
        self._read = read
        self._waiting: list[tuple[K, asyncio.Future[V | None]]] = []
        self._reading: asyncio.Task[None] | None = None

    async def one(self, key: K) -> V | None:
        """What is read for a key, None: nothing. Raises what the read raises."""
        answer: asyncio.Future[V | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((key, answer))
        if self._reading is None:
            self._reading = asyncio.create_task(self._read_on(), name="coalesced-reads")
        return await answer

    async def _read_on(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:MOST_AT_ONCE], self._waiting[MOST_AT_ONCE:]
                await self._serve(batch)
        finally:
            self._reading = None
            for _, answer in self._waiting:
                answer.cancel()

    async def _serve(self, batch: Sequence[tuple[K, asyncio.Future[V | None]]]) -> None:
        waiting = [(key, answer) for key, answer in batch if not answer.done()]
        try:
            found = await self._read(list(dict.fromkeys(key for key, _ in waiting))) if waiting else {}
        except asyncio.CancelledError:
            for _, answer in waiting:
                answer.cancel()
            raise
        except Exception as error:  # whatever it is, it is for those who asked
            for _, answer in waiting:
                if not answer.done():
                    answer.set_exception(error)
            return
        for key, answer in waiting:
            if not answer.done():
                answer.set_result(found.get(key))


class BadCursor(ValueError):
    """The cursor is not one of this list; take `next_cursor` of the page before, unchanged, with its sort."""

    def __init__(self) -> None:
        super().__init__(
            "The cursor does not belong to this list and sort; send the `next_cursor` of the page before, "
            "unchanged, or leave it out to start from the first page."
        )


class BadSort(ValueError):
    """There is no such sort of this list."""

    def __init__(self, given: str, known: list[str]) -> None:
        super().__init__(
            f"There is no sort {given!r}; choose one of {', '.join(known)}, or one with `-` before it."
        )


class Sort(Struct, frozen=True):
    """A column to sort by. Where it may be NULL, `least` and `greatest` put those rows last either way."""

    column: LiteralString
    sql_type: LiteralString
    type: type[datetime] | type[str] | type[int]
    least: LiteralString | None = None
    greatest: LiteralString | None = None


_TIME: tuple[LiteralString, type[datetime]] = ("timestamptz", datetime)

TASK_SORTS = {
    "created_at": Sort("created_at", *_TIME),
    "updated_at": Sort("updated_at", *_TIME),
    "next_run": Sort("next_run", *_TIME, "'-infinity'", "'infinity'"),
    "name": Sort("name", "text", str),
}
RESULT_SORTS = {
    "due_at": Sort("due_at", *_TIME),
    "run_at": Sort("run_at", *_TIME, "'-infinity'", "'infinity'"),
    "created_at": Sort("created_at", *_TIME),
    "duration_ms": Sort("duration_ms", "int", int, "-1", "2147483647"),
}


class Order(Struct, frozen=True):
    """A sort and its direction; `last` is what the page before ended with: its value and its id."""

    name: str
    sort: Sort
    last: tuple[datetime | str | int | None, UUID] | None

    @property
    def parameters(self) -> dict[str, object]:
        """What the list statements bind for it."""
        last, last_id = self.last or (None, None)
        return {"last": last, "last_id": last_id}

    def cursor(self, row: object) -> str:
        """The cursor behind a view's row."""
        value = getattr(row, self.sort.column)
        place = msgspec.json.encode((self.name, value, row.id))  # type: ignore[attr-defined]  # all views have it
        return urlsafe_b64encode(place).rstrip(b"=").decode()


def order(sorts: dict[str, Sort], default: str, sort: str | None, cursor: str | None) -> Order:
    """What `sort` and `cursor` ask for. Raises `BadSort` and `BadCursor`."""
    if cursor is None:
        name = sort or default
        return Order(name, _known(sorts, name), None)
    try:
        name, value, last_id = msgspec.json.decode(_unpadded(cursor), type=tuple[str, object, UUID])
        known = _known(sorts, name)
        last = msgspec.convert(value, known.type if known.least is None else known.type | None)
    except (ValueError, msgspec.MsgspecError) as error:
        raise BadCursor from error
    if sort not in (None, name) or (isinstance(last, datetime) and last.tzinfo is None):
        raise BadCursor
    return Order(name, known, (_storable(last), last_id))


def _known(sorts: dict[str, Sort], name: str) -> Sort:
    sort = sorts.get(name.removeprefix("-"))
    if sort is None or name.startswith("--"):
        raise BadSort(name, list(sorts))
    return sort


def _unpadded(cursor: str) -> bytes:
    return urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))


def _storable(last: datetime | str | int | None) -> datetime | str | int | None:
    match last:
        case datetime():
            return last.astimezone(UTC)
        case int() if not -1 <= last <= 2_147_483_647:
            raise BadCursor
        case str():
            return plain_text(last)  # the column holds that copy, and is what the rows are sorted by
        case _:
            return last


@cache
def list_statement(file: str, view: LiteralString, name: str, sort: Sort) -> bytes:
    """The list statement of a file for a sort: rows without a value come last, the id breaks ties."""
    descending = name.startswith("-")
    substitute = sort.least if descending else sort.greatest
    composed = sql.SQL(statement(file).decode()).format(
        view=sql.Identifier(view),
        key=_present(sql.SQL(sort.column), substitute),
        last=_present(sql.SQL("%(last)s::" + sort.sql_type), substitute),
        beyond=sql.SQL("<" if descending else ">"),
        way=sql.SQL("DESC" if descending else "ASC"),
    )
    return composed.as_bytes()


@cache
def counted_statement(file: str, count_file: str, view: LiteralString, name: str, sort: Sort) -> bytes:
    """A list statement whose rows each end with the count of another one: both of the same instant."""
    page, count = list_statement(file, view, name, sort), statement(count_file)
    return b"SELECT page.*, (\n" + count + b") FROM (\n" + page + b") AS page"


def _present(value: sql.Composable, substitute: LiteralString | None) -> sql.Composable:
    return value if substitute is None else sql.SQL("coalesce({}, {})").format(value, sql.SQL(substitute))


_definition = msgspec.json.Decoder(Definition)
_headers = msgspec.json.Decoder(dict[str, Any])
_attempts = msgspec.json.Decoder(list[AttemptView])


class ListStatements[V](Struct, frozen=True):
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
    connection: AsyncConnection, of: ListStatements[V], filters: dict[str, Any], paging: Paging
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


# In the order in which the task statements select them.
_TASK_COLUMNS = (
    *("id", "namespace", "status", "next_run", "created_at", "updated_at", "version", "definition"),
    *("paused_at", "pause_note", "redacted_at"),
)


def task_of(row: tuple[Any, ...]) -> TaskView:
    """The task of a row of the list statement."""
    values = dict(zip(_TASK_COLUMNS, row, strict=True))
    return _task_view(values, _definition.decode(values["definition"]))


def _task_view(values: Mapping[str, Any], definition: Definition) -> TaskView:
    defined = {name: getattr(definition, name) for name in Definition.__struct_fields__}
    return TaskView(**{name: value for name, value in values.items() if name != "definition"}, **defined)


# In the order in which the result statements select them: that of the view.
_RESULT_COLUMNS = ResultView.__struct_fields__


def result_of(row: tuple[Any, ...]) -> ResultView:
    """The occurrence of a row of the list statement."""
    values = dict(zip(_RESULT_COLUMNS, row, strict=True))
    headers = values["response_headers"]
    values["response_headers"] = None if headers is None else _headers.decode(headers)
    values["attempt_log"] = _attempts.decode(values["attempt_log"])
    return ResultView(**values)


TASKS = ListStatements(
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
RESULTS = ListStatements(
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


type _Row = tuple[Any, ...]

_PROJECTIONS = [projection.name for projection in PROJECTIONS]


class ReadModels:
    """Answers from the read models of one database.

    Every method raises `psycopg.OperationalError` (a pool's timeout is one) when the database is away.
    """

    def __init__(self, pool: AsyncConnectionPool) -> None:
        self._pool = pool
        self._tasks = CoalescedReads(self._reading("get_tasks"))
        self._results = CoalescedReads(self._reading("get_results"))

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


MOVED_BY_EXECUTIONS = "next_run"
"""The sort that the streams of tasks do not tell."""


def past_task(task_id: UUID, entries: Iterable[Entry]) -> TaskView | None:
    """The task that its stream, and what its executions did to its place, come to. Raises `PoisonEvent`."""
    row = tasks.fold({}, entries).rows.get(task_id)
    if row is None:
        return None
    assert row.definition is not None, "the first event of a task has one"
    return _task_view({name: getattr(row, name) for name in _TASK_COLUMNS}, row.definition)


async def past_tasks(
    connection: AsyncConnection, query: TaskQuery, paging: Paging, streams: AsyncIterator[Sequence[Entry]]
) -> Listing[TaskView]:
    """A page of the tasks that these streams tell of, by the statements of the live list.

    Their `next_run` is that of their last change. Sorts by it have no meaning: raises `BadCursor`.
    """
    if order(TASK_SORTS, TASKS.default_sort, paging.sort, paging.cursor).name.endswith(MOVED_BY_EXECUTIONS):
        raise BadCursor
    projection = tasks.Tasks()
    async with connection.transaction(force_rollback=True):
        await connection.execute(statement("shadow_read_models"))
        await connection.execute(projection.ddl)
        async for entries in streams:
            async for _ in projection.apply(connection, entries):
                pass
        return await read_page(connection, TASKS, task_filters(query), paging)


async def past_figures(
    outcomes: AsyncIterator[Sequence[Entry]], streams: AsyncIterator[Sequence[Entry]], now: datetime
) -> Figures:
    """The specification's metrics at an instant, from how executions ended and from the streams of tasks."""
    tally = Tally()
    async for entries in outcomes:
        counted = statistics.fold({}, entries)
        tally.totals.update(counted.totals)
        tally.minutes.update(counted.minutes)
    return figures_of(tally.totals, tally.minutes, await _active(streams), now)


async def _active(streams: AsyncIterator[Sequence[Entry]]) -> int:
    """How many of these tasks are scheduled. Of each, only the last row of a batch is kept."""
    active: set[UUID] = set()
    known: dict[UUID, TaskRow] = {}
    async for entries in streams:
        rows = tasks.fold(known, entries).rows
        known = {task_id: row for task_id, row in rows.items() if task_id == entries[-1].stream}
        scheduled = {row.id for row in rows.values() if row.status == "scheduled"}
        active = active.difference(rows) | scheduled
    return len(active)
