"""The event log: of a task, of an execution, or all of it, in pages or line by line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import UUID

from litestar import Controller, Request, Response, get
from litestar.di import Provide
from litestar.params import QueryParameter
from msgspec import Struct

from application.events import EventFilter
from domain.errors import ExecutionNotFound, TaskNotFound
from interfaces.http import documentation as doc
from interfaces.http.api import Api
from interfaces.http.event_answers import LINES, EventPage, lines
from interfaces.http.explanations import ExplainedExecutionId
from interfaces.http.injection import Injected
from interfaces.http.instants import INSTANT, instant
from interfaces.http.parameters import HIGHEST_POSITION, NAMESPACE, NO_NUL, TaskId
from interfaces.http.problem_types import (
    ARCHIVE_AWAY,
    DATABASE_UNAVAILABLE,
    EXECUTION_NOT_FOUND,
    TASK_NOT_FOUND,
)

if TYPE_CHECKING:
    from application.events import EventPage as Page

_IN_LINES = (
    " With `Accept: application/x-ndjson` all of them are sent, a line of JSON an event, without being "
    "gathered first; a connection that breaks off has not told all."
)
USUAL_LIMIT = 50


class Limit(Struct, frozen=True, kw_only=True):
    """How many events."""

    limit: Annotated[
        int | None,
        QueryParameter(
            ge=1,
            le=200,
            description="Events on a page: a whole number from 1 to 200, 50 when left out; of lines, how "
            "many at most, all when left out.",
        ),
    ] = None


class StreamSelection(Limit, frozen=True, kw_only=True):
    """Which events of a stream."""

    after: Annotated[
        int,
        QueryParameter(
            gt=-1,  # `ge=0` counts as unset in Litestar
            le=HIGHEST_POSITION,
            description="Only events after this version: a whole number, the `next_after` of a page.",
        ),
    ] = 0


class EventSelection(Limit, frozen=True, kw_only=True):
    """Which events of the log."""

    after: Annotated[
        int,
        QueryParameter(
            gt=-1,
            le=HIGHEST_POSITION,
            description="Only events after this position: a whole number, the `next_after` of a page or the "
            "`X-Event-Position` of a write.",
        ),
    ] = 0
    topic: Annotated[
        str | None,
        QueryParameter(
            min_length=1,
            max_length=100,
            pattern=NO_NUL,
            description="Only topics that begin so, such as task.updated.v1 or task.: 1 to 100 characters.",
        ),
    ] = None
    task_id: Annotated[
        UUID | None, QueryParameter(description="Only events of this task and of its executions: a UUID.")
    ] = None
    namespace: Annotated[
        str | None,
        QueryParameter(
            min_length=1,
            max_length=255,
            pattern=NO_NUL,
            description="Only events of this namespace: 1 to 255 characters.",
        ),
    ] = None
    actor: Annotated[
        str | None,
        QueryParameter(
            min_length=1,
            max_length=255,
            pattern=NO_NUL,
            description="Only what this actor decided, by its whole name: 1 to 255 characters.",
        ),
    ] = None
    recorded_from: Annotated[
        str | None,
        QueryParameter(format="date-time", description=f"Only events recorded then or later: {INSTANT}"),
    ] = None
    recorded_to: Annotated[
        str | None, QueryParameter(format="date-time", description=f"Only events recorded before: {INSTANT}")
    ] = None

    def filters(self) -> EventFilter:
        """What lets an event through. Raises `InvalidParameters`."""
        return EventFilter(
            topic=self.topic,
            task_id=self.task_id,
            namespace=self.namespace,
            actor=self.actor,
            recorded_from=instant("recorded_from", self.recorded_from),
            recorded_to=instant("recorded_to", self.recorded_to),
        )


class EventController(Controller):
    """What was asked and what was done, as the log holds it."""

    path = "/"
    tags = ("history",)

    @get(
        "/events",
        operation_id="listEvents",
        summary="List events",
        description="Everything that the log holds, in its one order, from any position. A page looks at no "
        "more than 10,000 events, so with filters it may be short before the end: go on from `next_after` "
        "while there is `more`." + _IN_LINES + " Those that match up to `X-Event-Position` are among them.",
        dependencies={"selection": Provide(EventSelection, sync_to_thread=False)},
        response_headers=[doc.READ_TO],
        response_description="The events that match, page by page.",
        responses=doc.problems(DATABASE_UNAVAILABLE, ARCHIVE_AWAY),
    )
    async def list_events(
        self, request: Request[Any, Any, Any], api: Injected[Api], selection: Injected[EventSelection]
    ) -> Response[EventPage]:
        """Events by kind, task, actor and time."""
        wanted, events = selection.filters(), api.parts.events
        if not _in_lines(request):
            page = await events.page(wanted, selection.after, selection.limit or USUAL_LIMIT)
            return Response(EventPage.of(page))
        head = await events.head()

        async def read(after: int, limit: int) -> Page:
            return await events.page(wanted, after, limit, head)

        return lines(request, read, selection.after, selection.limit, {"X-Event-Position": str(head)})

    @get(
        "/tasks/{id:str}/events",
        operation_id="listTaskEvents",
        summary="List a task's events",
        description="What happened to the task itself, in order; `/events?task_id=` looks for those of its "
        "executions, too." + _IN_LINES,
        dependencies={"selection": Provide(StreamSelection, sync_to_thread=False)},
        response_description="The task's events, page by page.",
        responses=doc.problems(TASK_NOT_FOUND, DATABASE_UNAVAILABLE, ARCHIVE_AWAY),
    )
    async def list_task_events(
        self,
        request: Request[Any, Any, Any],
        api: Injected[Api],
        task_id: TaskId,
        selection: Injected[StreamSelection],
    ) -> Response[EventPage]:
        """Created, updated, paused, resumed, completed or cancelled: by whom and when."""
        if not await is_there(api, task_id, "task"):
            raise TaskNotFound(task_id)
        return await _of_stream(request, api, task_id, selection)

    @get(
        "/executions/{id:str}/events",
        operation_id="listExecutionEvents",
        summary="List an execution's events",
        description="Every step of an execution, in order." + _IN_LINES,
        dependencies={"selection": Provide(StreamSelection, sync_to_thread=False)},
        response_description="The execution's events, page by page.",
        responses=doc.problems(EXECUTION_NOT_FOUND, DATABASE_UNAVAILABLE, ARCHIVE_AWAY),
    )
    async def list_execution_events(
        self,
        request: Request[Any, Any, Any],
        api: Injected[Api],
        execution_id: ExplainedExecutionId,
        selection: Injected[StreamSelection],
    ) -> Response[EventPage]:
        """Claimed, called, retried, taken over, ended: by whom and when."""
        if not await is_there(api, execution_id, "execution"):
            raise ExecutionNotFound(execution_id)
        return await _of_stream(request, api, execution_id, selection)


async def is_there(api: Api, stream: UUID, kind: Literal["task", "execution"]) -> bool:
    """Whether the log has a stream of this kind in the namespace that is served."""
    origin = await api.parts.events.origin(stream)
    return origin is not None and (origin.kind, origin.namespace) == (kind, NAMESPACE)


async def _of_stream(
    request: Request[Any, Any, Any], api: Api, stream: UUID, selection: StreamSelection
) -> Response[EventPage]:
    async def read(after: int, limit: int) -> Page:
        return await api.parts.events.of_stream(stream, after, limit)

    if _in_lines(request):
        return lines(request, read, selection.after, selection.limit, {})
    return Response(EventPage.of(await read(selection.after, selection.limit or USUAL_LIMIT)))


def _in_lines(request: Request[Any, Any, Any]) -> bool:
    choices = ["application/json", LINES]
    return request.accept.best_match(choices, default=choices[0]) == LINES
