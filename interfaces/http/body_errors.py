"""Bodies of requests: read strictly, and refused with every fault at once, its place and what to change."""

import difflib
import hashlib
import json
import math
import sys
from codecs import BOM_UTF8
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec
from litestar.datastructures import Headers
from litestar.dto import AbstractDTO
from litestar.dto.config import DTOConfig
from litestar.dto.data_structures import DTOFieldDefinition
from litestar.openapi.spec import Reference, Schema
from litestar.typing import FieldDefinition
from msgspec import Struct

from domain.errors import FieldError, InvalidBody, ValidationFailed, pointer, printed, shown
from interfaces.http.answers import Task
from interfaces.http.bodies import TaskDefinition
from interfaces.http.problems import MalformedBody, UnsupportedMediaType

if TYPE_CHECKING:
    from jsonschema_rs import ValidationError, Validator

# Far below where encoders, Postgres and receivers give up, far above what anybody writes.
DEEPEST_NESTING = 100
_TOO_DEEP = f"This is nested more than {DEEPEST_NESTING} levels deep: flatten it."
# What decoding raises for bytes that are no JSON, or hold a number or a depth that cannot be read.
UNREADABLE = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)
# Each is explained by a sentence; a body can hold a hundred thousand of them.
MOST_TOLD = 20
# Validating takes some 40 µs a fault. No list or map that a schema describes may be longer, or lies deeper.
_MOST_VALIDATED, _DEEPEST_VALIDATED = 200, 8
_CHARSETS = frozenset({"utf-8", "utf8", "us-ascii"})
# Whoever sends back a task as it was read is told to leave these out.
_READ_ONLY = frozenset(Task.__struct_fields__) - frozenset(TaskDefinition.__struct_fields__)
_BEYOND = sys.float_info.max
"""Stands for a number that cannot be read."""


class JsonBody[B: Struct](AbstractDTO[B]):
    """Litestar's seam for reading `data`: it documents the body as it is annotated, and reads it by `read`.

    Litestar's own decoding would lose the place of an error and take `"3"` for 3.
    """

    config = DTOConfig()

    def decode_bytes(self, value: bytes) -> B:
        """The body. Raises `UnsupportedMediaType`, `MalformedBody` and `ValidationFailed`."""
        check_media_type(self.asgi_connection.headers)
        return read(value, self.model_type)

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
    return read(body, TaskDefinition)


def read[B: Struct](body: bytes, shape: type[B]) -> B:
    """The value of a body. Raises `MalformedBody`, and `InvalidBody`, or of a task `ValidationFailed`.

    What cannot be decoded is validated against the schema of its shape, which tells every fault.
    """
    refusal = ValidationFailed if issubclass(shape, TaskDefinition) else InvalidBody
    try:
        value = msgspec.json.decode(body, type=shape)
    except msgspec.ValidationError:
        if faults := list(islice(_faults(body, shape), MOST_TOLD)):
            raise refusal(faults) from None
        value = _read_leniently(body, shape, refusal)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(body, error) from None
    if too_deep := [FieldError(pointer=where, detail=_TOO_DEEP) for where in _too_deep(value)]:
        raise refusal(too_deep)
    return value


def _read_leniently[B: Struct](body: bytes, shape: type[B], refusal: type[ValidationFailed]) -> B:
    """A body that fits its schema. To JSON Schema, 3.0 is a whole number like 3."""
    try:
        return msgspec.json.decode(body, type=shape, strict=False)
    except msgspec.ValidationError as error:  # of a member that is given twice, the schema sees the last
        detail = f"This cannot be read ({printed(str(error))}): give each member once."
        raise refusal([FieldError(pointer="", detail=detail)]) from None


def digest(body: bytes) -> str:
    """The same for the same JSON, however it is spaced and in whatever order its members are.

    Where a number, or a part that nobody looked at, cannot be read, it is that of the bytes.
    """
    try:
        canonical = msgspec.json.encode(msgspec.json.decode(body), order="sorted")
    except UNREADABLE:
        canonical = body
    return hashlib.sha256(canonical).hexdigest()


def _malformed(body: bytes, error: Exception) -> MalformedBody:
    if isinstance(error, RecursionError):
        return MalformedBody("The body is nested too deeply: flatten it.")
    return MalformedBody(f"The body is not JSON: {_unreadable(body) or error}.")


def _unreadable(body: bytes) -> str | None:
    """A plainer reason than that of msgspec, which does not tell where in a string it stopped."""
    if body.startswith(BOM_UTF8):
        return "it starts with a byte order mark; leave that out"
    try:
        body.decode()
    except UnicodeDecodeError as error:
        return f"byte {error.start} is not UTF-8; send the JSON in UTF-8"
    return None


