"""Reads a request's body strictly: declared as JSON, readable, of the right shape, not nested too deeply."""

from __future__ import annotations

import hashlib
from codecs import BOM_UTF8
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import msgspec
from litestar.dto import AbstractDTO
from litestar.dto.config import DTOConfig

from domain.errors import FieldError, ValidationFailed
from interfaces.http import shape
from interfaces.http.bodies import TaskDefinition
from interfaces.http.problems import MalformedBody, UnsupportedMediaType

if TYPE_CHECKING:
    from collections.abc import Iterator

    from litestar.datastructures import Headers
    from litestar.dto.data_structures import DTOFieldDefinition
    from litestar.openapi.spec import Reference, Schema
    from litestar.typing import FieldDefinition

# Far below where encoders, Postgres and receivers give up, far above what anybody writes.
DEEPEST_NESTING = 100
_TOO_DEEP = f"This is nested more than {DEEPEST_NESTING} levels deep: flatten it."
# What decoding raises for bytes that are no JSON, or hold a number or a depth that cannot be read.
UNREADABLE = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)
_CHARSETS = frozenset({"utf-8", "utf8", "us-ascii"})


class TaskBody(AbstractDTO[TaskDefinition]):
    """Litestar's seam for reading `data`: it documents the body, and this class decodes it.

    Litestar's own decoding would lose the place of an error and take `"3"` for 3.
    """

    model_type = TaskDefinition
    config = DTOConfig()

    def decode_bytes(self, value: bytes) -> TaskDefinition:
        """The body. Raises `UnsupportedMediaType`, `MalformedBody` and `ValidationFailed`."""
        check_media_type(self.asgi_connection.headers)
        return read_task(value)

    @classmethod
    def create_for_field_definition(cls, *_: Any, **__: Any) -> None:
        """Nothing is generated: this class decodes by itself."""

    @classmethod
    def create_openapi_schema(
        cls,
        field_definition: FieldDefinition,
        handler_id: str,
        schema_creator: Any,
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


def check_media_type(headers: Headers) -> None:
    """Raises `UnsupportedMediaType` unless the body is declared as uncompressed JSON in UTF-8."""
    declared = headers.get("content-type", "")
    media_type, *parameters = (part.strip().lower() for part in declared.split(";"))
    subtype = media_type.removeprefix("application/")
    if subtype == media_type or not (subtype == "json" or subtype.endswith("+json")):
        given = f"not {declared!r}" if declared else "this request has none"
        raise UnsupportedMediaType(f"Send Content-Type: application/json; {given}.")
    for parameter in parameters:
        if parameter.startswith("charset=") and parameter[8:].strip('"') not in _CHARSETS:
            raise UnsupportedMediaType(f"Send the JSON in UTF-8; not in {parameter[8:]!r}.")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType(
            f"Send the body as it is; not with Content-Encoding {headers['content-encoding']!r}."
        )


def read_task(body: bytes) -> TaskDefinition:
    """A task's definition, of the right shape. Raises `MalformedBody` and `ValidationFailed`."""
    try:
        task = msgspec.json.decode(body, type=TaskDefinition)
    except msgspec.ValidationError as error:
        raise ValidationFailed(shape.explain(error, decoded(body))) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedBody(f"The body is not JSON: {_unreadable(body) or error}.") from None
    except RecursionError:
        raise MalformedBody("The body is nested too deeply: flatten it.") from None
    if too_deep := [FieldError(pointer=where, detail=_TOO_DEEP) for where in _too_deep(task)]:
        raise ValidationFailed(too_deep)
    return task


def digest(body: bytes) -> str:
    """The same for the same JSON, however it is spaced and in whatever order its members are.

    Where a number, or a part that nobody looked at, cannot be read, it is that of the bytes.
    """
    try:
        canonical = msgspec.json.encode(msgspec.json.decode(body), order="sorted")
    except UNREADABLE:
        canonical = body
    return hashlib.sha256(canonical).hexdigest()


def _unreadable(body: bytes) -> str | None:
    """What msgspec tells of the bytes less plainly, or, of a string among them, not where it is."""
    if body.startswith(BOM_UTF8):
        return "it starts with a byte order mark; leave that out"
    try:
        body.decode()
    except UnicodeDecodeError as error:
        return f"byte {error.start} is not UTF-8; send the JSON in UTF-8"
    return None


def decoded(body: bytes) -> Any:
    """The value; None, where it is JSON's null or cannot be read."""
    try:
        return msgspec.json.decode(body)
    except UNREADABLE:
        return None


def _too_deep(task: TaskDefinition) -> Iterator[str]:
    if _deeper_than(DEEPEST_NESTING, task.action.payload):
        yield "/action/payload"
    if task.success and task.success.json and _deeper_than(DEEPEST_NESTING, task.success.json.equals):
        yield "/success/json/equals"


def _deeper_than(levels: int, value: Any) -> bool:
    layer = [value]
    for _ in range(levels + 1):
        layer = [
            inner
            for item in layer
            for inner in (item.values() if isinstance(item, dict) else item if isinstance(item, list) else ())
        ]
        if not layer:
            return False
    return True
