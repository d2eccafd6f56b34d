"""Creating many tasks by one request."""

from __future__ import annotations

import asyncio
from itertools import batched
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

from litestar import Request, Response, post
from litestar.params import JSONBody
from msgspec import Meta, Struct

from interfaces.http import documentation as doc
from interfaces.http.api import Api, command_request
from interfaces.http.bulk_body import BulkBody, UnreadTasks, read_wish
from interfaces.http.injection import Injected
from interfaces.http.json_body import digest
from interfaces.http.parameters import BulkKey, ChangeReason, Prefer
from interfaces.http.problem_answers import problem
from interfaces.http.problem_types import (
    BODY_TOO_LARGE,
    DATABASE_UNAVAILABLE,
    IDEMPOTENCY_KEY_REUSED,
    INVALID_BODY,
    MALFORMED_JSON,
    TOO_MANY_TASKS,
    UNSUPPORTED_MEDIA_TYPE,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from application.bulk import AcceptedBulk
    from application.wishes import Outcome, Wish

_BODY = (MALFORMED_JSON, BODY_TOO_LARGE, TOO_MANY_TASKS, UNSUPPORTED_MEDIA_TYPE, INVALID_BODY)
# Reading takes some ten microseconds a task: others are served in between.
READ_AT_ONCE = 50


class BulkItem(Struct, frozen=True, kw_only=True):
    """What became of one of the tasks."""

    index: Annotated[int, Meta(description="Its place in `tasks` of the request, from 0.")]
    id: Annotated[UUID | None, Meta(description="The task; null: it was refused.")]
    created: Annotated[
        bool, Meta(description="false: refused, or created before with the same `idempotency_key`.")
    ]
    problem: Annotated[
        doc.Problem | None,
        Meta(description="What `POST /tasks` would have answered; a `pointer` points into the task."),
    ]


class BulkAnswer(Struct, frozen=True, kw_only=True):
    """What became of each task, in the order of the request."""

    created: int
    existing: Annotated[int, Meta(description="Created before, with the same `idempotency_key`.")]
    refused: int
    items: list[BulkItem]


@post(
    "/tasks/bulk",
    operation_id="createTasks",
    summary="Create many tasks",
    description="Up to 1,000 tasks, each as `POST /tasks` takes it. A bad one is refused by itself, with the "
    "problem that it would have got alone; the good ones are stored together: all of them or none. An error "
    "says that none is stored, but for 500 and 503, after which that is not known: repeat the request with "
    "its key. Answers once lists show the tasks, or after two seconds.",
    status_code=201,
    dto=BulkBody,
    return_dto=None,
    tags=["tasks"],
    response_headers=[doc.LAST_EVENT_POSITION, doc.PREFERENCE_APPLIED],
    response_description="Every task is there.",
    responses={
        **doc.some_refused(BulkAnswer),
        **doc.problems(*_BODY, IDEMPOTENCY_KEY_REUSED, DATABASE_UNAVAILABLE),
    },
)
async def create_tasks(
    request: Request[Any, Any, Any],
    data: JSONBody[UnreadTasks],
    api: Injected[Api],
    idempotency_key: BulkKey = None,
    prefer: Prefer = None,
    x_change_reason: ChangeReason = None,
) -> Response[BulkAnswer]:
    """Accept those that can be."""
    body = b"" if idempotency_key is None else await request.body()
    asked = command_request(request, x_change_reason, idempotency_key, digest(body) if body else None)
    wishes = await _read(data, api.options.default_timezone)
    accepted = await api.parts.bulk.create(wishes, asked)
    headers = {} if accepted.position is None else await api.settled(accepted.position, prefer)
    answer = _answer(accepted, request)
    return Response(answer, status_code=207 if answer.refused else 201, headers=headers)


async def _read(data: UnreadTasks, default_timezone: str) -> Sequence[Wish]:
    wishes: list[Wish] = []
    for some in batched(data.tasks, READ_AT_ONCE):
        wishes += (read_wish(task, default_timezone) for task in some)
        await asyncio.sleep(0)
    return wishes


def _answer(accepted: AcceptedBulk, request: Request[Any, Any, Any]) -> BulkAnswer:
    items = [_item(index, outcome, request) for index, outcome in enumerate(accepted.outcomes)]
    created = sum(item.created for item in items)
    refused = sum(item.id is None for item in items)
    return BulkAnswer(created=created, existing=len(items) - created - refused, refused=refused, items=items)


def _item(index: int, outcome: Outcome, request: Request[Any, Any, Any]) -> BulkItem:
    refusal = outcome.refusal
    return BulkItem(
        index=index,
        id=outcome.task_id,
        created=outcome.task_id is not None and not outcome.existing,
        problem=None if refusal is None else problem(request, refusal),
    )
