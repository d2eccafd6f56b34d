"""What two definitions differ in."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st
from msgspec import UNSET
from msgspec.structs import replace

from domain.definition import Definition, Interval, Overlap
from domain.task import Difference, changed_members, differences
from tests.support.given import definition

PLAIN = definition(cron="0 9 * * *")


def with_payload(payload: Any) -> Definition:
    return replace(PLAIN, action=replace(PLAIN.action, payload=payload))


def found(old: Any, new: Any) -> list[tuple[str, Any, Any]]:
    """The differences of two payloads, by pointers below the payload."""
    return [
        (one.pointer.removeprefix("/action/payload"), one.old, one.new)
        for one in differences(with_payload(old), with_payload(new))
    ]


def test_the_same_definition_differs_in_nothing() -> None:
    assert differences(PLAIN, PLAIN) == ()
    assert changed_members(PLAIN, with_payload(None)) == ()


def test_each_member_that_differs_is_told_with_both_values() -> None:
    other = replace(PLAIN, name="other", overlap=Overlap(mode="skip", max_running=2), priority=1)
    assert differences(PLAIN, other) == (
        Difference(pointer="/name", old="report", new="other"),
        Difference(pointer="/overlap/mode", old="allow", new="skip"),
        Difference(pointer="/overlap/max_running", old=None, new=2),
        Difference(pointer="/priority", old=5, new=1),
    )
    assert changed_members(PLAIN, other) == ("name", "overlap", "priority")


def test_a_trigger_of_another_kind_loses_members_and_gets_others() -> None:
    every = replace(PLAIN, trigger=Interval(every_seconds=90))
    told = {one.pointer: (one.old, one.new) for one in differences(PLAIN, every)}
    assert told == {
        "/trigger/type": ("cron", "interval"),
        "/trigger/cron": ("0 9 * * *", UNSET),
        "/trigger/every_seconds": (UNSET, 90),
        "/trigger/anchor": (UNSET, None),
    }


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, [("/a/c", 2, 3)]),
        ({"a": None}, {}, [("/a", None, UNSET)]),
        ({}, {"a": None}, [("/a", UNSET, None)]),
        ({"a/b~": 1}, {"a/b~": 2}, [("/a~1b~0", 1, 2)]),
        ([1, 2, 3], [1, 3], [("", [1, 2, 3], [1, 3])]),
        ({"a": [{"b": 1}]}, {"a": [{"b": 1}]}, []),
        ({"on": 1}, {"on": True}, [("/on", 1, True)]),
        ({"on": 1}, {"on": 1.0}, []),
        ({"on": [{"a": 0}]}, {"on": [{"a": False}]}, [("/on", [{"a": 0}], [{"a": False}])]),
        ([{"a": 0}], [{"b": 0}], [("", [{"a": 0}], [{"b": 0}])]),
        ([{"a": 1, "b": 2}], [{"b": 2, "a": 1}], []),
        (None, {}, [("", None, {})]),
        ({"a": {}}, {"a": {"b": 1}}, [("/a/b", UNSET, 1)]),
    ],
)
def test_payloads_are_compared_as_json(old: Any, new: Any, told: list[tuple[str, Any, Any]]) -> None:
    assert [(where, repr(a), repr(b)) for where, a, b in found(old, new)] == [
        (where, repr(a), repr(b)) for where, a, b in told
    ]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab/~", max_size=2),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text("ab/~", max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)


@for_all(JSON, JSON)
def test_applying_the_differences_to_the_old_gives_the_new(old: Any, new: Any) -> None:
    patched = msgspec.to_builtins(with_payload(old))
    for one in differences(with_payload(old), with_payload(new)):
        *names, last = (part.replace("~1", "/").replace("~0", "~") for part in one.pointer.split("/")[1:])
        parent = patched
        for name in names:
            parent = parent[name]
        if one.new is UNSET:
            del parent[last]
        else:
            parent[last] = one.new
    expected = msgspec.to_builtins(with_payload(new))
    assert msgspec.json.encode(patched, order="sorted") == msgspec.json.encode(expected, order="sorted")