def _too_deep(value: Struct) -> Iterator[str]:
    task, place = (
        (value, "")
        if isinstance(value, TaskDefinition)
        else (
            getattr(value, "definition", None),
            "/definition",
        )
    )
    if not isinstance(task, TaskDefinition):
        return
    if _deeper_than(DEEPEST_NESTING, task.action.payload):
        yield f"{place}/action/payload"
    if task.success and task.success.json and _deeper_than(DEEPEST_NESTING, task.success.json.equals):
        yield f"{place}/success/json/equals"


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


def _faults(body: bytes, shape: type[Struct]) -> Iterator[FieldError]:
    """The faults of a body by the schema of its shape. Raises `MalformedBody`."""
    document = _document(body)
    told = {pointer(*names) for names in islice(_numbers_beyond(document), MOST_TOLD)}
    detail = "This number is too large to be read: give a smaller one, or a string."
    yield from (FieldError(pointer=where, detail=detail) for where in sorted(told))
    schema, validator = _validator(shape)
    for error in validator.iter_errors(_outline(document, _DEEPEST_VALIDATED)):
        for fault in _told(error, schema, {}):
            if fault.pointer not in told:  # two rules may say the same
                told.add(fault.pointer)
                yield fault


def _document(body: bytes) -> Any:
    """The JSON, with `_BEYOND` for each number that cannot be read. Raises `MalformedBody`."""
    try:
        return msgspec.json.decode(body)
    except msgspec.ValidationError:
        return _document_with_numbers(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(body, error) from None


def _document_with_numbers(body: bytes) -> Any:
    try:
        document = json.loads(body, parse_int=_whole, parse_float=_fraction, parse_constant=_constant)
        msgspec.json.encode(document)  # half a surrogate pair is no text
    except (ValueError, RecursionError) as error:
        raise _malformed(body, error) from None
    return document


def _whole(digits: str) -> float:
    try:
        return int(digits)
    except ValueError:  # more digits than Python reads
        return _BEYOND


def _fraction(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else _BEYOND


def _constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _numbers_beyond(document: Any) -> Iterator[tuple[str, ...]]:
    ahead: list[tuple[Any, tuple[str, ...]]] = [(document, ())]
    while ahead:
        value, names = ahead.pop()
        if value is _BEYOND:
            yield names
        elif isinstance(value, dict):
            ahead += ((item, (*names, name)) for name, item in value.items())
        elif isinstance(value, list):
            ahead += ((item, (*names, str(index))) for index, item in enumerate(value))


def _outline(value: Any, levels: int) -> Any:
    """As much of the value as decides whether it fits a schema."""
    if isinstance(value, dict):
        some = islice(value.items(), _MOST_VALIDATED if levels else 0)
        return {name: _outline(item, levels - 1) for name, item in some}
    if isinstance(value, list):
        return [_outline(item, levels - 1) for item in value[: _MOST_VALIDATED if levels else 0]]
    return value


@lru_cache
def _validator(shape: type[Struct]) -> "tuple[Mapping[str, Any], Validator]":
    import jsonschema_rs  # noqa: PLC0415 - 15 MB that only a refusal needs

    schema = msgspec.json.schema(shape)
    formats = {"date-time": _is_instant}
    # Unmasked, the message of each fault would hold the whole value, which nobody reads.
    return schema, jsonschema_rs.validator_for(schema, mask="", validate_formats=True, formats=formats)


def _is_instant(text: str) -> bool:
    """Without an offset, too: triggers take local time. Where none may be left out, there is a pattern."""
    try:
        msgspec.convert(text, datetime)
    except msgspec.ValidationError:
        return False
    return True


_KINDS = {
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "an object",
    "array": "an array",
    "null": "null",
}
_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean", dict: "object", list: "array"}
_FORMATS = {"date-time": "an instant by ISO 8601, with its offset", "uuid": "a UUID"}


def _told(
    error: "ValidationError", root: Mapping[str, Any], outer: Mapping[str, Any]
) -> Iterator[FieldError]:
    """The sentences to a fault; `outer` is the schema around one of several choices."""
    names = [str(name) for name in error.instance_path]
    schema = _at(root, error.schema_path[:-1])
    value, schema = error.instance, {**outer, **schema}
    match error.kind.name, error.kind.value:
        case "required", str(name):
            detail = f"This field is missing: add it{_such_as(schema['properties'][name], root)}."
            yield FieldError(pointer=pointer(*names, name), detail=detail)
        case "additionalProperties", list(unknown):
            for name in unknown:
                yield FieldError(pointer=pointer(*names, name), detail=_unknown(name, names, schema))
        case "anyOf", _:
            yield from _told_of_choices(error, root, schema)
        case keyword, _:
            yield FieldError(pointer=pointer(*names), detail=_wrong(keyword, value, schema, root))


def _told_of_choices(
    error: "ValidationError", root: Mapping[str, Any], schema: Mapping[str, Any]
) -> Iterator[FieldError]:
    """By the choice that was made, or that is the only one beside null."""
    choices: Sequence[Mapping[str, Any]] = schema["anyOf"]
    chosen = [place for place, choice in enumerate(choices) if choice.get("type") != "null"]
    names, value = [str(name) for name in error.instance_path], error.instance
    if "discriminator" in schema and isinstance(value, dict):
        key, mapping = schema["discriminator"]["propertyName"], schema["discriminator"]["mapping"]
        kind = value.get(key)
        if not (isinstance(kind, str) and kind in mapping):
            wanted = f"give {_listed(mapping)}."
            wrong = f"{_as_sent(kind)} is not a kind of {names[-1]}: {wanted}"
            detail = wrong if key in value else f"This field is missing: {wanted}"
            yield FieldError(pointer=pointer(*names, key), detail=detail)
            return
        chosen = [place for place, choice in enumerate(choices) if choice["$ref"] == mapping[kind]]
    elif "discriminator" in schema:
        detail = _wrong_type(value, _KINDS["object"], _such_as(schema, root))
        yield FieldError(pointer=pointer(*names), detail=detail)
        return
    if len(chosen) > 1:
        yield FieldError(pointer=pointer(*names), detail=_unfit(value, schema))
        return
    inner = {name: schema[name] for name in ("examples", "description", "format") if name in schema}
    contexts: Sequence[Sequence[ValidationError]] = getattr(error.kind, "context", ())
    for each in contexts[chosen[0]]:
        yield from _told(each, root, inner if each.instance_path == error.instance_path else {})


def _wrong(keyword: str, value: Any, schema: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    match keyword:
        case "type":
            wanted = _FORMATS.get(schema.get("format", ""), _KINDS[schema["type"]])
            return _wrong_type(value, wanted, _such_as(schema, root))
        case "enum":
            return f"{_as_sent(value)} is none of the choices: give {_listed(schema['enum'])}."
        case "format" | "pattern" if schema.get("format") in _FORMATS:
            return f"{_as_sent(value)} is not {_FORMATS[schema['format']]}{_such_as(schema, root)}."
        case "minimum" | "maximum" | "exclusiveMinimum":
            return f"{_as_sent(value)} is out of range: give {_range(schema)}."
        case _:
            return _unfit(value, schema)


def _wrong_type(value: Any, wanted: str, such_as: str) -> str:
    return f"This is {_KINDS[_TYPES.get(type(value), 'null')]}: give {wanted}{such_as}."


def _range(schema: Mapping[str, Any]) -> str:
    above, least, most = (schema.get(name) for name in ("exclusiveMinimum", "minimum", "maximum"))
    if above is not None:
        return f"more than {above:,}" + (f" and at most {most:,}" if most is not None else "")
    if least is not None:
        return f"{least:,} to {most:,}" if most is not None else f"{least:,} or more"
    return f"at most {most:,}"


def _unfit(value: Any, schema: Mapping[str, Any]) -> str:
    """A description always says what is allowed."""
    advice = schema.get("description", "Compare it with the OpenAPI document.")
    return f"{_as_sent(value)} will not do. {advice}"


def _unknown(name: str, names: Sequence[str], schema: Mapping[str, Any]) -> str:
    known = list(schema["properties"])
    if name in _READ_ONLY and schema["title"] in {"TaskDefinition", "BulkTask"}:
        return f"{shown(name)} is set by the service: leave it out."
    close = difflib.get_close_matches(name[:100], known, n=1)
    hint = f"did you mean {shown(close[0])}?" if close else "leave it out."
    return f"{shown(name)} is not a field{_of(names, schema)}: {hint} Known are {', '.join(known)}."


def _of(names: Sequence[str], schema: Mapping[str, Any]) -> str:
    kind = schema["properties"].get("type", {}).get("enum", [""])[0]
    if schema["title"].endswith("Trigger"):
        return f" of {'an' if kind[0] in 'aeiou' and kind != 'one-off' else 'a'} {kind} trigger"
    if schema["title"] == "TaskDefinition":
        return " of a task"
    return f" of {'.'.join(names)}" if names else " here"


def _at(root: Mapping[str, Any], path: Sequence[str | int]) -> Mapping[str, Any]:
    found: Any = root
    for step in path:
        found = found[step]
    there: Mapping[str, Any] = found
    return there


def _such_as(schema: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    """An example to copy, of the schema or of what it refers to, or the members of an object."""
    choices = [schema, *schema.get("anyOf", ())]
    refs = [root["$defs"][choice["$ref"].rpartition("/")[2]] for choice in choices if "$ref" in choice]
    example = next((each["examples"][0] for each in (*choices, *refs) if each.get("examples")), None)
    if example is not None:
        return f", such as {json.dumps(example)}"
    members = [name for each in (schema, *refs) for name in each.get("properties", ())]
    return f" with {', '.join(members)}" if members else ""


def _listed(choices: Iterable[str]) -> str:
    *others, last = [f'"{choice}"' for choice in choices]
    return f"{', '.join(others)} or {last}" if others else last


def _as_sent(value: Any) -> str:
    return shown(value) if isinstance(value, str) else printed(msgspec.json.encode(value).decode())
