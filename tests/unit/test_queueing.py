"""What becomes of a queued occurrence: it starts, from the task as it is by then, or ends with a reason."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from domain import execution as executions
from domain import requesting as queueing
from domain.definition import Overlap
from domain.execution import Requested
from domain.facts import ExecutionCancelled, ExecutionSkipped, ExecutionStarted, TaskPaused, TaskResumed
from domain.overlap import ConcurrencyState
from domain.task import Task
from tests.support.given import (
    NOON,
    RUN,
    TASK,
    after,
    cancelled,
    completed,
    created,
    every,
    given,
    lease,
    occurrence,
    queued,
    updated,
)

ONE = ConcurrencyState((UUID(int=7),), (RUN,))
NONE = ConcurrencyState((), (RUN,))
QUEUE = Overlap(mode="queue_all")


def waiting(**rest: Any) -> Requested:
    state = executions.begin(RUN, queued(**rest))
    assert isinstance(state, Requested)
    return state


def after_facts(*later: Any, **words: Any) -> Task:
    return given(created(**{"overlap": QUEUE} | words), *later).state


@pytest.mark.parametrize(
    ("task", "open_runs", "moves"),
    [
        (after_facts(), NONE, True),
        (after_facts(), ONE, False),
        (after_facts(overlap=Overlap(mode="queue_all", max_running=2)), ONE, True),
        (after_facts(overlap=Overlap()), ONE, True),
        (after_facts(TaskPaused(at=NOON)), NONE, False),
        (after_facts(TaskPaused(at=NOON), TaskResumed(at=NOON)), NONE, True),
        (after_facts(cancelled()), ONE, True),
        (after_facts(TaskPaused(at=NOON), cancelled()), ONE, True),
        (after_facts(completed()), NONE, True),
        (after_facts(completed()), ONE, False),
    ],
)
def test_the_first_of_a_queue_moves_when_there_is_room(
    task: Task, open_runs: ConcurrencyState, moves: bool
) -> None:
    assert queueing.moves(task, open_runs) is moves


def test_a_queued_one_starts_as_the_task_is_now_and_moves_it_nowhere() -> None:
    task = after_facts(updated(name="renamed", overlap=QUEUE))
    fact = queueing.start_queued(waiting(run=3), task, lease(task_version=2), after(90))
    assert fact == ExecutionStarted(
        at=after(90),
        occurrence=replace(occurrence(NOON, 2, run=3), task_name="renamed"),
        node="node-9",
        lease_until=after(60),
        next_run_at=after(60),
    )


def test_a_queued_one_of_a_cancelled_task_is_cancelled() -> None:
    assert queueing.start_queued(waiting(), after_facts(cancelled()), lease(), NOON) == ExecutionCancelled(
        at=NOON, task_id=TASK, reason="the task was cancelled while this occurrence was queued"
    )


def test_a_schedule_that_is_through_takes_nothing_from_what_it_has_queued() -> None:
    fact = queueing.start_queued(waiting(run=3), after_facts(completed()), lease(), NOON)
    assert isinstance(fact, ExecutionStarted)
    assert (fact.occurrence.run, fact.next_run_at) == (3, after(60))


def test_a_queued_one_is_skipped_when_its_instant_is_none_of_the_new_schedule() -> None:
    task = after_facts(updated(cron="30 * * * *", next_run_at=after(1800), overlap=QUEUE))
    assert queueing.start_queued(waiting(), task, lease(), NOON) == ExecutionSkipped(
        at=NOON,
        occurrence=occurrence(NOON),
        reason="the task was rescheduled while this occurrence was queued",
        next_run_at=after(1800),
        by="change",
    )


def test_a_queued_one_of_a_schedule_that_is_through_and_another_by_now_moves_no_task() -> None:
    task = after_facts(updated(cron="30 * * * *", next_run_at=after(1800), overlap=QUEUE), completed())
    fact = queueing.start_queued(waiting(), task, lease(), NOON)
    assert isinstance(fact, ExecutionSkipped)
    assert fact.next_run_at is None


def test_a_queued_one_to_which_the_new_schedule_has_yet_to_come_is_left_to_that() -> None:
    task = after_facts(updated(trigger=every(60), next_run_at=after(-60), overlap=QUEUE))
    fact = queueing.start_queued(waiting(), task, lease(), after(-90))
    assert isinstance(fact, ExecutionSkipped)
    assert (fact.by, fact.next_run_at) == ("change", after(-60))


@pytest.mark.parametrize("jitter", [0, 60])
def test_an_occurrence_of_the_old_schedule_and_the_new_starts_but_counts_for_neither_bound(
    jitter: float,
) -> None:
    trigger = every(120, jitter_seconds=jitter, max_runs=3)
    task = after_facts(updated(trigger=trigger, next_run_at=after(120), overlap=QUEUE))
    fact = queueing.start_queued(waiting(run=3), task, lease(), NOON)
    assert isinstance(fact, ExecutionStarted)
    assert (fact.occurrence.run, fact.next_run_at) == (0, after(120))
    assert (fact.next_fire_at is not None) is bool(jitter)


def test_the_last_occurrence_of_both_schedules_has_nothing_after_it() -> None:
    task = after_facts(updated(trigger=every(60, end_at=after(30)), next_run_at=NOON, overlap=QUEUE))
    fact = queueing.start_queued(waiting(), task, lease(), NOON)
    assert isinstance(fact, ExecutionStarted)
    assert (fact.next_run_at, fact.next_fire_at) == (None, None)
