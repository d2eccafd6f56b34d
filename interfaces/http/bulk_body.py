"""The JSON of many tasks to be created: each is read by itself, so that a bad one spoils no other."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from litestar.typing import FieldDefinition
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from application.wishes import Wish
from domain.errors import FieldError, Inadmissible
from domain.wording import printed
from interfaces.http.bodies import TaskDefinition
from interfaces.http.command_bodies import CommandBody, read_command
from interfaces.http.json_body import UNREADABLE, check_media_type, decoded, digest, read_task
from interfaces.http.refusals import MalformedBody, TooManyTasks

if TYPE_CHECKING:
    from litestar.openapi.spec import Reference, Schema

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


def read_wish(task: Raw, default_timezone: str) -> Wish:
    """A task that is to be created; what is wrong with it, where that shows at once, is in its place."""
    body, key = bytes(task), None
    try:
        if given := _given_key(body):
            key, body = _checked(given), _without_key(body)
        definition = read_task(body).to_domain(default_timezone)
    except (Inadmissible, MalformedBody) as error:
        return Wish(definition=error)
    return Wish(definition=definition, key=key, digest="" if key is None else digest(body))


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
    raise Inadmissible([FieldError(pointer="/idempotency_key", detail=detail)])
