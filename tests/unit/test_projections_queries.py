"""Sorts and cursors of lists, reads that are coalesced, and the names of projections."""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from projections import PROJECTIONS, RELATIONS, UnknownProjection, named
from projections.queries import (
    MOST_AT_ONCE,
    RESULT_SORTS,
    TASK_SORTS,
    BadCursor,
    BadSort,
    CoalescedReads,
    list_statement,
    order,
)

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


@pytest.mark.parametrize(
    ("sorts", "sort", "bad"),
    [
        (TASK_SORTS, "name", cursor("-created_at", NOON, ID)),
        *((RESULT_SORTS, None, cursor("duration_ms", beyond, ID)) for beyond in (2**31, -2, 2**70)),
    ],
    ids=["of another sort", "too large", "too small", "larger than any column"],
)
def test_a_cursor_that_does_not_fit_is_refused(sorts: Any, sort: str | None, bad: str) -> None:
    with pytest.raises(BadCursor):
        order(sorts, "-created_at", sort, bad)


@pytest.mark.parametrize(
    ("place", "last"),
    [
        (("name", "n\0me", ID), ("n\ufffdme", ID)),
        (("created_at", NOON.astimezone(timezone(timedelta(hours=2))), ID), (NOON, ID)),
    ],
    ids=["a name that no column can hold", "an instant in another zone"],
)
def test_the_place_of_a_cursor_is_as_its_column_has_it(place: Any, last: Any) -> None:
    assert order(TASK_SORTS, "name", None, cursor(*place)).last == last


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


class Source:
    """What is read, and which keys each read was for; a read goes on once it is let."""

    def __init__(self) -> None:
        self.values: dict[int, str] = {}
        self.reads: list[list[int]] = []
        self.error: Exception | None = None
        self.let = asyncio.Event()
        self.let.set()

    async def read(self, keys: Sequence[int]) -> Mapping[int, str]:
        self.reads.append(list(keys))
        await self.let.wait()
        if self.error is not None:
            raise self.error
        return {key: self.values[key] for key in keys if key in self.values}


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_each_gets_its_own_and_what_is_not_there_is_none() -> None:
    source = Source()
    source.values = {1: "one", 2: "two"}
    reads = CoalescedReads(source.read)
    assert await asyncio.gather(*map(reads.one, (2, 1, 3))) == ["two", "one", None]


async def test_what_is_asked_for_while_a_read_runs_goes_into_the_next_one() -> None:
    source = Source()
    reads = CoalescedReads(source.read)
    source.let.clear()
    asked = [asyncio.create_task(reads.one(0))]
    await turns()
    asked += [asyncio.create_task(reads.one(key)) for key in (1, 2, 1)]
    await turns()
    source.values[1] = "written while the first read ran"
    source.let.set()
    answers = await asyncio.gather(*asked)
    assert source.reads == [[0], [1, 2]]
    assert answers == [None, *["written while the first read ran", None, "written while the first read ran"]]


async def test_no_read_is_for_more_than_a_statement_takes_well() -> None:
    source = Source()
    reads = CoalescedReads(source.read)
    await asyncio.gather(*map(reads.one, range(MOST_AT_ONCE + 1)))
    assert [len(keys) for keys in source.reads] == [MOST_AT_ONCE, 1]


async def test_a_failed_read_fails_those_who_asked_and_nobody_later() -> None:
    source = Source()
    reads = CoalescedReads(source.read)
    source.error = OSError("the database is away")
    for answer in await asyncio.gather(reads.one(1), reads.one(2), return_exceptions=True):
        assert isinstance(answer, OSError)
    source.error = None
    source.values[1] = "one"
    assert await reads.one(1) == "one"


@pytest.mark.parametrize("error", [None, OSError("the database is away")])
async def test_one_who_leaves_takes_nobody_along(error: Exception | None) -> None:
    source = Source()
    source.error = error
    reads = CoalescedReads(source.read)
    source.let.clear()
    leaving, staying = asyncio.create_task(reads.one(1)), asyncio.create_task(reads.one(1))
    await turns()
    leaving.cancel()
    source.let.set()
    results = await asyncio.gather(leaving, staying, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1] is error


async def test_what_nobody_waits_for_is_not_read() -> None:
    source = Source()
    reads = CoalescedReads(source.read)
    source.let.clear()
    first, left = asyncio.create_task(reads.one(1)), asyncio.create_task(reads.one(2))
    await turns()
    third = asyncio.create_task(reads.one(3))
    await turns()
    third.cancel()
    source.let.set()
    await asyncio.gather(first, left, third, return_exceptions=True)
    await turns()
    assert source.reads == [[1, 2]]


async def test_whoever_waits_when_the_loop_ends_its_reads_is_not_left_waiting() -> None:
    source = Source()
    reads = CoalescedReads(source.read)
    source.let.clear()
    under_way = asyncio.create_task(reads.one(1))
    await turns()
    queued = asyncio.create_task(reads.one(2))
    await turns()
    [reading] = [task for task in asyncio.all_tasks() if task.get_name() == "coalesced-reads"]
    reading.cancel()
    async with asyncio.timeout(5):
        ends = await asyncio.gather(under_way, queued, return_exceptions=True)
    assert [type(end) for end in ends] == [asyncio.CancelledError] * 2


def test_projections_are_named_once_each_and_all_of_them_by_no_name() -> None:
    assert named([]) == PROJECTIONS
    assert [projection.name for projection in named(["tasks", "statistics", "tasks"])] == [
        "tasks",
        "statistics",
    ]
    with pytest.raises(UnknownProjection, match="'task'; choose among tasks, task_results, statistics"):
        named(["task"])
    assert len(set(RELATIONS)) == len(RELATIONS)
    assert len({projection.name for projection in PROJECTIONS}) == len(PROJECTIONS)
