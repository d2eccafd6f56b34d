"""Everything behind the HTTP layer: what it asks of the service itself, and all of it together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from application.audit import Audit
    from application.executions import AcceptedExecution, Backfilled
    from application.explanation.explainer import Window
    from application.explanation.wording import Explanation
    from application.past import Moment
    from application.ports import EventFilter, EventPage, Origin
    from application.revisions import Compared, Revision
    from application.tasks import Accepted, AcceptedBulk, NewTask, Request
    from application.what_if.comparison import Accounts
    from application.what_if.question import Question
    from application.what_if.question import Window as SimulatedWindow
    from domain.definition import Definition
    from domain.requesting import Period
    from interfaces.http.answers import HealthReport
    from interfaces.http.system import Node
    from projections.views import Figures, Listing, Paging, ResultQuery, ResultView, TaskQuery, TaskView


class Commands(Protocol):
    """The write side. Raises the refusals of `domain.errors` and `application.ports.LogUnavailable`."""

    async def create(self, definition: Definition, request: Request) -> Accepted:
        """Accept a new task."""
        ...

    async def update(
        self, task_id: UUID, definition: Definition, request: Request, *, if_match: int | None
    ) -> Accepted:
        """Replace a task's definition."""
        ...

    async def roll_back(
        self, task_id: UUID, number: int, request: Request, *, if_match: int | None
    ) -> Accepted:
        """Make the definition of an earlier revision the present one."""
        ...

    async def pause(
        self, task_id: UUID, note: str | None, request: Request, *, if_match: int | None
    ) -> Accepted:
        """Start nothing until resumed."""
        ...

    async def resume(self, task_id: UUID, request: Request, *, if_match: int | None) -> Accepted:
        """Go on after a pause."""
        ...

    async def cancel(self, task_id: UUID, request: Request, *, if_match: int | None) -> Accepted:
        """Stop a task for good."""
        ...


class BulkCommands(Protocol):
    """Commands about many tasks. Raises as `Commands` does."""

    async def create(self, new_tasks: Sequence[NewTask], request: Request) -> AcceptedBulk:
        """Accept many new tasks."""
        ...


class ExecutionCommands(Protocol):
    """Commands about executions. Raises as `Commands` does."""

    async def trigger(self, task_id: UUID, request: Request, *, if_match: int | None) -> AcceptedExecution:
        """Run a task now."""
        ...

    async def backfill(self, task_id: UUID, period: Period, request: Request) -> Backfilled:
        """Run occurrences of the past that have not run."""
        ...

    async def cancel(self, run: UUID, note: str | None, request: Request) -> AcceptedExecution:
        """Break an execution off."""
        ...


class Redactions(Protocol):
    """The command that erases. Raises as `Commands` does, and `interfaces.http.problems.NotYetVisible`."""

    async def redact(self, task_id: UUID, request: Request, *, if_match: int | None) -> Accepted:
        """Erase what a task that is over, and its executions, hold."""
        ...


class VisibilityPort(Protocol):
    """How far the read models have come."""

    async def wait_for(self, position: int, timeout_seconds: float) -> bool:
        """Whether the read models passed a position of the log within the time given."""
        ...


class Nodes(Protocol):
    """Who does the work. Raises `psycopg.OperationalError` when the database is away."""

    async def nodes(self) -> Sequence[Node]:
        """Every scheduler and projector that has not left."""
        ...


class Health(Protocol):
    """The state of the service and of what it stands on."""

    async def report(self) -> HealthReport:
        """What works and what does not; never raises."""
        ...


class Exposition(Protocol):
    """The metrics of all processes of this service on this machine."""

    async def render(self) -> tuple[bytes, str]:
        """The text that Prometheus scrapes, and its content type."""
        ...


class RequestObserver(Protocol):
    """Told once about every answered request."""

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """`route` is the path's template (`/api/v1/tasks/{id}`), or `unmatched`; must not raise."""
        ...


@dataclass(frozen=True, kw_only=True)
class Dependencies:
    """Everything behind the API."""

    commands: Commands
    bulk: BulkCommands
    executions: ExecutionCommands
    redactions: Redactions
    queries: Queries
    explainer: Explainer
    occurrences: Occurrences
    events: Events
    revisions: Revisions
    past: Past
    audit: Audit
    simulator: Simulator
    visibility: VisibilityPort
    nodes: Nodes
    health: Health
    exposition: Exposition
    observer: RequestObserver


@dataclass(frozen=True, kw_only=True)
class OpsDependencies:
    """Everything behind the pages of a process that serves no API."""

    health: Health
    exposition: Exposition
    observer: RequestObserver


@dataclass(frozen=True, kw_only=True)
class HttpOptions:
    """How the HTTP layer behaves. `debug` False adds Strict-Transport-Security to every answer.

    Beyond `max_requests` in progress, a request is refused: each holds its body, and may hold a page of rows.
    """

    cors_allowed_origins: tuple[str, ...] = ()
    max_body_bytes: int = 1_048_576
    max_requests: int = 1_000
    default_timezone: str = "UTC"
    debug: bool = False
    visibility_timeout_seconds: float = 2.0


