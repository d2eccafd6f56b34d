"""What an answer must be to count as a success."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.definition import JsonCondition, SuccessPolicy
from domain.retry import equal, member, status_accepted, unmet
from tests.support.given import answered, no_answer

# The example document of RFC 6901 §5.
DOCUMENT = {
    "foo": ["bar", "baz"],
    "": 0,
    "a/b": 1,
    "c%d": 2,
    "e^f": 3,
    "g|h": 4,
    "i\\j": 5,
    'k"l': 6,
    " ": 7,
    "m~n": 8,
}


@pytest.mark.parametrize(("status", "success"), [(199, False), (200, True), (299, True), (300, False)])
def test_usually_any_2xx_is_success(status: int, success: bool) -> None:
    assert status_accepted(SuccessPolicy(), answered(status)) is success


def test_the_policy_says_which_statuses_are_a_success() -> None:
    policy = SuccessPolicy(statuses=("204", "3xx"))
    assert [status for status in (200, 204, 302, 404) if status_accepted(policy, answered(status))] == [
        204,
        302,
    ]


def test_no_answer_is_no_success() -> None:
    assert not status_accepted(SuccessPolicy(), no_answer())
    assert unmet(SuccessPolicy(body_contains="x"), no_answer()) is None


def test_a_status_that_is_not_admitted_is_asked_for_nothing_more() -> None:
    assert unmet(SuccessPolicy(body_contains="x"), answered(500)) is None


def contains(text: str, body: str, *, truncated: bool = False) -> str | None:
    return unmet(SuccessPolicy(body_contains=text), answered(200, body, truncated=truncated))


def test_the_body_has_to_contain_what_the_policy_asks_for() -> None:
    assert contains("done", "all done") is None
    assert contains("done", "to be Done") == 'the body does not contain "done"'


def test_a_cut_body_proves_what_it_contains_and_nothing_else() -> None:
    assert contains("done", "all done", truncated=True) is None
    assert contains("done", "all", truncated=True) == 'what was kept of the body does not contain "done"'


def holds(pointer: str, equals: Any, body: str, *, truncated: bool = False) -> str | None:
    policy = SuccessPolicy(json=JsonCondition(pointer=pointer, equals=equals))
    return unmet(policy, answered(200, body, truncated=truncated))


def test_the_json_has_to_hold_the_value_at_the_pointer() -> None:
    assert holds("/state", "done", '{"state": "done"}') is None
    assert holds("/state", "done", '{"state": "open"}') == (
        'the body has "open" at "/state" instead of "done"'
    )
    assert holds("/jobs/1/ok", True, '{"jobs": [{}, {"ok": 1}]}') == (
        'the body has 1 at "/jobs/1/ok" instead of true'
    )


def test_a_member_that_is_not_there_is_told_from_one_that_differs() -> None:
    assert holds("/state", None, "{}") == 'the body has nothing at "/state"'
    assert holds("/state", None, '{"state": null}') is None


@pytest.mark.parametrize("body", ["", "<html>", '{"state":', "NaN", "{} {}", "1e999"])
def test_a_body_that_is_not_json_holds_nothing(body: str) -> None:
    assert holds("", 1, body) == "the body is not JSON"


def test_a_byte_order_mark_before_the_json_does_no_harm() -> None:
    assert holds("/ok", True, '\ufeff{"ok": true}') is None


def test_a_cut_body_proves_no_json_value() -> None:
    assert holds("/ok", True, '{"ok": true}', truncated=True) == (
        'the body is too long to be kept whole: what it has at "/ok" is unknown'
    )


def test_json_that_is_nested_beyond_reason_holds_nothing() -> None:
    body = "[" * 60_000 + "]" * 60_000
    assert holds("/0", 1, body) == "the JSON of the body is nested too deeply to be compared"


def test_both_conditions_have_to_hold() -> None:
    policy = SuccessPolicy(body_contains="ok", json=JsonCondition(pointer="/ok", equals=True))
    assert unmet(policy, answered(200, '{"ok": true}')) is None
    assert unmet(policy, answered(200, '{"ok": false}')) == 'the body has false at "/ok" instead of true'
    assert unmet(policy, answered(200, "{}")) == 'the body does not contain "ok"'


def test_a_long_value_is_not_quoted_whole() -> None:
    told = holds("/token", "x", json.dumps({"token": "s3cret" * 50}))
    assert told is not None
    assert len(told) < 150
    assert told.count("s3cret") < 20


def test_the_pointers_of_the_rfc_name_what_it_says() -> None:
    named = {
        "": DOCUMENT,
        "/foo": ["bar", "baz"],
        "/foo/0": "bar",
        "/": 0,
        "/a~1b": 1,
        "/c%d": 2,
        "/e^f": 3,
        "/g|h": 4,
        "/i\\j": 5,
        '/k"l': 6,
        "/ ": 7,
        "/m~0n": 8,
    }
    assert {pointer: member(DOCUMENT, pointer) for pointer in named} == named


def test_tilde_one_after_an_escaped_tilde_is_no_slash() -> None:
    assert member({"~1": "here", "/": "there"}, "/~01") == "here"


@pytest.mark.parametrize(
    "pointer",
    [
        "/foo/2",
        "/foo/-",
        "/foo/00",
        "/foo/01",
        "/foo/-1",
        "/foo/\u0660",
        "/foo/bar",
        "/foo/99999999999999999999",
    ],
)
def test_an_index_without_leading_zeros_within_the_array_is_needed(pointer: str) -> None:
    with pytest.raises(LookupError):
        member(DOCUMENT, pointer)


@pytest.mark.parametrize("pointer", ["/no", "//x", "/foo/0/0", "/a~1b/x", "foo", "foo/bar"])
def test_what_is_not_there_is_not_named(pointer: str) -> None:
    with pytest.raises(LookupError):
        member(DOCUMENT, pointer)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3),
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(st.text(max_size=3), parts, max_size=3),
    max_leaves=10,
)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (1, 1.0, True),
        (0, -0.0, True),
        (True, 1, False),
        (False, 0, False),
        (True, True, True),
        (None, False, False),
        (1, "1", False),
        ({"a": 1, "b": [2.0]}, {"b": [2], "a": 1}, True),
        ({"a": 1}, {"a": True}, False),
        ({"a": 1}, {"a": 1, "b": None}, False),
        ([1, 2], [2, 1], False),
        ([1], [1, 1], False),
        ([], {}, False),
    ],
)
def test_values_are_equal_as_json_has_it(one: Any, other: Any, same: bool) -> None:
    assert equal(one, other) is same
    assert equal(other, one) is same


@settings(deadline=None)
@given(value=JSON)
def test_every_value_is_equal_to_itself_read_again(value: Any) -> None:
    assert equal(value, json.loads(json.dumps(value)))
    assert holds("", value, json.dumps(value)) is None


@settings(deadline=None)
@given(path=st.lists(st.text(max_size=4), max_size=4), value=JSON)
def test_a_pointer_names_what_its_escaped_names_lead_to(path: list[str], value: Any) -> None:
    document = value
    for name in reversed(path):
        document = {name: document}
    pointer = "".join("/" + name.replace("~", "~0").replace("/", "~1") for name in path)
    assert equal(member(document, pointer), value)


@settings(deadline=None)
@given(document=JSON, pointer=st.text("/~01a-", max_size=8))
def test_every_pointer_names_something_or_nothing(document: Any, pointer: str) -> None:
    try:
        named = member(document, pointer)
    except LookupError:
        assert pointer
    else:
        assert named is document or isinstance(document, dict | list)
