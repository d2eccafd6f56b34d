"""The parts behind the API, and what its handlers share: reads on time, senders of commands, answers."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, Protocol
from uuid import UUID

import psycopg
import structlog
from litestar import Request, Response
from litestar.connection import ASGIConnection
from litestar.response.base import ASGIResponse
from litestar.serialization import encode_json
from litestar.types import Receive, Scope, Send

from application.audit import Audit
from application.executions import AcceptedExecution, ExecutionCommands
from application.explanation.explainer import Explainer, Occurrences, Window
from application.past import Moment, NotYet
from application.ports import EventFilter, EventPage, LogUnavailable, Origin
from application.redaction import Redactions
from application.revisions import Revisions
from application.tasks import Accepted, BulkCommands, TaskCommands
from application.tasks import Request as CommandRequest
from application.what_if.simulator import Simulator
from domain.errors import TaskNotFound, TaskNotThereYet
from domain.facts import TaskCreated
from interfaces.http.answers import HealthReport, Node, Result, Task, result_of
from interfaces.http.parameters import NAMESPACE, AsOf, change_reason, prefers_async
from interfaces.http.problems import InvalidParameters, NotYetVisible
from projections.views import Figures, Listing, Paging, ResultQuery, ResultView, TaskQuery, TaskView


class Written[T](Response[T]):
    """JSON with headers of its own and no others: Litestar's response looks for each among all the others.

    Who answers so gives a status code that may have a body.
    """

    def to_asgi_response(self, app: Any, request: Request[Any, Any, Any], **_: Any) -> ASGIResponse:
        """The bytes to send; headers that are declared for the route in general are not added."""
        assert self.status_code is not None, "given by who answers so"
        return _Sending(encode_json(self.content), self.headers, self.status_code)


class _Sending(ASGIResponse):
    """Head and body, made of bytes alone."""

    __slots__ = ("_head",)

    def __init__(self, body: bytes, headers: dict[str, str], status_code: int) -> None:
        self.body = body
        self._head = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        self._head += [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        self.status_code = status_code

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self._head})
        await send({"type": "http.response.body", "body": self.body, "more_body": False})


_log = structlog.get_logger(__name__)

# There are no accounts: whoever reaches the API may change what it holds, and nobody says who that was.
ANONYMOUS = "anonymous"


class VisibilityPort(Protocol):
    """The progress of the read models."""

    async def wait_for(self, position: int, timeout_seconds: float) -> bool:
        """True once the read models have passed a position of the log; False when the time is over first."""
        ...


class Nodes(Protocol):
    """The processes that do the work. Raises `psycopg.OperationalError` when the database is away."""

    async def nodes(self) -> Sequence[Node]:
        """Every scheduler and projector that has not left."""
        ...


class Health(Protocol):
    """The state of the service and of what it stands on."""

    async def report(self) -> HealthReport:
        """The state of each part; never raises."""
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
        """The task or execution that a stream belongs to, or None."""
        ...


class Past(Protocol):
    """The answers of `Queries` and `Occurrences` at an earlier moment, read from the log.

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


@dataclass(frozen=True, kw_only=True)
class Dependencies:
    """Everything behind the API."""

    commands: TaskCommands
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
    """Settings of the HTTP layer. `debug` False adds Strict-Transport-Security to every answer.

    Beyond `max_requests` in progress, a request is refused: each holds its body, and may hold a page of rows.
    """

    cors_allowed_origins: tuple[str, ...] = ()
    max_body_bytes: int = 1_048_576
    max_requests: int = 1_000
    default_timezone: str = "UTC"
    debug: bool = False
    visibility_timeout_seconds: float = 2.0


