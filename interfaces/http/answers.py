"""The JSON that the API answers with, made from read models or, for a write, from the log's own state."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self, assert_never
from uuid import UUID

from msgspec import Meta, Struct

from application.executions import AcceptedExecution, Backfilled
from domain.definition import Definition, OneOff
from domain.execution import Execution, FinishedExecution, Requested, Running, Waiting
from domain.schedule import next_after
from domain.task import FinishedTask, Paused, Scheduled
from domain.task import Task as TaskState
from interfaces.http.bodies import (
    CatchingUp,
    CronTrigger,
    HttpAction,
    IntervalTrigger,
    OneOffTrigger,
    Overlapping,
    Priority,
    Promise,
    Retry,
    Success,
)
from projections.views import AttemptView, Figures, Listing, ResultView, TaskStatus, TaskView


class Task(Struct, frozen=True, kw_only=True):
    """A task as it stands."""

    # What users have defined is held as the domain has it, and not copied into the annotated shapes: the two
    # have the same members, so their JSON is the same.

    id: UUID
    namespace: Annotated[str, Meta(description="`default` for everything, for now.")]
    name: str
    trigger: OneOffTrigger | CronTrigger | IntervalTrigger
    action: HttpAction
    retry: Retry
    success: Success
    catch_up: CatchingUp
    overlap: Overlapping
    delivery: Promise
    priority: Priority
    status: Literal["scheduled", "paused", "completed", "failed", "cancelled"]
    next_run: Annotated[
        datetime | None,
        Meta(description="UTC; null: nothing further is due. A paused task goes on from here."),
    ]
    created_at: datetime
    updated_at: datetime
    version: Annotated[int, Meta(description="What `If-Match` takes, quoted.")]
    paused_at: Annotated[datetime | None, Meta(description="Since when it is paused; null: it is not.")] = (
        None
    )
    pause_note: Annotated[str | None, Meta(description="Why it is paused, if that was said.")] = None
    redacted_at: Annotated[
        datetime | None, Meta(description="When what it sent and received was erased; null: it was not.")
    ] = None

    @classmethod
    def of_view(cls, view: TaskView) -> Self:
        """A task of the read model."""
        return _picked(
            cls,
            view,
            paused_at=view.paused_at if view.status == "paused" else None,
            pause_note=view.pause_note if view.status == "paused" else None,
        )

    @classmethod
    def of_state(cls, state: TaskState) -> Self:
        """A task as a command left it, for an answer that does not wait for the read model."""
        return _picked(
            cls,
            state,
            **{name: getattr(state.definition, name) for name in _DEFINED},
            status=_task_status(state),
            next_run=_next_run(state),
            paused_at=state.since if isinstance(state, Paused) else None,
            pause_note=state.note if isinstance(state, Paused) else None,
        )


_DEFINED = Definition.__struct_fields__


def _task_status(state: TaskState) -> TaskStatus:
    match state:
        case Scheduled():
            return "scheduled"
        case Paused():
            return "paused"
        case FinishedTask():
            return state.status
        case _:
            assert_never(state)


def _next_run(state: TaskState) -> datetime | None:
    match state:
        case Scheduled(definition=definition) | Paused(definition=definition) if isinstance(
            definition.trigger, OneOff
        ):
            return state.placed_at
        case Scheduled(definition=definition) | Paused(definition=definition):
            # An update that keeps the trigger keeps a place that may have fired since.
            kept = state.placed_at > state.updated_at
            return state.placed_at if kept else next_after(definition.trigger, state.updated_at)
        case FinishedTask():
            return None
        case _:
            assert_never(state)


class Attempt(Struct, frozen=True, kw_only=True):
    """One call of an execution."""

    number: int
    started_at: datetime | None
    duration_ms: int | None
    status_code: Annotated[int | None, Meta(description="null: no answer came, see `error_message`.")]
    error_message: str | None

    @classmethod
    def of_view(cls, view: AttemptView) -> Self:
        """An attempt of the read model."""
        return _picked(cls, view)


class Result(Struct, frozen=True, kw_only=True):
    """One occurrence of a task: what happened, or why nothing did."""

    id: Annotated[UUID, Meta(description="Also the `Idempotency-Key` of the outbound calls.")]
    task_id: UUID
    task_name: str
    namespace: str
    kind: Annotated[str, Meta(description="scheduled, manual or backfill.")]
    due_at: datetime
    run_at: Annotated[datetime | None, Meta(description="When the latest request was sent.")]
    status: Literal["pending", "running", "succeeded", "failed", "skipped", "cancelled"]
    reason: Annotated[str | None, Meta(description="Why it was skipped, cancelled or given up.")]
    success: Annotated[bool | None, Meta(description="null while it runs, and when it did not run.")]
    status_code: int | None
    response_headers: Annotated[
        dict[str, Any] | None,
        Meta(
            description="Names in lower case. Repeated ones are joined by a comma and a space, those of "
            "`set-cookie` by a line feed."
        ),
    ]
    response_body: str | None
    response_truncated: Annotated[bool | None, Meta(description="true: only the body's beginning is kept.")]
    error_message: str | None
    duration_ms: Annotated[int | None, Meta(description="Of the last finished attempt.")]
    attempts: Annotated[int, Meta(description="Calls begun.")]
    attempt_log: list[Attempt]
    retry_at: Annotated[datetime | None, Meta(description="When the next attempt is due.")]
    node: Annotated[str | None, Meta(description="The scheduler that took it.")]
    created_at: datetime

    @classmethod
    def of_view(cls, view: ResultView) -> Self:
        """A result of the read model."""
        return _picked(cls, view, attempt_log=[Attempt.of_view(attempt) for attempt in view.attempt_log])


# The rows of the read models have the very members of `Task` and `Result`, so a page holds them as they are:
# copying each took a fifth of a list's time.


class TaskPage(Struct, frozen=True, kw_only=True):
    """Some of the tasks that match."""

    items: list[Task]
    total: Annotated[int, Meta(description="All that match.")]
    page: int
    limit: int
    next_cursor: Annotated[str | None, Meta(description="Continues after the last item; null: no more.")]

    @classmethod
    def of_listing(cls, listing: Listing[TaskView]) -> Self:
        """A page of the read model."""
        return _picked(cls, listing, items=[_listed(view) for view in listing.items])


def _listed(view: TaskView) -> TaskView | Task:
    """As it is, unless it tells of a pause that is over."""
    return view if view.paused_at is None or view.status == "paused" else Task.of_view(view)


class ResultPage(Struct, frozen=True, kw_only=True):
    """Some of the results that match."""

    items: list[Result]
    total: Annotated[int, Meta(description="All that match.")]
    page: int
    limit: int
    next_cursor: Annotated[str | None, Meta(description="Continues after the last item; null: no more.")]

    @classmethod
    def of_listing(cls, listing: Listing[ResultView]) -> Self:
        """A page of the read model."""
        return _picked(cls, listing, items=listing.items)


class Metrics(Struct, frozen=True, kw_only=True):
    """Figures over everything ever executed; skipped occurrences do not count."""

    total_tasks_executed: int
    successful_tasks: int
    failed_tasks: int
    success_rate_percent: float
    average_execution_ms: float
    tasks_per_minute: Annotated[float, Meta(description="Mean over the last hour.")]
    active_tasks: Annotated[int, Meta(description="Tasks that are scheduled.")]

    @classmethod
    def of_figures(cls, figures: Figures) -> Self:
        """The figures of the read model."""
        return _picked(cls, figures)


def _picked[T: Struct](shape: type[T], source: object, **made: object) -> T:
    # Fields of the same name are taken over, so what a read model has more than the API shows stays inside.
    same = {name: getattr(source, name) for name in shape.__struct_fields__ if name not in made}
    return shape(**same, **made)


class RequestedExecution(Struct, frozen=True, kw_only=True):
    """An occurrence that will run."""

    id: Annotated[UUID, Meta(description="Of the execution and its result.")]
    due_at: datetime


class Backfill(Struct, frozen=True, kw_only=True):
    """The outcome of a backfill."""

    executions: list[RequestedExecution]
    already_run: Annotated[
        int, Meta(description="Occurrences of the period that ran, run, or are to run anyway.")
    ]
    next_start: Annotated[
        datetime | None,
        Meta(description="Where the limit cut it off: the `start` to go on with; null: nothing is left."),
    ]

    @classmethod
    def of_backfilled(cls, done: Backfilled) -> Self:
        """The answer of the command."""
        wanted = [RequestedExecution(id=one.execution_id, due_at=one.due_at) for one in done.requested]
        return cls(executions=wanted, already_run=done.already_run, next_start=done.next_start)


def result_of(accepted: AcceptedExecution) -> Result:
    """An execution as a command left it, for an answer that does not wait for the read model."""
    state = accepted.state
    occurrence = state.occurrence
    return Result(
        id=state.id,
        task_id=occurrence.task_id,
        task_name=occurrence.task_name,
        namespace=occurrence.namespace,
        kind=occurrence.kind,
        due_at=occurrence.due_at,
        run_at=None,
        status=_execution_status(state),
        reason=accepted.reason,
        success={"succeeded": True, "failed": False}.get(_execution_status(state)),
        status_code=None,
        response_headers=None,
        response_body=None,
        response_truncated=None,
        error_message=None,
        duration_ms=None,
        attempts=state.attempts,
        attempt_log=[],
        retry_at=state.retry_at if isinstance(state, Waiting) else None,
        node=state.node if isinstance(state, Running) else None,
        created_at=accepted.created_at,
    )


def _execution_status(
    state: Execution,
) -> Literal["pending", "running", "succeeded", "failed", "skipped", "cancelled"]:
    match state:
        case Requested():
            return "pending"
        case Running() | Waiting():
            return "running"
        case FinishedExecution():
            return state.status
        case _:
            assert_never(state)


type HealthStatus = Literal["healthy", "unhealthy"]


class Alive(Struct, frozen=True):
    """The answer of a process that serves requests."""

    status: Literal["alive"] = "alive"


class HealthCheck(Struct, frozen=True, kw_only=True):
    """One part of the service, or one thing it stands on."""

    status: HealthStatus
    detail: Annotated[str, Meta(description="One sentence: what was found, and what to look at.")]


class HealthReport(Struct, frozen=True, kw_only=True):
    """Healthy when every part is."""

    status: HealthStatus
    checks: Annotated[
        dict[str, HealthCheck], Meta(description="By part: `database`, `projectors`, `scheduler`.")
    ]

    @classmethod
    def of_checks(cls, checks: dict[str, HealthCheck]) -> Self:
        """The report that follows from its parts."""
        healthy = all(check.status == "healthy" for check in checks.values())
        return cls(status="healthy" if healthy else "unhealthy", checks=checks)


class Node(Struct, frozen=True, kw_only=True):
    """A process as it was at its last heartbeat, one a second; a run is a node of its own."""

    name: Annotated[str, Meta(description="`NODE_NAME` and what tells this run from others.")]
    role: Literal["projector", "scheduler"]
    alive: Annotated[bool, Meta(description="false: silent for `NODE_EXPIRY_SECONDS`, and taken over.")]
    started_at: datetime
    heartbeat_age_seconds: float
    claims: Annotated[
        bool | None,
        Meta(description="false: it starts, stops, is silent, or its clock is wrong. Schedulers only."),
    ]
    clock_right: Annotated[
        bool | None, Meta(description="Within `MAX_CLOCK_OFFSET_SECONDS` of the database's. Schedulers only.")
    ]
    clock_offset_seconds: Annotated[
        float | None, Meta(description="Its clock minus the database's. Schedulers only.")
    ]
    share: Annotated[
        float | None,
        Meta(description="Part of the tasks due soon that is its own, 0 to 1, by a sample. Schedulers only."),
    ]
    in_flight: Annotated[int | None, Meta(description="Calls being made. Schedulers only.")]
    due_index_entries: Annotated[
        int | None, Meta(description="Tasks due soon that it knows. Schedulers only.")
    ]
    lag_events: Annotated[
        int | None,
        Meta(
            description="Events that a scheduler has not followed, or that the projectors have not applied."
        ),
    ]


class NodeList(Struct, frozen=True):
    """All that have beaten within a day and did not leave in peace."""

    items: list[Node]
