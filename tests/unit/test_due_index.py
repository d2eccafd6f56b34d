"""The index of what is due next, and how facts of the log move it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from application.ports import DueTask, Meta, Recorded, Undecodable
from application.scheduler.index import DueIndex, Entry
from domain.facts import ExecutionSucceeded, TaskCreated, TaskUpdated
from tests.support.given import (
    NOON,
    TASK,
    after,
    attempt,
    cancelled,
    completed,
    created,
    definition,
    skipped,
    started,
    updated,
)

if TYPE_CHECKING:
    from datetime import datetime

    from domain.facts import AnyFact

LAST = UUID(int=2**128 - 1)


def told(fact: AnyFact | Undecodable, *, version: int = 1, stream: UUID = TASK) -> Recorded:
    meta = Meta(actor="", correlation_id="", command_id=UUID(int=0))
    return Recorded(position=1, stream=stream, version=version, fact=fact, meta=meta, recorded_at=NOON)


def entry(due_at: datetime = NOON, *, version: int = 1, number: int = 1) -> Entry:
    return Entry(UUID(int=number), version, "default", definition(), due_at)


def row(due_at: datetime = NOON, *, version: int = 1, name: str = "report") -> DueTask:
    return DueTask(
        task_id=TASK, version=version, namespace="default", definition=definition(name=name), due_at=due_at
    )


def index_of(*entries: Entry) -> DueIndex:
    index = DueIndex()
    for each in entries:
        index.put(each)
    return index


def popped(index: DueIndex, until: datetime = NOON) -> Entry:
    [taken] = index.pop(until, 1)
    return taken


def place(index: DueIndex) -> datetime | None:
    """Where the task is due; None when it is not known, or being claimed."""
    known = index.get(TASK)
    return None if known is None or known.claiming else known.due_at


def test_tasks_come_out_in_the_order_of_being_due() -> None:
    index = index_of(*(entry(after(second), number=second) for second in (3, 1, 2)))
    assert [taken.due_at for taken in index.pop(after(9), 9)] == [after(1), after(2), after(3)]


def test_only_what_is_due_by_then_comes_out_and_no_more_than_asked_for() -> None:
    index = index_of(*(entry(after(second), number=second) for second in (1, 2, 3, 4)))
    assert len(index.pop(after(3), 2)) == 2
    assert [taken.due_at for taken in index.pop(after(3), 9)] == [after(3)]
    assert index.next_due() == after(4)


def test_what_came_out_is_known_but_not_due() -> None:
    index = index_of(entry())
    taken = popped(index)
    assert index.claiming(taken)
    assert (len(index), index.next_due(), index.pop(after(9), 9)) == (1, None, [])


def test_a_claimed_task_gets_its_next_place() -> None:
    index = index_of(entry())
    index.settle(popped(index), after(60))
    assert index.next_due() == after(60)


def test_a_claimed_task_without_a_next_place_is_forgotten() -> None:
    index = index_of(entry())
    index.settle(popped(index), None)
    assert len(index) == 0


def test_a_task_that_moved_while_it_was_claimed_stays_where_it_is() -> None:
    index = index_of(entry())
    taken = popped(index)
    index.apply(told(updated(cron="0 * * * *", next_run_at=after(30)), version=2))
    index.settle(taken, after(60))
    assert index.next_due() == after(30)


def test_a_task_that_ended_while_it_was_claimed_does_not_come_back() -> None:
    index = index_of(entry())
    taken = popped(index)
    index.apply(told(cancelled(), version=2))
    index.settle(taken, after(60))
    assert len(index) == 0


def test_a_created_task_is_due_at_its_place() -> None:
    index = DueIndex()
    assert index.apply(told(created()))
    assert place(index) == after(60)


def test_a_creation_changes_nothing_about_a_known_task() -> None:
    index = index_of(entry(after(300), version=4))
    index.apply(told(created()))
    assert place(index) == after(300)


def test_an_update_with_a_place_moves_a_task() -> None:
    index = index_of(entry())
    index.apply(told(updated(cron="0 * * * *", next_run_at=after(30)), version=2))
    known = index.get(TASK)
    assert known is not None
    assert (known.version, known.due_at, known.definition) == (2, after(30), definition(cron="0 * * * *"))


def test_an_update_without_a_place_changes_only_the_definition() -> None:
    index = index_of(entry())
    index.apply(told(updated(name="other"), version=2))
    known = index.get(TASK)
    assert known is not None
    assert (known.version, known.due_at, known.definition.name) == (2, NOON, "other")


def test_an_update_that_is_known_already_changes_nothing() -> None:
    index = index_of(entry(after(300), version=2))
    index.apply(told(updated(name="other", next_run_at=NOON), version=2))
    assert place(index) == after(300)


@pytest.mark.parametrize(
    ("next_run_at", "known_enough"), [(None, True), (after(30), False), (after(90), True)]
)
def test_an_update_that_places_an_unknown_task_within_the_horizon_asks_for_the_rest(
    next_run_at: datetime | None, known_enough: bool
) -> None:
    index = DueIndex()
    index.horizon = (after(60), LAST)
    fact = TaskUpdated(at=NOON, definition=definition(), next_run_at=next_run_at)
    assert index.apply(told(fact, version=2)) is known_enough


@pytest.mark.parametrize(
    "end", [cancelled(), completed(), Undecodable(topic="task.renamed.v9", error="unknown topic")]
)
def test_a_task_that_is_over_or_unreadable_is_forgotten(end: AnyFact | Undecodable) -> None:
    index = index_of(entry())
    index.apply(told(end, version=2))
    assert (len(index), index.next_due()) == (0, None)


def test_a_claim_by_somebody_else_moves_the_task_on() -> None:
    index = index_of(entry())
    index.apply(told(started(), stream=UUID(int=9)))
    assert place(index) == after(60)


def test_a_claim_by_somebody_else_is_followed_while_ones_own_is_on_its_way() -> None:
    index = index_of(entry())
    taken = popped(index)
    index.apply(told(started(), stream=UUID(int=9)))
    assert not index.claiming(taken)
    assert index.next_due() == after(60)


def test_the_last_occurrence_takes_the_task_away() -> None:
    index = index_of(entry())
    index.apply(told(skipped(), stream=UUID(int=9)))
    assert len(index) == 0


@pytest.mark.parametrize("known", [entry(after(60)), entry(version=2)], ids=["an earlier place", "a version"])
def test_a_claim_of_what_is_behind_moves_nothing(known: Entry) -> None:
    index = index_of(known)
    before = place(index)
    index.apply(told(started(), stream=UUID(int=9)))
    assert place(index) == before


def test_a_claim_of_an_unknown_task_changes_nothing() -> None:
    index = DueIndex()
    assert index.apply(told(started(), stream=UUID(int=9)))
    assert len(index) == 0


def test_other_facts_change_nothing() -> None:
    index = index_of(entry())
    assert index.apply(told(ExecutionSucceeded(at=NOON, task_id=TASK, attempt=attempt())))
    assert place(index) == NOON


def test_a_row_of_an_unknown_task_is_taken() -> None:
    index = DueIndex()
    index.load(row(after(5)), 0)
    assert place(index) == after(5)


@pytest.mark.parametrize(
    ("known", "loaded", "expected"),
    [
        (entry(after(60)), row(after(120)), after(120)),
        (entry(after(60)), row(NOON), after(60)),
        (entry(after(60)), row(NOON, version=2), NOON),
        (entry(after(60), version=2), row(after(120)), after(60)),
    ],
    ids=["further on", "behind", "a newer version", "an older version"],
)
def test_a_row_counts_only_when_it_tells_more_than_is_known(
    known: Entry, loaded: DueTask, expected: datetime
) -> None:
    index = index_of(known)
    index.load(loaded, 0)
    assert place(index) == expected


def test_what_lies_beyond_the_horizon_is_not_kept() -> None:
    index = DueIndex()
    index.horizon = (after(60), LAST)
    index.put(entry(after(61)))
    assert len(index) == 0
    index.apply(told(TaskCreated(at=NOON, namespace="", definition=definition(), next_run_at=after(61))))
    assert len(index) == 0


def test_what_moves_beyond_the_horizon_is_forgotten() -> None:
    index = index_of(entry())
    index.horizon = (after(30), LAST)
    index.apply(told(started(), stream=UUID(int=9)))
    assert len(index) == 0


def test_the_horizon_tells_tasks_of_one_instant_apart() -> None:
    index = DueIndex()
    index.horizon = (NOON, UUID(int=2))
    for number in (1, 2, 3):
        index.put(entry(number=number))
    assert [taken.task_id.int for taken in index.pop(NOON, 9)] == [1, 2]


def test_a_task_that_moved_comes_out_once_and_at_its_new_place() -> None:
    index = index_of(entry(after(10)))
    index.apply(told(updated(cron="0 * * * *", next_run_at=after(5)), version=2))
    index.apply(told(updated(cron="1 * * * *", next_run_at=after(20)), version=3))
    assert index.pop(after(19), 9) == []
    assert [taken.due_at for taken in index.pop(after(20), 9)] == [after(20)]
    assert index.next_due() is None


def test_a_task_that_was_left_to_another_node_and_is_being_claimed_is_not_recalled() -> None:
    index = index_of(entry())
    index.leave(popped(index), after(5))
    taken = popped(index, after(5))
    index.recall()
    assert index.next_due() is None
    index.settle(taken, after(60))
    assert index.next_due() == after(60)


def test_what_was_left_comes_out_among_the_others_in_order_and_never_early() -> None:
    index = index_of(*(entry(after(second), number=second) for second in (1, 2, 6)))
    left, _ = index.pop(after(2), 2)
    index.leave(left, after(5))
    index.put(entry(after(4), number=4))
    assert (index.next_due(), index.next_early()) == (after(4), after(4))
    assert [taken.task_id.int for taken in index.pop_early(after(4.5), 9)] == [4]
    assert (index.next_due(), index.next_early()) == (after(5), after(6))
    index.put(entry(after(4), number=4))
    assert [taken.task_id.int for taken in index.pop(after(9), 9)] == [4, 1, 6]


@pytest.mark.parametrize(("before", "now"), [(5, 9), (9, 5)])
def test_a_priority_that_has_changed_counts_for_the_occurrence_that_is_due(before: int, now: int) -> None:
    index = DueIndex()
    index.put(Entry(TASK, 1, "default", definition(priority=before), NOON))
    index.put(Entry(UUID(int=7), 1, "default", definition(priority=7), NOON))
    redefined = TaskUpdated(at=NOON, definition=definition(priority=now), next_run_at=None)
    assert index.apply(told(redefined, version=2))
    order = [each.task_id for each in index.pop(NOON, 2)]
    assert order == ([TASK, UUID(int=7)] if now < 7 else [UUID(int=7), TASK])


def test_what_was_set_aside_beyond_the_horizon_comes_back_when_the_horizon_passes_it() -> None:
    index = DueIndex()
    index.horizon = (after(60), LAST)
    index.apply(
        told(TaskCreated(at=NOON, namespace="default", definition=definition(), next_run_at=after(90)))
    )
    assert len(index) == 0
    index.apply(told(updated(next_run_at=after(100)), version=2))
    index.horizon = (after(120), LAST)
    assert [each.due_at for each in index.pop(after(120), 5)] == [after(100)]


def test_only_a_refill_that_began_later_drops_what_was_set_aside() -> None:
    index = DueIndex()
    index.horizon = (after(60), LAST)
    index.begin_refill()
    index.put(entry(after(90)))
    index.keep_within()
    index.horizon = (after(120), LAST)
    assert len(index) == 1
    index.keep_all()
    index.put(entry(after(200)))
    assert len(index) == 1
    index.begin_refill()
    index.keep_within()
    assert len(index) == 0


def test_a_task_surfaces_again_after_an_error_with_a_pause_that_doubles() -> None:
    index = DueIndex()
    index.put(entry(NOON))
    for pause in (1, 2, 4, 8):
        [popped] = index.pop(after(100), 1)
        index.retry(popped, NOON)
        assert index.next_due() == after(pause)
    popped.place(after(60), 1)
    assert popped.errors == 0
