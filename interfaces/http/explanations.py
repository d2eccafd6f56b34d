"""Occurrences of a task, and explanations of what became of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

from litestar import Controller, Response, get
from litestar.di import Provide
from litestar.params import PathParameter, QueryParameter
from msgspec import Struct

from application.explanation.occurrences import LONGEST_WINDOW
from domain.errors import TaskNotFound
from domain.wording import shown
from interfaces.http import documentation as doc
from interfaces.http.api import Api
from interfaces.http.as_of import AsOf, reflecting
from interfaces.http.explained import Explanation, OccurrenceWindow
from interfaces.http.injection import Injected
from interfaces.http.instants import INSTANT
from interfaces.http.parameters import NAMESPACE, Freshness, TaskId
from interfaces.http.problem_types import (
    ARCHIVE_AWAY,
    DATABASE_UNAVAILABLE,
    EXECUTION_NOT_FOUND,
    TASK_NOT_FOUND,
    TOO_MUCH_HISTORY,
)
from interfaces.http.reachable import reachable
from interfaces.http.refusals import InvalidParameters

AROUND_NOW = timedelta(hours=24)

ExplainedExecutionId = Annotated[
    UUID, PathParameter(name="id", description="The id of an execution, which is that of its result: a UUID.")
]


class WindowSelection(Struct, frozen=True, kw_only=True):
    """Which occurrences."""

    from_: Annotated[
        str | None,
        QueryParameter(
            name="from",
            format="date-time",
            description="Only instants then or later; 24 hours before `to` (or now) when left out: "
            + INSTANT,
        ),
    ] = None
    to: Annotated[
        str | None,
        QueryParameter(
            format="date-time",
            description="Only instants before, at most 366 days after `from`; 24 hours after now (or after a "
            "later `from`) when left out: " + INSTANT,
        ),
    ] = None
    limit: Annotated[
        int, QueryParameter(ge=1, le=200, description="Instants listed: a whole number from 1 to 200.")
    ] = 50

    def window(self, now: datetime) -> tuple[datetime, datetime]:
        """The first instant, and the first one beyond the last. Raises `InvalidParameters`."""
        start, end = reachable("from", self.from_), reachable("to", self.to)
        if start is None:
            start = (end or now) - AROUND_NOW
        if end is None:
            end = min(max(start, now) + AROUND_NOW, start + LONGEST_WINDOW)
        if end <= start:
            raise InvalidParameters([("to", f"{shown(self.to)} is not after `from`: give a later instant.")])
        if end - start > LONGEST_WINDOW:
            wide = f"The window is {(end - start).days} days wide: give at most {LONGEST_WINDOW.days} days."
            raise InvalidParameters([("to", wide)])
        return start, end


class ExplainedInstant(Struct, frozen=True, kw_only=True):
    """Which instant."""

    at: Annotated[
        str | None,
        QueryParameter(
            format="date-time",
            description="The instant to explain, as `due_at` of a result or an occurrence; the task as it "
            f"stands now when left out: {INSTANT}",
        ),
    ] = None


class ExplanationController(Controller):
    """What happened and why, from the log alone."""

    path = "/"

    @get(
        "/tasks/{id:str}/occurrences",
        tags=["tasks"],
        operation_id="listOccurrences",
        summary="List a task's occurrences",
        dependencies={"selection": Provide(WindowSelection, sync_to_thread=False)},
        response_headers=[doc.REFLECTED_POSITION],
        response_description="The nominal instants of the window, in order.",
        responses=doc.problems(TASK_NOT_FOUND, TOO_MUCH_HISTORY, *doc.READING, ARCHIVE_AWAY),
    )
    async def list_occurrences(
        self,
        api: Injected[Api],
        task_id: TaskId,
        selection: Injected[WindowSelection],
        freshness: Injected[Freshness],
        past: Injected[AsOf],
    ) -> Response[OccurrenceWindow]:
        """Past and future instants of the task's schedules, each with its outcome."""
        moment = await api.moment(past)
        start, end = selection.window(datetime.now(UTC) if moment is None else moment.at)
        await api.reach(freshness.min_position)
        asked = (NAMESPACE, task_id, start, end, selection.limit)
        try:
            if moment is None:
                found = await api.parts.occurrences.window(*asked)
            else:
                found = await api.parts.past.window(*asked, moment)
        except TaskNotFound:
            raise await api.missing(task_id, moment) from None
        return Response(OccurrenceWindow.of(found), headers=reflecting(moment))

    @get(
        "/tasks/{id:str}/explain",
        tags=["tasks"],
        operation_id="explainTask",
        summary="Explain an instant of a task",
        dependencies={"explained": Provide(ExplainedInstant, sync_to_thread=False)},
        response_description="What is known of the instant.",
        responses=doc.problems(TASK_NOT_FOUND, DATABASE_UNAVAILABLE, ARCHIVE_AWAY),
    )
    async def explain_task(
        self, api: Injected[Api], task_id: TaskId, explained: Injected[ExplainedInstant]
    ) -> Explanation:
        """Why it ran, was late, was skipped, has not run yet or never will, with the events that tell it."""
        at = reachable("at", explained.at)
        return Explanation.of(await api.parts.explainer.task(NAMESPACE, task_id, at))

    @get(
        "/executions/{id:str}/explain",
        tags=["results"],
        operation_id="explainExecution",
        summary="Explain an execution",
        response_description="What is known of the execution.",
        responses=doc.problems(EXECUTION_NOT_FOUND, DATABASE_UNAVAILABLE, ARCHIVE_AWAY),
    )
    async def explain_execution(self, api: Injected[Api], execution_id: ExplainedExecutionId) -> Explanation:
        """The same by the id of the execution, which also finds manual runs."""
        return Explanation.of(await api.parts.explainer.execution(NAMESPACE, execution_id))
