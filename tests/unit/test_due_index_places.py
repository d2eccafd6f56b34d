"""What a place in the index is: an occurrence, the instant of its call, and how many runs there were."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from msgspec.structs import replace

from application.scheduler.due_index import DueIndex, Entry
from domain.definition import Interval
from domain.schedule import fires_at
from tests.support.given import NOON, TASK, after, definition, occurrence, started, updated
from tests.unit.test_due_index import LAST, entry, index_of, popped, row, told


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
    index.load(replace(row(), runs=3))
    taken = popped(index)
    index.settle(taken, NOON)
    assert taken.runs == 3
    index.settle(popped(index), after(60), 4)
    assert (taken.due_at, taken.runs) == (after(60), 4)
