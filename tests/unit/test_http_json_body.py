"""Reading bodies: whatever is sent is a task or is refused, and the same JSON has the same digest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.inspect import ListType, LiteralType, Metadata, StructType, Type, UnionType, type_info

from domain.errors import ValidationFailed
from interfaces.http import shape, shape_tables
from interfaces.http.bodies import TaskDefinition
from interfaces.http.json_body import DEEPEST_NESTING, digest, read_task
from interfaces.http.problems import MalformedBody
from tests.support.http_service import task_json

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = [
    "name",
    "trigger",
    "action",
    "retry",
    "type",
    "cron",
    "datetime",
    "timezone",
    "method",
    "url",
    "headers",
    "success",
    "statuses",
    "json",
    "overlap",
    "mode",
]
nearly = st.recursive(
    scalars | st.sampled_from(["cron", "one-off", "2030-01-01T12:00:00Z", "skip", "5xx"]),
    lambda inner: st.dictionaries(st.sampled_from(NAMES), inner, max_size=5) | st.lists(inner, max_size=3),
    max_leaves=12,
)


def read(body: bytes) -> TaskDefinition | Exception:
    try:
        return read_task(body)
    except (ValidationFailed, MalformedBody) as refusal:
        return refusal


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    assert isinstance(read(body), TaskDefinition | ValidationFailed | MalformedBody)


@given(anything | nearly)
def test_a_refusal_of_json_points_into_it(value: Any) -> None:
    outcome = read(json.dumps(value).encode())
    if isinstance(outcome, ValidationFailed):
        assert outcome.errors
        for error in outcome.errors:
            assert error.detail
            parent, slash, _ = error.pointer.rpartition("/")
            assert not slash or isinstance(found(value, parent), dict | list)


MEMBERS = st.sampled_from(
    ["name", "trigger", "action", "retry", "success", "catch_up", "overlap", "delivery"]
)


@given(changes=st.dictionaries(MEMBERS, nearly, min_size=1))
@settings(max_examples=200)
def test_a_refusal_of_a_spoilt_task_points_at_what_was_spoilt(changes: dict[str, Any]) -> None:
    outcome = read(json.dumps({**task_json(), **changes}).encode())
    if isinstance(outcome, ValidationFailed):
        assert {error.pointer.split("/")[1] for error in outcome.errors} <= set(changes)


def found(document: Any, pointer: str) -> Any:
    for step in pointer.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        document = document[int(name)] if isinstance(document, list) else document[name]
    return document


def test_a_complaint_of_a_later_msgspec_is_passed_on() -> None:
    task = task_json(action={"method": "GET", "url": 7})
    [error] = shape.explain(msgspec.ValidationError("Odd value - at `$.action.url`"), task)
    assert error.pointer == "/action/url"
    assert "Odd value" in error.detail


FAULTS: dict[str, tuple[Any, list[str]]] = {
    "nothing": ({}, ["/name", "/trigger", "/action"]),
    "nothing in anything": (
        {"name": "x", "trigger": {}, "action": {}, "retry": {}, "success": {"json": {}}, "overlap": {}},
        ["/trigger/type", "/action/method", "/action/url", "/success/json/pointer", "/success/json/equals"],
    ),
    "misspelt policies": (
        task_json(
            overlaps={},
            success={"status": [], "json": {"pointer": "", "equals": 1, "value": 2}},
            catch_up={"mode": "latest", "window": 5},
        ),
        ["/overlaps", "/success/status", "/success/json/value", "/catch_up/window"],
    ),
    "misspelt names": (
        {"nam": "x", "trigger": {"type": "cron", "crom": "* * * * *"}, "action": {"verb": "GET"}},
        ["/name", "/nam", "/trigger/cron", "/trigger/crom", "/action/method", "/action/url", "/action/verb"],
    ),
    "a wrong value among them": (
        {"name": 7, "trigger": {"type": "daily", "at": 9}, "action": {"method": "GET"}},
        ["/name", "/trigger/at", "/action/url"],
    ),
    "a kind that is an object": (
        {"name": "x", "trigger": {"type": {}}, "action": {"url": "http://localhost/"}},
        ["/trigger/type", "/action/method"],
    ),
    "a task as it was read": (task_json(id="7", version=3), ["/id", "/version"]),
    "no object": ([], [""]),
}


@pytest.mark.parametrize(("document", "pointers"), FAULTS.values(), ids=FAULTS)
def test_all_missing_and_unknown_fields_are_told_at_once(document: Any, pointers: list[str]) -> None:
    outcome = read(json.dumps(document).encode())
    assert isinstance(outcome, ValidationFailed)
    assert [error.pointer for error in outcome.errors] == pointers


def test_of_very_many_faults_some_are_told() -> None:
    outcome = read(json.dumps({f"field {number}": 0 for number in range(1_000)}).encode())
    assert isinstance(outcome, ValidationFailed)
    assert len(outcome.errors) == shape.MOST_TOLD


def test_an_unknown_field_is_told_though_the_rest_cannot_be_read() -> None:
    outcome = read(json.dumps(task_json(nam="x"))[:-1].encode() + b', "z": 1e999}')
    assert isinstance(outcome, ValidationFailed)
    assert "unknown field `nam`" in str(outcome)


def test_a_fault_of_the_whole_body_is_told_without_a_pointer() -> None:
    assert str(read(b"[]")) == "This is an array: give an object."


@given(anything)
def test_the_digest_does_not_depend_on_spacing_or_order(value: Any) -> None:
    compact = json.dumps(value, separators=(",", ":"), sort_keys=True).encode()
    spacious = json.dumps(value, indent=4).encode()
    assert digest(compact) == digest(spacious)


def test_other_json_has_another_digest() -> None:
    bodies = [b'{"a":1,"b":2}', b'{"a":2,"b":1}', b'{"a":1}', b'{"a":"1"}', b'{"a":[1]}', b"{}"]
    assert len({digest(body) for body in bodies}) == len(bodies)


def nested(levels: int) -> Any:
    value: Any = "innermost"
    for level in range(levels):
        value = [value] if level % 2 else {"in": value}
    return value


@pytest.mark.parametrize(("levels", "accepted"), [(DEEPEST_NESTING, True), (DEEPEST_NESTING + 1, False)])
def test_json_that_is_passed_on_may_be_nested_so_deeply_and_no_deeper(levels: int, accepted: bool) -> None:
    payload = {"method": "GET", "url": "http://localhost/", "payload": nested(levels)}
    condition = {"json": {"pointer": "/a", "equals": nested(levels)}}
    outcome = read(json.dumps(task_json(action=payload, success=condition)).encode())
    if accepted:
        assert isinstance(outcome, TaskDefinition)
    else:
        assert isinstance(outcome, ValidationFailed)
        assert [error.pointer for error in outcome.errors] == ["/action/payload", "/success/json/equals"]


def test_a_member_that_is_given_twice_is_told_of_as_far_as_it_can_be_found() -> None:
    for last in (b"[]", b'{"a": "b"}', b"7"):
        outcome = read(b'{"retry": {"statuses": [1, 2, true]}, "retry": {"statuses": ' + last + b"}}")
        assert isinstance(outcome, ValidationFailed)
        assert outcome.errors[0].pointer.startswith("/retry/statuses")


def members() -> Iterator[tuple[tuple[str, ...], Type]]:
    """Every member of a task but those of triggers, and what it may be."""
    for names, body in shape_tables.SHAPES.items():
        info = type_info(body)
        assert isinstance(info, StructType)
        for field in info.fields:
            kind = field.type.type if isinstance(field.type, Metadata) else field.type
            yield (*names, field.encode_name), kind


def test_the_choices_are_known_wherever_there_are_some() -> None:
    found = {names: set(kind.values) for names, kind in members() if isinstance(kind, LiteralType)}
    assert found == {names: set(choices) for names, choices in shape_tables.CHOICES.items()}


def test_every_object_and_list_of_a_task_is_known() -> None:
    kinds = [
        (names, option)
        for names, kind in members()
        for option in (kind.types if isinstance(kind, UnionType) else (kind,))
    ]
    objects = {names for names, kind in kinds if isinstance(kind, StructType)}
    assert objects | {()} == set(shape_tables.OBJECTS)
    assert {names for names, kind in kinds if isinstance(kind, ListType)} == shape_tables.STATUSES
