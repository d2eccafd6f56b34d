"""Occurrences of a task, and explanations of what became of them."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, Self
from uuid import UUID

import msgspec
from litestar import Controller, Response, get
from litestar.di import Provide
from litestar.params import PathParameter, QueryParameter
from msgspec import Meta, Struct

from application.explanation import explainer as occurrences
from application.explanation import wording as account
from application.explanation.explainer import LONGEST_WINDOW
from domain.errors import TaskNotFound, shown
from interfaces.http import documentation as doc
from interfaces.http.api import Api
from interfaces.http.parameters import (
    INSTANT,
    NAMESPACE,
    AsOf,
    Freshness,
    Injected,
    TaskId,
    reachable,
    reflecting,
)
from interfaces.http.problems import (
    ARCHIVE_AWAY,
    DATABASE_UNAVAILABLE,
    EXECUTION_NOT_FOUND,
    TASK_NOT_FOUND,
    TOO_MUCH_HISTORY,
    InvalidParameters,
)


class ExplainingEvent(Struct, frozen=True, kw_only=True):
    """An event of the log that a statement rests on."""

    position: Annotated[int, Meta(description="Its place in the log.")]
    topic: Annotated[str, Meta(description="What kind of event it is.")]
    stream: Annotated[UUID, Meta(description="The task or the execution that it is about.")]
    version: Annotated[int, Meta(description="Its number in that stream.")]
    at: Annotated[datetime, Meta(description="When it was decided.")]
    actor: Annotated[str, Meta(description="Who decided.")]
    reason: Annotated[str | None, Meta(description="The `X-Change-Reason` of the request, if it had one.")]


class DecidingRule(Struct, frozen=True, kw_only=True):
    """The rule or policy that decided."""

    name: Annotated[str, Meta(description="Stable; a policy of the task has the name of its field.")]
    text: Annotated[str, Meta(description="What it says; of a policy of the task, its values.")]


class Statement(Struct, frozen=True, kw_only=True):
    """One thing that is known."""

    code: Annotated[str, Meta(description="Stable name of what is said.")]
    text: Annotated[str, Meta(description="The same in words.")]
    rule: DecidingRule
    events: list[ExplainingEvent]


class Explanation(Struct, frozen=True, kw_only=True):
    """An account of what happened at an instant of a task, or did not, and why."""

    task_id: UUID
    execution_id: Annotated[UUID | None, Meta(description="null: no occurrence is spoken of.")]
    at: Annotated[datetime | None, Meta(description="The instant; null: the task as it stands now.")]
    verdict: Annotated[
        Literal[
            "pending",
            "running",
            "waiting",
            "succeeded",
            "failed",
            "skipped",
            "cancelled",
            "expected",
            "overdue",
            "paused",
            "withdrawn",
            "unaccounted",
            "no_occurrence",
            "scheduled",
            "over",
        ],
        Meta(description="What it comes to, in one word."),
    ]
    summary: Annotated[str, Meta(description="What it comes to, in one sentence.")]
    lateness_ms: Annotated[
        int | None,
        Meta(description="How long after its instant the first call was sent; null: none is known to be."),
    ]
    previous: Annotated[datetime | None, Meta(description="The nearest occurrence before.")]
    next: Annotated[datetime | None, Meta(description="The nearest occurrence after.")]
    statements: Annotated[list[Statement], Meta(description="In the order in which it happened.")]

    @classmethod
    def of(cls, explanation: account.Explanation) -> Self:
        """An explanation as it is shown."""
        return msgspec.convert(explanation, cls, from_attributes=True)


class Occurrence(Struct, frozen=True, kw_only=True):
    """A nominal instant of a task and what came of it."""

    due_at: datetime
    execution_id: UUID
    outcome: Annotated[
        str,
        Meta(
            description="A status of the ledger (running, succeeded, failed, skipped, cancelled, pending), "
            "or: expected (not due yet), overdue (due and not claimed yet), paused, withdrawn (the task was "
            "cancelled or rescheduled before it was claimed), unaccounted (must never happen)."
        ),
    ]
    reason: Annotated[str | None, Meta(description="Why, where the outcome does not say it all.")]


class OccurrenceWindow(Struct, frozen=True, kw_only=True):
    """Nominal instants of a task, in order."""

    items: list[Occurrence]
    start: Annotated[datetime, Meta(description="`from`: the first instant that may be listed.")]
    end: Annotated[datetime, Meta(description="`to`: the first instant that is not listed any more.")]
    next_from: Annotated[datetime | None, Meta(description="`from` of the next page; null: no more.")]

    @classmethod
    def of(cls, window: occurrences.Window) -> Self:
        """A window as it is shown."""
        return msgspec.convert(window, cls, from_attributes=True)


AROUND_NOW = timedelta(hours=24)

ExplainedExecutionId = Annotated[
    UUID, PathParameter(name="id", description="The id of an execution, which is that of its result: a UUID.")
]


class WindowSelection(Struct, frozen=True, kw_only=True):
    """The window of occurrences that is asked for."""

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
    """The instant that is asked for."""

    at: Annotated[
        str | None,
        QueryParameter(
            format="date-time",
            description="The instant to explain, as `due_at` of a result or an occurrence; the task as it "
            f"stands now when left out: {INSTANT}",
        ),
    ] = None


class ExplanationController(Controller):
    """Explanations, from the log alone."""

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
