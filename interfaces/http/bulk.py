"""Creating many tasks by one request."""

from __future__ import annotations

import asyncio
import re
from itertools import batched
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import msgspec
from litestar import Request, Response, post
from litestar.params import JSONBody
from litestar.typing import FieldDefinition
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from application.tasks import NewTask
from domain.errors import FieldError, ValidationFailed, printed
from interfaces.http import documentation as doc
from interfaces.http.api import Api, command_request
from interfaces.http.bodies import TaskDefinition
from interfaces.http.command_bodies import CommandBody, read_command
from interfaces.http.contract import problem
from interfaces.http.json_body import UNREADABLE, check_media_type, decoded, digest, read_task
from interfaces.http.parameters import BulkKey, ChangeReason, Injected, Prefer
from interfaces.http.problems import (
    BODY_TOO_LARGE,
    DATABASE_UNAVAILABLE,
    IDEMPOTENCY_KEY_REUSED,
    INVALID_BODY,
    MALFORMED_JSON,
    METHOD_NOT_ALLOWED,
    TOO_MANY_TASKS,
    UNSUPPORTED_MEDIA_TYPE,
    MalformedBody,
    TooManyTasks,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from litestar.openapi.spec import Reference, Schema

    from application.tasks import AcceptedBulk, Outcome

MOST_TASKS = 1_000
_KEY = re.compile(r"[!-~]{1,255}")
_WANTED_KEY = "give 1 to 255 visible ASCII characters without blanks, or leave it out."


class BulkTask(TaskDefinition, kw_only=True, forbid_unknown_fields=True):
    """A task as `POST /tasks` takes it, and optionally a key of its own."""

    idempotency_key: (
        Annotated[
            str,
            Meta(
                description="As the header `Idempotency-Key` of `POST /tasks`: with a key that was used for "
                "the same JSON before, the task of that time is the answer. Not to be used for other JSON.",
                pattern=r"^[!-~]{1,255}$",
                examples=["order-17"],
            ),
        ]
        | UnsetType
    ) = UNSET


class TaskBulk(Struct, kw_only=True, forbid_unknown_fields=True):
    """Tasks to be created."""

    tasks: Annotated[list[BulkTask], Meta(min_length=1, max_length=MOST_TASKS)]


class UnreadTasks(Struct, forbid_unknown_fields=True):
    """The same, each still to be read."""

    tasks: Annotated[list[Raw], Meta(min_length=1)]


class BulkBody(CommandBody[UnreadTasks]):
    """Litestar's seam for reading `data`: it documents `TaskBulk`."""

    model_type = UnreadTasks

    def decode_bytes(self, value: bytes) -> UnreadTasks:
        """The tasks. Raises `UnsupportedMediaType`, `MalformedBody`, `InvalidBody` and `TooManyTasks`."""
        check_media_type(self.asgi_connection.headers)
        body = read_command(value, UnreadTasks)
        if len(body.tasks) > MOST_TASKS:
            raise TooManyTasks(len(body.tasks), MOST_TASKS)
        return body

    @classmethod
    def create_openapi_schema(
        cls, field_definition: FieldDefinition, handler_id: str, schema_creator: Any
    ) -> Reference | Schema:
        """The schema of the body as it is to be sent."""
        return super().create_openapi_schema(
            FieldDefinition.from_annotation(TaskBulk), handler_id, schema_creator
        )


def read_new_task(task: Raw, default_timezone: str) -> NewTask:
    """A task that is to be created; what is wrong with it, where that shows at once, is in its place."""
    body, key = bytes(task), None
    try:
        if given := _given_key(body):
            key, body = _checked(given), _without_key(body)
        definition = read_task(body).to_domain(default_timezone)
    except (ValidationFailed, MalformedBody) as error:
        return NewTask(definition=error)
    return NewTask(definition=definition, key=key, digest="" if key is None else digest(body))


class _Keyed(Struct):
    idempotency_key: Raw = Raw()


def _given_key(body: bytes) -> bytes:
    """Its JSON; empty: there is none."""
    try:
        return bytes(msgspec.json.decode(body, type=_Keyed).idempotency_key)
    except UNREADABLE:
        return b""  # it is no object, or no JSON: reading the task says so


def _without_key(body: bytes) -> bytes:
    """The members as they were sent: what is wrong with their values, reading the task says."""
    try:
        members = msgspec.json.decode(body, type=dict[str, Raw])
    except UnicodeDecodeError:
        raise MalformedBody("The name of a member is not UTF-8; send the JSON in UTF-8.") from None
    del members["idempotency_key"]
    return msgspec.json.encode(members)


def _checked(given: bytes) -> str:
    key = decoded(given)
    if isinstance(key, str) and _KEY.fullmatch(key):
        return key
    detail = f"{printed(given.decode(errors='replace'))} is not a key: {_WANTED_KEY}"
    raise ValidationFailed([FieldError(pointer="/idempotency_key", detail=detail)])


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
        **doc.problems(*_BODY, METHOD_NOT_ALLOWED, IDEMPOTENCY_KEY_REUSED, DATABASE_UNAVAILABLE),
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
    new_tasks = await _read(data, api.options.default_timezone)
    accepted = await api.parts.bulk.create(new_tasks, asked)
    headers = {} if accepted.position is None else await api.settled(accepted.position, prefer)
    answer = _answer(accepted, request)
    return Response(answer, status_code=207 if answer.refused else 201, headers=headers)


async def _read(data: UnreadTasks, default_timezone: str) -> Sequence[NewTask]:
    new_tasks: list[NewTask] = []
    for some in batched(data.tasks, READ_AT_ONCE):
        new_tasks += (read_new_task(task, default_timezone) for task in some)
        await asyncio.sleep(0)
    return new_tasks


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
