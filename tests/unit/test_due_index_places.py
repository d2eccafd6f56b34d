"""What a place in the index is: an occurrence, the instant of its call, and how many runs there were."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from msgspec.structs import replace

from application.ports import Undecodable
from application.scheduler.index import DueIndex, Entry
from domain.definition import Interval
from domain.facts import TaskFailuresCounted, TaskPaused
from domain.schedule import fires_at
from tests.support.given import (
    NOON,
    TASK,
    after,
    cancelled,
    created,
    definition,
    occurrence,
    queued,
    started,
    updated,
)
from tests.unit.test_due_index import LAST, entry, index_of, popped, row, told

if TYPE_CHECKING:
    from domain.facts import AnyFact


def test_tasks_come_out_in_the_order_in_which_their_calls_are_to_be_sent() -> None:
    trigger = Interval(every_seconds=60, anchor=NOON, jitter_seconds=60)
    ids = [UUID(int=number) for number in range(1, 20)]
    known = definition(trigger=trigger)
    index = index_of(*(Entry(task_id, 1, "default", known, NOON) for task_id in ids))
    expected = sorted(fires_at(trigger, task_id, NOON) for task_id in ids)
    assert index.next_due() == expected[0] > NOON
    assert index.pop(expected[0] - timedelta(milliseconds=1), 99) == []
    assert [taken.fire_at for taken in index.pop(after(60), 99)] == expected


def test_a_place_within_the_horizon_whose_call_is_beyond_it_is_forgotten() -> None:
    trigger = Interval(every_seconds=60, anchor=NOON, jitter_seconds=60)
    index = DueIndex()
    index.horizon = (NOON, LAST)
    index.put(Entry(TASK, 1, "default", definition(trigger=trigger), NOON))
    assert len(index) == 0


def test_a_claim_by_somebody_else_tells_how_many_runs_there_were() -> None:
    index = index_of(entry())
    fact = replace(started(), occurrence=occurrence(run=7))
    index.apply(told(fact, stream=UUID(int=9)))
    known = index.get(TASK)
    assert known is not None
    assert known.runs == 7


def test_a_new_place_counts_the_runs_that_its_fact_names() -> None:
    index = index_of(Entry(TASK, 1, "default", definition(), NOON, 5))
    index.apply(told(updated(name="same place"), version=2))
    known = index.get(TASK)
    assert known is not None
    assert known.runs == 5
    index.apply(told(replace(updated(next_run_at=after(60)), runs=2), version=3))
    assert (known.due_at, known.runs) == (after(60), 2)


def test_a_row_brings_its_runs_and_a_settled_task_keeps_them_unless_told() -> None:
    index = DueIndex()
    index.load(replace(row(), runs=3), 0)
    taken = popped(index)
    index.settle(taken, NOON)
    assert taken.runs == 3
    index.settle(popped(index), after(60), 4)
    assert (taken.due_at, taken.runs) == (after(60), 4)


def numbered(number: int, priority: int, due_at: datetime = NOON) -> Entry:
    return Entry(UUID(int=number), 1, "default", definition(priority=priority), due_at)


def test_of_what_is_due_at_one_instant_the_first_priority_comes_first() -> None:
    index = index_of(numbered(1, 9), numbered(2, 5), numbered(3, 1), numbered(4, 9, after(-1)))
    assert [taken.task_id.int for taken in index.pop(NOON, 9)] == [4, 3, 2, 1]


def test_another_priority_counts_from_the_update_on() -> None:
    index = index_of(numbered(1, 5), numbered(2, 4))
    index.apply(told(updated(priority=1), version=2, stream=UUID(int=1)))
    assert [taken.task_id.int for taken in index.pop(NOON, 9)] == [1, 2]
    assert index.next_due() is None


def test_a_row_that_is_ahead_of_what_is_followed_says_where_it_was_learnt() -> None:
    index = DueIndex()
    index.load(row(), 7)
    assert popped(index).learnt_at == 7


def test_a_place_that_was_read_says_where_it_was_learnt() -> None:
    index = index_of(entry())
    taken = popped(index)
    index.settle(taken, after(5), learnt_at=9)
    index.settle(popped(index, after(5)), after(6), learnt_at=8)
    assert taken.learnt_at == 9


@pytest.mark.parametrize(
    "fact",
    [
        TaskPaused(at=NOON),
        cancelled(),
        updated(cron="0 * * * *", next_run_at=after(3600)),
        TaskFailuresCounted(at=NOON, failures=1, execution_id=UUID(int=9)),
        Undecodable(topic="task.renamed.v9", error="unknown topic"),
        created(),
        started(),
    ],
)
def test_what_a_row_was_ahead_of_changes_nothing(fact: AnyFact | Undecodable) -> None:
    index = DueIndex()
    index.load(row(after(120), version=3), 9)
    assert index.apply(told(fact, version=2))
    known = index.get(TASK)
    assert known is not None
    assert (known.version, known.due_at) == (3, after(120))


def test_a_count_of_failures_brings_the_version_and_nothing_else() -> None:
    index = index_of(entry())
    fact = TaskFailuresCounted(at=NOON, failures=1, execution_id=UUID(int=9))
    index.apply(told(fact, version=2))
    index.apply(told(fact, version=2, stream=UUID(int=2)))
    known = index.get(TASK)
    assert known is not None
    assert (known.version, known.due_at, len(index)) == (2, NOON, 1)


def test_a_queued_occurrence_moves_the_task_on_and_its_start_does_not() -> None:
    index = index_of(entry())
    index.apply(told(replace(queued(), occurrence=occurrence(run=1)), stream=UUID(int=9)))
    index.apply(told(started(), version=2, stream=UUID(int=9)))
    known = index.get(TASK)
    assert known is not None
    assert (known.due_at, known.runs) == (after(60), 1)
