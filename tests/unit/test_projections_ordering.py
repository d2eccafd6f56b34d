"""Sorts and cursors of lists."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from projections.queries import RESULT_SORTS, TASK_SORTS, BadCursor, BadSort, list_statement, order

ID = UUID(int=7)
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def cursor(*place: Any) -> str:
    return urlsafe_b64encode(msgspec.json.encode(place)).rstrip(b"=").decode()


@pytest.mark.parametrize(
    ("sorts", "sort", "value"),
    [
        (TASK_SORTS, "created_at", NOON),
        (TASK_SORTS, "-updated_at", NOON + timedelta(microseconds=1)),
        (TASK_SORTS, "-next_run", None),
        (TASK_SORTS, "name", 'Ünï "quoted"'),
        (RESULT_SORTS, "-duration_ms", 12),
        (RESULT_SORTS, "run_at", None),
    ],
)
def test_a_cursor_comes_back_as_the_place_it_was_made_at(sorts: Any, sort: str, value: Any) -> None:
    row = SimpleNamespace(id=ID, **{sort.removeprefix("-"): value})
    made = order(sorts, sort, None, None).cursor(row)
    assert order(sorts, "-created_at", None, made).last == (value, ID)
    assert order(sorts, "-created_at", sort, made).name == sort


def test_without_a_sort_the_default_holds() -> None:
    assert order(TASK_SORTS, "-created_at", None, None).name == "-created_at"


@pytest.mark.parametrize("sort", ["status", "-", "--name", "id; DROP TABLE tasks"])
def test_an_unknown_sort_is_refused_by_name(sort: str) -> None:
    with pytest.raises(BadSort, match="choose one of created_at, updated_at, next_run, name"):
        order(TASK_SORTS, "-created_at", sort, None)


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "not base64 !",
        "Ü",
        "abcde",
        cursor("created_at", NOON),
        cursor("created_at", "yesterday", ID),
        cursor("created_at", "2026-05-01T12:00:00", ID),
        cursor("created_at", None, ID),
        cursor("created_at", NOON, "no uuid"),
        cursor("due_at", NOON, ID),
        cursor("name", 3, ID),
    ],
)
def test_a_cursor_of_something_else_is_refused(bad: str) -> None:
    with pytest.raises(BadCursor, match="next_cursor"):
        order(TASK_SORTS, "-created_at", None, bad)


@pytest.mark.parametrize("duration", [2**31, -2, 2**70])
def test_a_cursor_beyond_the_column_is_refused(duration: int) -> None:
    with pytest.raises(BadCursor):
        order(RESULT_SORTS, "-due_at", None, cursor("duration_ms", duration, ID))


def test_a_cursor_of_another_sort_is_refused() -> None:
    with pytest.raises(BadCursor):
        order(TASK_SORTS, "-created_at", "name", cursor("-created_at", NOON, ID))


def test_a_name_that_no_column_can_hold_is_the_place_of_its_copy() -> None:
    assert order(TASK_SORTS, "name", None, cursor("name", "n\0me", ID)).last == ("n\ufffdme", ID)


def test_an_instant_in_another_zone_is_the_same_place() -> None:
    berlin = NOON.astimezone(timezone(timedelta(hours=2)))
    assert order(TASK_SORTS, "name", None, cursor("created_at", berlin, ID)).last == (NOON, ID)


@given(st.text(max_size=30))
@example("W10")
@example("MQ")
def test_no_text_as_a_cursor_does_anything_but_be_refused(text: str) -> None:
    with pytest.raises(BadCursor):
        order(TASK_SORTS, "-created_at", None, text)


def test_rows_without_a_value_come_last_either_way() -> None:
    sort = TASK_SORTS["next_run"]
    ascending = list_statement("list_tasks", "tasks", "next_run", sort).decode()
    descending = list_statement("list_tasks", "tasks", "-next_run", sort).decode()
    assert "ORDER BY coalesce(next_run, 'infinity') ASC, id ASC" in ascending
    assert "ORDER BY coalesce(next_run, '-infinity') DESC, id DESC" in descending