@dataclass(frozen=True)
class Api:
    """The dependencies of the HTTP layer and what handlers do with more than one of them."""

    parts: Dependencies
    options: HttpOptions

    async def reach(self, position: int | None) -> None:
        """Return once the read models have passed what was asked for. Raises `NotYetVisible`."""
        if position is not None and not await self._visible(position):
            raise NotYetVisible(position)

    async def moment(self, past: AsOf) -> Moment | None:
        """The moment of the past that is asked for; None: the present. Raises `InvalidParameters`."""
        asked = past.moment()
        try:
            match asked:
                case None:
                    return None
                case int():
                    return await self.parts.past.after(asked)
                case _:
                    return await self.parts.past.at(asked)
        except NotYet as error:
            name = "as_of_position" if isinstance(asked, int) else "as_of"
            advice = f"It lies in the future, for {error}: give an earlier one."
            raise InvalidParameters([(name, advice)]) from error

    async def missing(self, task_id: UUID, moment: Moment | None) -> TaskNotFound:
        """Why a task is not found: there is none, or there was none yet."""
        first = () if moment is None else (await self.parts.events.of_stream(task_id, 0, 1)).items
        for event in first:
            if event.topic == TaskCreated.topic and event.namespace == NAMESPACE:
                return TaskNotThereYet(task_id, event.recorded_at, event.position)
        return TaskNotFound(task_id)

    async def created(self, accepted: Accepted, prefer: str | None) -> Response[Task]:
        """Answer a creation with the task as it was accepted; a repeated one with the task as it is now."""
        if accepted.replayed:
            return await self.written(accepted, prefer, 201)
        headers = await self.settled(accepted.position, prefer)
        return _task(Task.of_state(accepted.state), 201, headers)

    async def written(self, accepted: Accepted, prefer: str | None, status: int) -> Response[Task]:
        """Answer a write with the task, once lists show it or the wait is over; it is stored either way."""
        hurried = prefers_async(prefer)
        task = None if hurried else await self._shown(accepted)
        task = task or Task.of_state(accepted.state)
        headers = {"X-Event-Position": str(accepted.position)}
        if hurried:
            headers["Preference-Applied"] = "respond-async"
        return _task(task, status, headers)

    async def written_execution(
        self, accepted: AcceptedExecution, prefer: str | None, status: int
    ) -> Response[Result]:
        """Answer a write with the execution, as `written` does with a task."""
        hurried = prefers_async(prefer)
        result = None if hurried else await self._shown_result(accepted)
        headers = {"X-Event-Position": str(accepted.position)}
        if status == 202:
            headers["Location"] = f"/api/v1/executions/{accepted.state.id}"
        if hurried:
            headers["Preference-Applied"] = "respond-async"
        return Written(result or result_of(accepted), status_code=status, headers=headers)

    async def settled(self, position: int, prefer: str | None) -> dict[str, str]:
        """The headers of a write's answer, once lists show it or the wait is over."""
        headers = {"X-Event-Position": str(position)}
        if prefers_async(prefer):
            return headers | {"Preference-Applied": "respond-async"}
        try:
            await self._visible(position)
        except (psycopg.Error, LogUnavailable) as error:
            _log.warning("write_not_read_back", position=position, error=str(error))
        return headers

    async def _shown_result(self, accepted: AcceptedExecution) -> Result | None:
        try:
            if not await self._visible(accepted.position):
                return None
            view = await self.parts.queries.result(NAMESPACE, accepted.state.id)
        except (psycopg.Error, LogUnavailable) as error:
            # The change is stored: failing now would make its sender repeat it.
            _log.warning("written_execution_not_read_back", id=str(accepted.state.id), error=str(error))
            return None
        return None if view is None else Result.of_view(view)

    async def _shown(self, accepted: Accepted) -> Task | None:
        try:
            if not await self._visible(accepted.position):
                return None
            view = await self.parts.queries.task(NAMESPACE, accepted.task_id)
        except (psycopg.Error, LogUnavailable) as error:
            # The change is stored: failing now would make its sender repeat it.
            _log.warning("written_task_not_read_back", task_id=str(accepted.task_id), error=str(error))
            return None
        return None if view is None else Task.of_view(view)

    async def _visible(self, position: int) -> bool:
        return await self.parts.visibility.wait_for(position, self.options.visibility_timeout_seconds)


def _task(task: Task, status: int, headers: Mapping[str, str]) -> Response[Task]:
    own = {"ETag": f'"{task.version}"'}
    if status == 201:
        own["Location"] = f"/api/v1/tasks/{task.id}"
    return Written(task, status_code=status, headers={**headers, **own})


def command_request(
    request: Request[Any, Any, Any],
    reason: str | None,
    key: str | None = None,
    digest: str | None = None,
) -> CommandRequest:
    """The sender of a command: actor, address, reason (as the header has it) and correlation id.

    Raises `InvalidParameters`.
    """
    return CommandRequest(
        namespace=NAMESPACE,
        actor=ANONYMOUS,
        correlation_id=correlation_id(request),
        idempotency_key=key,
        digest=digest if key is not None else None,
        address=_address(request),
        reason=None if reason is None else change_reason(reason),
    )


def _address(request: Request[Any, Any, Any]) -> str | None:
    """The other end's, or what a proxy that may speak for others says; only ever an IP address."""
    return _plain_address(request.client.host) if request.client else None


@lru_cache(maxsize=1_024)  # a client asks often
def _plain_address(host: str) -> str | None:
    with contextlib.suppress(ValueError):
        # Without the zone of an IPv6 address, which may be any text.
        return str(ip_address(host.partition("%")[0]))
    return None


def correlation_id(connection: ASGIConnection[Any, Any, Any, Any]) -> str:
    """The id that stands in the answer's X-Request-ID, in the log and in the events."""
    known: str = connection.scope["state"]["correlation_id"]
    return known
