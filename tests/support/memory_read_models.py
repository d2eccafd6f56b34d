"""Read models that fold a log in memory on every question."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from psycopg import OperationalError

from application.streams import fold_task
from domain.facts import TaskCreated
from projections.queries import BadCursor
from projections.views import Figures, Listing, ResultView, TaskView
from tests.support.log import MemoryLog
from tests.support.views import task_view

if TYPE_CHECKING:
    from projections.views import Paging, ResultQuery, TaskQuery


@dataclass
class MemoryReadModels:
    """`Queries` without a database; `away` makes it answer as one that is not there."""

    log: MemoryLog
    results_known: list[ResultView] = field(default_factory=list)
    away: bool = False
    asked_tasks: list[tuple[TaskQuery, Paging]] = field(default_factory=list)
    asked_results: list[tuple[ResultQuery, Paging]] = field(default_factory=list)

    async def task(self, namespace: str, task_id: UUID) -> TaskView | None:
        """See `Queries`."""
        found = [view for view in self._tasks(namespace) if view.id == task_id]
        return found[0] if found else None

    async def tasks(self, query: TaskQuery, paging: Paging) -> Listing[TaskView]:
        """See `Queries`."""
        self.asked_tasks.append((query, paging))
        matching = [
            view
            for view in self._tasks(query.namespace)
            if query.status in {None, view.status}
            and (query.name is None or query.name.lower() in view.name.lower())
        ]
        return _page(matching, paging)

    async def results(self, query: ResultQuery, paging: Paging) -> Listing[ResultView]:
        """See `Queries`."""
        self._answering()
        self.asked_results.append((query, paging))
        return _page([view for view in self.results_known if query.success in {None, view.success}], paging)

    async def result(self, namespace: str, result_id: UUID) -> ResultView | None:
        """See `Queries`."""
        self._answering()
        found = [view for view in self.results_known if (view.namespace, view.id) == (namespace, result_id)]
        return found[0] if found else None

    async def figures(self, now: datetime) -> Figures:
        """See `Queries`."""
        active = sum(view.status == "scheduled" for view in self._tasks("default"))
        return Figures(
            total_tasks_executed=0,
            successful_tasks=0,
            failed_tasks=0,
            success_rate_percent=0.0,
            average_execution_ms=0.0,
            tasks_per_minute=0.0,
            active_tasks=active,
        )

    def _tasks(self, namespace: str) -> list[TaskView]:
        self._answering()
        events = self.log.recorded
        streams = dict.fromkeys(event.stream for event in events if isinstance(event.fact, TaskCreated))
        folded = [
            fold_task(stream, [event for event in events if event.stream == stream]) for stream in streams
        ]
        return [task_view(task) for task in folded if task is not None and task.namespace == namespace]

    def _answering(self) -> None:
        if self.away:
            raise OperationalError("connection refused: host=secret-host password=secret")


def _page[V](matching: list[V], paging: Paging) -> Listing[V]:
    if paging.cursor is not None:
        raise BadCursor
    start = (paging.page - 1) * paging.limit
    items = matching[start : start + paging.limit]
    return Listing(items=items, total=len(matching), page=paging.page, limit=paging.limit)
