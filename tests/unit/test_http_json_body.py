"""Reading bodies: whatever is sent is a task or is refused, and the same JSON has the same digest."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import Inadmissible
from interfaces.http import shape
from interfaces.http.bodies import TaskDefinition
from interfaces.http.json_body import DEEPEST_NESTING, digest, read_task
from interfaces.http.refusals import MalformedBody
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
]
nearly = st.recursive(
    scalars | st.sampled_from(["cron", "one-off", "2030-01-01T12:00:00Z"]),
    lambda inner: st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=12,
)


def read(body: bytes) -> TaskDefinition | Exception:
    try:
        return read_task(body)
    except (Inadmissible, MalformedBody) as refusal:
        return refusal


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    assert isinstance(read(body), TaskDefinition | Inadmissible | MalformedBody)


@given(anything | nearly)
def test_a_refusal_of_json_points_into_it(value: Any) -> None:
    outcome = read(json.dumps(value).encode())
    if isinstance(outcome, Inadmissible):
        [error] = outcome.errors
        assert error.detail
        parent, slash, _ = error.pointer.rpartition("/")
        assert not slash or isinstance(found(value, parent), dict)


@given(changes=st.dictionaries(st.sampled_from(["name", "trigger", "action", "retry"]), nearly, min_size=1))
@settings(max_examples=200)
def test_a_refusal_of_a_spoilt_task_points_at_what_was_spoilt(changes: dict[str, Any]) -> None:
    outcome = read(json.dumps({**task_json(), **changes}).encode())
    if isinstance(outcome, Inadmissible):
        [error] = outcome.errors
        assert error.pointer.split("/")[1] in changes


def found(document: Any, pointer: str) -> Any:
    for step in pointer.split("/")[1:]:
        document = document[step.replace("~1", "/").replace("~0", "~")]
    return document


def test_a_complaint_of_a_later_msgspec_is_passed_on() -> None:
    error = shape.explain(msgspec.ValidationError("Odd value - at `$.action.url`"), {"action": {"url": 7}})
    assert error.pointer == "/action/url"
    assert "Odd value" in error.detail


@given(anything)
def test_the_digest_does_not_depend_on_spacing_or_order(value: Any) -> None:
    compact = json.dumps(value, separators=(",", ":"), sort_keys=True).encode()
    spacious = json.dumps(value, indent=4).encode()
    assert digest(compact) == digest(spacious)


def test_other_json_has_another_digest() -> None:
    bodies = [b'{"a":1,"b":2}', b'{"a":2,"b":1}', b'{"a":1}', b'{"a":"1"}', b'{"a":[1]}', b"{}"]
    assert len({digest(body) for body in bodies}) == len(bodies)


@pytest.mark.parametrize(("levels", "accepted"), [(DEEPEST_NESTING, True), (DEEPEST_NESTING + 1, False)])
def test_a_payload_may_be_nested_so_deeply_and_no_deeper(levels: int, accepted: bool) -> None:
    payload: Any = "innermost"
    for level in range(levels):
        payload = [payload] if level % 2 else {"in": payload}
    body = json.dumps(task_json(action={"method": "GET", "url": "http://localhost/", "payload": payload}))
    assert isinstance(read(body.encode()), TaskDefinition if accepted else Inadmissible)
