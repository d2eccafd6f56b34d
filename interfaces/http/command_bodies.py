"""The small JSON bodies of commands: read strictly, and refused with what to change."""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from litestar.dto import AbstractDTO
from litestar.dto.config import DTOConfig
from msgspec import Meta, Raw, Struct

from domain.errors import FieldError, InvalidBody, pointer, printed, shown
from domain.requesting import Period
from interfaces.http.json_body import UNREADABLE, check_media_type
from interfaces.http.problems import MalformedBody
from interfaces.http.shape import MOST_TOLD

if TYPE_CHECKING:
    from litestar.dto.data_structures import DTOFieldDefinition
    from litestar.openapi.spec import Reference, Schema
    from litestar.typing import FieldDefinition

# Ids hold the milliseconds since then.
_FIRST = datetime(1970, 1, 1, tzinfo=UTC)
LONGEST_NOTE = 1_000
MOST_AT_ONCE = 500

Note = Annotated[
    str,
    Meta(
        description="Why, for whoever looks at it later: at most 1,000 characters.",
        max_length=LONGEST_NOTE,
        examples=["The target is being moved."],
    ),
]


class Pausing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a task is to be paused."""

    note: Note | None = None


class Cancelling(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How an execution is to be cancelled."""

    note: Note | None = None


