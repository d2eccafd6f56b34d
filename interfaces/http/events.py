"""The event log: of a task, of an execution, or all of it, in pages or line by line."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

import msgspec
from litestar import Controller, Request, Response, get
from litestar.di import Provide
from litestar.params import QueryParameter
from litestar.response import Stream
from msgspec import Meta, Struct

from application import ports as events
from application.ports import EventFilter
from application.ports import EventPage as Page
from domain.errors import ExecutionNotFound, TaskNotFound
from interfaces.http import documentation as doc
from interfaces.http.api import Api
from interfaces.http.explanations import ExplainedExecutionId
from interfaces.http.parameters import HIGHEST_POSITION, INSTANT, NAMESPACE, NO_NUL, Injected, TaskId, instant
from interfaces.http.problems import ARCHIVE_AWAY, DATABASE_UNAVAILABLE, EXECUTION_NOT_FOUND, TASK_NOT_FOUND

LINES = "application/x-ndjson"
LINES_AT_ONCE = 200
"""Events that are read at a time for whoever reads all of them; no more are in memory."""

_lines = msgspec.json.Encoder()


class Event(Struct, frozen=True, kw_only=True):
    """Something that has happened, as the log holds it."""

    position: Annotated[int, Meta(description="Its place in the log, the one order of all events.")]
    recorded_at: Annotated[datetime, Meta(description="When it was stored, by the database's clock.")]
    stream: Annotated[UUID, Meta(description="The task, the execution or the idempotency key it is about.")]
    version: Annotated[int, Meta(description="Its number in that stream, from 1.")]
    topic: Annotated[str, Meta(description="What kind of event it is; a topic never changes its meaning.")]
    namespace: Annotated[str | None, Meta(description="Of its stream; null: that cannot be told.")]
    actor: Annotated[str, Meta(description="Who decided.")]
    correlation_id: Annotated[
        str,
        Meta(description="The `X-Request-ID` of the request that led to it; of schedulers, the execution."),
    ]
    address: Annotated[
        str | None, Meta(description="The IP address that it was asked for from; null: none is known.")
    ]
    reason: Annotated[str | None, Meta(description="The `X-Change-Reason` of the request, if it had one.")]
    redacted: Annotated[bool, Meta(description="Whether parts of it were erased: they read as `[redacted]`.")]
    data: Annotated[
        dict[str, Any] | None, Meta(description="What was decided, as it is stored; null: it is unreadable.")
    ]


class EventPage(Struct, frozen=True, kw_only=True):
    """Some events, in their order."""

    # Events are held as the reader made them, which have the very members of `Event`: none is copied.

    items: list[Event]
    next_after: Annotated[
        int, Meta(description="`after` of the next page: whoever goes on from there misses no event.")
    ]
    more: Annotated[
        bool,
        Meta(
            description="Whether the next page has something to look at by now. A page looks at a bounded "
            "number of events, so one with filters may be short, or empty, before the end."
        ),
    ]

    @classmethod
    def of(cls, page: events.EventPage) -> Self:
        """A page as it is shown."""
        items: list[Any] = list(page.items)
        return cls(items=items, next_after=page.next_after, more=page.more)


def lines(
    request: Request[Any, Any, Any],
    read: Callable[[int, int], Awaitable[events.EventPage]],
    after: int,
    most: int | None,
    headers: Mapping[str, str],
) -> Response[Any]:
    """All that `read` gives page by page after a place, at most so many: a line an event, sent once read."""
    if request.scope["state"]["without_content"]:
        most = 0
    return Stream(_each_line(read, after, most), media_type=LINES, headers=headers)


async def _each_line(
    read: Callable[[int, int], Awaitable[events.EventPage]], after: int, most: int | None
) -> AsyncIterator[bytes]:
    more = True
    while more and most != 0:
        page = await read(after, LINES_AT_ONCE if most is None else min(most, LINES_AT_ONCE))
        if page.items:
            yield _lines.encode_lines(page.items)
        after, more = page.next_after, page.more
        most = None if most is None else most - len(page.items)


_IN_LINES = (
    " With `Accept: application/x-ndjson` all of them are sent, a line of JSON an event, without being "
    "gathered first; a connection that breaks off has not told all."
)
USUAL_LIMIT = 50


class Limit(Struct, frozen=True, kw_only=True):
    """The number of events on a page."""

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
    """The page of a stream that is asked for."""

    after: Annotated[
        int,
        QueryParameter(
            gt=-1,  # `ge=0` counts as unset in Litestar
            le=HIGHEST_POSITION,
            description="Only events after this version: a whole number, the `next_after` of a page.",
        ),
    ] = 0


class EventSelection(Limit, frozen=True, kw_only=True):
    """The events of the log that are asked for."""

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
        """The filter of the log. Raises `InvalidParameters`."""
        return EventFilter(
            topic=self.topic,
            task_id=self.task_id,
            namespace=self.namespace,
            actor=self.actor,
            recorded_from=instant("recorded_from", self.recorded_from),
            recorded_to=instant("recorded_to", self.recorded_to),
        )


class EventController(Controller):
    """Commands and their effects, as the log holds them."""

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
    """True when the log has a stream of this kind in the namespace that is served."""
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
