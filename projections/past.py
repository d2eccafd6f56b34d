"""Answers from the past: the folds of the read models, over as much of the log as there was."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from uuid import UUID

from psycopg import AsyncConnection

from projections import statistics, tasks
from projections.projection import Entry
from projections.queries import TASK_SORTS, TASKS, BadCursor, order, read_page, task_filters
from projections.statements import statement
from projections.statistics import Tally, figures_of
from projections.tasks import TaskRow
from projections.views import Figures, Listing, Paging, TaskQuery, TaskView

MOVED_BY_EXECUTIONS = "next_run"
"""The sort that the streams of tasks do not tell."""


def past_task(task_id: UUID, entries: Iterable[Entry]) -> TaskView | None:
    """The task that its stream, and what its executions did to its place, come to. Raises `PoisonEvent`."""
    row = tasks.fold({}, entries).rows.get(task_id)
    return None if row is None else _view(row)


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


def _view(row: TaskRow) -> TaskView:
    definition = row.definition
    assert definition is not None, "the first event of a task has one"
    return TaskView(
        id=row.id,
        namespace=row.namespace,
        **{name: getattr(definition, name) for name in type(definition).__struct_fields__},
        status=row.status,
        next_run=row.next_run,
        created_at=row.created_at,
        updated_at=row.updated_at,
        version=row.version,
        paused_at=row.paused_at,
        pause_note=row.pause_note,
        redacted_at=row.redacted_at,
    )