class Backfilling(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which occurrences of the past are to run."""

    start: Annotated[
        datetime,
        Meta(
            description="The first instant that may run, ISO 8601 with its offset.",
            tz=True,
            examples=["2026-01-01T00:00:00Z"],
        ),
    ]
    end: Annotated[
        datetime,
        Meta(
            description="The first instant that may not: not in the future.",
            tz=True,
            examples=["2026-01-02T00:00:00Z"],
        ),
    ]
    limit: Annotated[
        int, Meta(description="How many occurrences to look at: 1 to 500.", ge=1, le=MOST_AT_ONCE)
    ] = 100

    def period(self, now: datetime) -> Period:
        """The period that is meant. Raises `InvalidBody`."""
        errors = []
        if self.start < _FIRST:
            detail = f"{self.start.isoformat()} is before 1970: give a later instant."
            errors.append(FieldError(pointer="/start", detail=detail))
        if self.end > now:
            detail = f"{self.end.isoformat()} is in the future: give an instant up to now."
            errors.append(FieldError(pointer="/end", detail=detail))
        if self.start >= self.end:
            detail = f"{self.start.isoformat()} is not before `end`: give an earlier instant."
            errors.append(FieldError(pointer="/start", detail=detail))
        if errors:
            raise InvalidBody(errors)
        return Period(start=self.start.astimezone(UTC), end=self.end.astimezone(UTC), limit=self.limit)


# Far more revisions than any task has, and within what JSON and Postgres count with.
HIGHEST_NUMBER = 1_000_000_000


class RollingBack(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which definition is to be the present one again."""

    to: Annotated[
        int,
        Meta(
            description=f"The number of a revision: a whole number from 1 to {HIGHEST_NUMBER:,}.",
            ge=1,
            le=HIGHEST_NUMBER,
            examples=[1],
        ),
    ]


_WANTED = {
    "to": "the number of a revision, a whole number from 1",
    "note": "a string of at most 1,000 characters, or null",
    "start": 'an instant by ISO 8601 with its offset, such as "2026-01-01T00:00:00Z"',
    "end": 'an instant by ISO 8601 with its offset, such as "2026-01-02T00:00:00Z"',
    "limit": "a whole number from 1 to 500",
    "tasks": "a list of 1 to 1,000 tasks",
}
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<name>\w+)`")
_PLACE = re.compile(r" - at `\$\.(?P<name>\w+)`$")


def read_command[B: Struct](body: bytes, shape: type[B]) -> B:
    """A command's body. Raises `MalformedBody` and `InvalidBody`."""
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.ValidationError as error:
        raise InvalidBody(_explained(str(error), body, shape)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedBody(f"The body is not JSON: {error}.") from None


def _explained(said: str, body: bytes, shape: type[Struct]) -> list[FieldError]:
    if unknown := _UNKNOWN.match(said):
        return _misfits(body, shape) or [_unknown(unknown["name"], shape)]
    if missing := _MISSING.match(said):
        return _misfits(body, shape) or [_missing(missing["name"])]
    if place := _PLACE.search(said):
        name = place["name"]
        detail = f"{_as_sent(body, name)} will not do: give {_WANTED[name]}."
        return [FieldError(pointer=f"/{name}", detail=detail)]
    known = ", ".join(shape.__struct_fields__)
    return [FieldError(pointer="", detail=f"This is not an object: send one. Known members are {known}.")]


def _misfits(body: bytes, shape: type[Struct]) -> list[FieldError]:
    """The members that the object lacks, and those that it does not have; none where it cannot be read."""
    try:
        members = msgspec.json.decode(body, type=dict[str, Raw])
    except UNREADABLE:
        return []
    fields = {field.name: field.required for field in msgspec.structs.fields(shape)}
    missing = [_missing(name) for name, required in fields.items() if required and name not in members]
    return [*missing, *(_unknown(name, shape) for name in members if name not in fields)][:MOST_TOLD]


def _missing(name: str) -> FieldError:
    return FieldError(pointer=f"/{name}", detail=f"This field is missing: add {_WANTED[name]}.")


def _unknown(name: str, shape: type[Struct]) -> FieldError:
    known = ", ".join(shape.__struct_fields__)
    detail = f"{shown(name)} is not a field here: leave it out. Known are {known}."
    return FieldError(pointer=pointer(name), detail=detail)


def _as_sent(body: bytes, name: str) -> str:
    """A member's JSON: a number need not be one that can be read."""
    try:
        sent = bytes(msgspec.json.decode(body, type=dict[str, Raw])[name])
    except UnicodeDecodeError:  # of a name
        return "This"
    return printed(sent.decode(errors="replace"))


class CommandBody[B: Struct](AbstractDTO[B]):
    """Litestar's seam for reading `data`, as for a task."""

    config = DTOConfig()

    def decode_bytes(self, value: bytes) -> B:
        """The body. Raises `UnsupportedMediaType`, `MalformedBody` and `InvalidBody`."""
        check_media_type(self.asgi_connection.headers)
        return read_command(value, self.model_type)

    @classmethod
    def create_for_field_definition(cls, *_: Any, **__: Any) -> None:
        """Nothing is generated: this class decodes by itself."""

    @classmethod
    def create_openapi_schema(
        cls, field_definition: FieldDefinition, handler_id: str, schema_creator: Any
    ) -> Reference | Schema:
        """The schema of the body as it is annotated."""
        schema: Reference | Schema = schema_creator.for_field_definition(field_definition)
        return schema

    @classmethod
    def generate_field_definitions(cls, model_type: type[Any]) -> Generator[DTOFieldDefinition, None, None]:
        """Nothing is generated: this class decodes by itself."""
        yield from ()

    @classmethod
    def detect_nested_field(cls, field_definition: FieldDefinition) -> bool:
        """Nothing is generated: this class decodes by itself."""
        return False


class PausingBody(CommandBody[Pausing]):
    """May be left out: then the handler's default stands for it."""

    model_type = Pausing


class CancellingBody(CommandBody[Cancelling]):
    """May be left out: then the handler's default stands for it."""

    model_type = Cancelling


class BackfillingBody(CommandBody[Backfilling]):
    """Needed."""

    model_type = Backfilling


class RollingBackBody(CommandBody[RollingBack]):
    """Needed."""

    model_type = RollingBack


COMMAND_EXAMPLES: Mapping[str, Any] = {
    "Pausing": {"note": {"summary": "With its reason", "value": {"note": "The target is being moved."}}},
    "Cancelling": {"note": {"summary": "With its reason", "value": {"note": "It hangs."}}},
    "RollingBack": {"first": {"summary": "To the first definition", "value": {"to": 1}}},
    "Backfilling": {
        "day": {
            "summary": "A day",
            "value": {"start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z", "limit": 100},
        }
    },
}
