"""Rows as COPY takes them: each field is in the place that its statement gives to its column."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from struct import unpack
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import fields

from projections import statistics
from projections import task_results as result_rows
from projections import tasks as task_rows
from projections.projection import statement
from projections.rows import microseconds, plain_bytes, plain_text
from projections.task_results import ResultRow
from projections.tasks import TaskRow
from projections.views import AttemptView
from tests.support.entries import definition

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
WIDEST = 8
JSON_COLUMNS = {"definition", "attempt_log", "response_headers"}


def columns(name: str) -> list[str]:
    """Those of a COPY statement, in its order."""
    listed = re.search(rb"\(([^()]*)\) FROM STDIN", statement(name))
    assert listed is not None
    return [column.strip() for column in listed[1].decode().split(",")]


def sent(name: str, row: Sequence[bytes]) -> dict[str, bytes | None]:
    """The value of each column of a packed row; None is NULL."""
    packed = b"".join(row)
    (count,), rest = unpack(">h", packed[:2]), packed[2:]
    values: list[bytes | None] = []
    while rest:
        (length,), rest = unpack(">i", rest[:4]), rest[4:]
        values.append(None if length < 0 else rest[:length])
        rest = rest[max(length, 0) :]
    assert count == len(values)
    return dict(zip(columns(name), values, strict=True))


def packed(value: object) -> bytes | None:
    """A value as Postgres takes it; of an integer only its number tells, whatever its width is."""
    match value:
        case None:
            return None
        case bool():
            return bytes([value])
        case int():
            return value.to_bytes(8)
        case datetime():
            return ((value - EPOCH) // timedelta(microseconds=1)).to_bytes(8)
        case UUID():
            return value.bytes
        case _:
            return str(value).encode()


def widened(value: bytes | None, expected: bytes | None) -> bytes | None:
    return (
        value.rjust(WIDEST, b"\0") if value and expected and len(value) < len(expected) == WIDEST else value
    )


def distinct[S: Struct](kind: type[S], **known: Any) -> S:
    """One of a kind in which no two numbers, instants or texts are the same."""
    made: dict[str, Any] = {}
    for number, field in enumerate(fields(kind), start=1):
        named = str(field.type)
        if field.name in known:
            made[field.name] = known[field.name]
        elif "UUID" in named:
            made[field.name] = uuid4()
        elif "datetime" in named:
            made[field.name] = EPOCH + timedelta(days=9_000, seconds=number, microseconds=7)
        elif "bool" in named:
            made[field.name] = True
        elif "int" in named:
            made[field.name] = 1_000 + number
        else:
            made[field.name] = f"text {number}"
    return kind(**made)


def result(**known: Any) -> ResultRow:
    view = AttemptView(number=1, started_at=EPOCH, duration_ms=5, status_code=200, error_message=None)
    return distinct(ResultRow, attempt_log=(view,), response_headers={"a": "b"}, **known)


@pytest.mark.parametrize(
    ("name", "pack", "row"),
    [
        ("put_open_results", result_rows._open_fields, result()),
        ("put_open_results", result_rows._open_fields, result(run_at=None, node=None, retry_at=None)),
        ("put_closed_results", result_rows._closed_fields, result(success=False)),
        ("put_closed_results", result_rows._closed_fields, result(response_body=None, status_code=None)),
        ("put_task_states", task_rows._state_fields, distinct(TaskRow, definition=None)),
        ("put_task_states", task_rows._state_fields, distinct(TaskRow, definition=None, next_run=None)),
    ],
)
def test_every_field_is_in_the_place_of_its_column(
    name: str, pack: Callable[[Struct], Sequence[bytes]], row: Struct
) -> None:
    for column, value in sent(name, pack(row)).items():
        if column not in JSON_COLUMNS:
            expected = packed(getattr(row, column))
            assert widened(value, expected) == expected, column


def test_what_is_json_is_in_its_place() -> None:
    values = sent("put_closed_results", result_rows._closed_fields(result()))
    assert values["response_headers"] == b'{"a":"b"}'
    assert (values["attempt_log"] or b"").startswith(b'[{"number":1,')


def test_a_definition_is_in_its_place() -> None:
    row = distinct(TaskRow, definition=definition())
    values = sent("put_task_definitions", task_rows._definition_fields(row))
    assert (values["id"], values["created_at"]) == (packed(row.id), packed(row.created_at))
    assert values["namespace"] == packed(row.namespace)
    assert values["name"] == packed(definition().name)
    assert values["url"] == packed(definition().action.url)


def test_what_is_awaited_is_in_its_place() -> None:
    execution, at = uuid4(), EPOCH + timedelta(seconds=5)
    values = sent("put_open_executions", statistics._open_fields((execution, at)))
    assert values == {"execution_id": packed(execution), "due_at": packed(at)}


@pytest.mark.parametrize(
    "at",
    [
        EPOCH,
        datetime(1970, 1, 1, 0, 0, 0, 1, UTC),
        datetime.max.replace(tzinfo=UTC),
        EPOCH - timedelta.resolution,
    ],
)
def test_instants_are_microseconds_since_2000(at: datetime) -> None:
    assert microseconds(at) == (at - EPOCH) // timedelta(microseconds=1)


CHARACTERS = st.text(st.sampled_from("\0\\u0\"'ab\n✓"), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | CHARACTERS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(CHARACTERS, inner, max_size=3),
    max_leaves=8,
)


def without_nul(value: Any) -> Any:
    match value:
        case str():
            return value.replace("\0", "\ufffd")
        case list():
            return [without_nul(item) for item in value]
        case dict():
            return {without_nul(key): without_nul(item) for key, item in value.items()}
        case _:
            return value


@given(VALUES)
def test_json_keeps_everything_but_the_character_that_jsonb_refuses(value: Any) -> None:
    assert json.loads(plain_bytes(value)) == without_nul(value)


@pytest.mark.parametrize("depth", [1, 9_000])
def test_json_does_not_care_how_deep_a_payload_is(depth: int) -> None:
    text = b"[" * depth + b'"\\u0000"' + b"]" * depth
    assert plain_bytes(msgspec.json.decode(text)).decode() == "[" * depth + '"\ufffd"' + "]" * depth


def test_text_keeps_its_length() -> None:
    assert plain_text("a\0b\0") == "a\ufffdb\ufffd"