class Queries(Protocol):
    """The read models. Raises `psycopg.OperationalError` when the database is away."""

    async def task(self, namespace: str, task_id: UUID, /) -> TaskView | None:
        """A task, or None."""
        ...

    async def tasks(self, query: TaskQuery, paging: Paging, /) -> Listing[TaskView]:
        """One page of tasks. Raises `projections.queries.BadCursor`, a ValueError."""
        ...

    async def results(self, query: ResultQuery, paging: Paging, /) -> Listing[ResultView]:
        """One page of results. Raises `projections.queries.BadCursor`, a ValueError."""
        ...

    async def result(self, namespace: str, result_id: UUID, /) -> ResultView | None:
        """A result, or None."""
        ...

    async def figures(self, now: datetime, /) -> Figures:
        """The specification's metrics."""
        ...


class Explainer(Protocol):
    """Explains from the log. Raises `application.ports.LogUnavailable`."""

    async def task(self, namespace: str, task_id: UUID, at: datetime | None, /) -> Explanation:
        """An instant of a task, or (None) where it stands now. Raises `domain.errors.TaskNotFound`."""
        ...

    async def execution(self, namespace: str, execution: UUID, /) -> Explanation:
        """What became of an execution. Raises `domain.errors.ExecutionNotFound`."""
        ...


class Occurrences(Protocol):
    """The nominal instants of tasks. Raises what `Queries` and `Explainer` raise."""

    async def window(
        self, namespace: str, task_id: UUID, start: datetime, end: datetime, limit: int, /
    ) -> Window:
        """Up to `limit` instants from `start` and before `end`. Raises `domain.errors.TaskNotFound`."""
        ...


class Events(Protocol):
    """The log, page by page. Raises `application.ports.LogUnavailable`."""

    async def head(self) -> int:
        """The position of the newest event; 0 when there is none."""
        ...

    async def page(self, wanted: EventFilter, after: int, limit: int, until: int = ..., /) -> EventPage:
        """Events that match, after a position and up to `until`; looks at a bounded number of events."""
        ...

    async def of_stream(self, stream: UUID, after: int, limit: int, /) -> EventPage:
        """Events of a stream after a version."""
        ...

    async def origin(self, stream: UUID, /) -> Origin | None:
        """What a stream is about, or None."""
        ...


class Revisions(Protocol):
    """Definitions that tasks had. Raises `domain.errors.TaskNotFound` and what `Explainer` raises."""

    async def all(self, namespace: str, task_id: UUID, /) -> Sequence[Revision]:
        """Every revision of a task, the first one first."""
        ...

    async def one(self, namespace: str, task_id: UUID, number: int, /) -> Revision:
        """One of them. Raises `domain.errors.RevisionNotFound`."""
        ...

    async def compare(self, namespace: str, task_id: UUID, old: int | None, new: int | None, /) -> Compared:
        """What differs from one (None: the one before) to another (None: the latest). Raises as `one`."""
        ...


class Past(Protocol):
    """What `Queries` and `Occurrences` answered at an earlier moment, told by the log.

    Raises `application.ports.LogUnavailable`, and `psycopg.OperationalError` when the database is away.
    """

    async def at(self, instant: datetime, /) -> Moment:
        """The moment of an instant. Raises `application.past.NotYet`."""
        ...

    async def after(self, position: int, /) -> Moment:
        """The moment right after an event. Raises `application.past.NotYet`."""
        ...

    async def task(self, namespace: str, task_id: UUID, moment: Moment, /) -> TaskView | None:
        """A task; None: there was none yet."""
        ...

    async def tasks(self, query: TaskQuery, paging: Paging, moment: Moment, /) -> Listing[TaskView]:
        """One page of tasks, not by `next_run`.

        Raises `projections.queries.BadCursor` and `application.past.TooMuchHistory`.
        """
        ...

    async def figures(self, moment: Moment, /) -> Figures:
        """The specification's metrics. Raises `application.past.TooMuchHistory`."""
        ...

    async def window(
        self, namespace: str, task_id: UUID, start: datetime, end: datetime, limit: int, moment: Moment, /
    ) -> Window:
        """Up to `limit` instants from `start` and before `end`.

        Raises `domain.errors.TaskNotFound` and `application.past.TooMuchHistory`.
        """
        ...


class Simulator(Protocol):
    """What would have happened, or will.

    Raises `TaskNotFound`, `ValidationFailed`, `application.past.NotYet`, `LogUnavailable` and
    `application.what_if.question.TooMuchToSimulate`.
    """

    async def past(self, question: Question, window: SimulatedWindow, /) -> Accounts:
        """A window of the past, as it was and as it would have been."""
        ...

    async def future(self, question: Question, window: SimulatedWindow, /) -> Accounts:
        """A window of the future, as it is to be and as it would be."""
        ...
