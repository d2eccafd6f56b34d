"""What read models show of pauses, and of executions that users asked for or broke off."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from application.ports import NewFact
from domain.facts import (
    ExecutionCancelled,
    ExecutionRequested,
    OccurrenceKind,
    TaskPaused,
    TaskResumed,
)
from projections import statistics, task_results, tasks
from projections.task_results import ResultRow
from projections.tasks import TaskRow
from tests.support.entries import (
    RUN,
    TASK,
    after,
    answered,
    attempt,
    attempt_failed,
    created,
    execution_cancelled,
    log,
    occurrence,
    skipped,
    started,
    succeeded,
    updated,
)


def paused(version: int = 2, note: str | None = "moving") -> NewFact:
    return NewFact(TASK, version, TaskPaused(at=after(version), note=note))


def resumed(version: int = 3) -> NewFact:
    return NewFact(TASK, version, TaskResumed(at=after(version)))


def requested(version: int = 1, kind: OccurrenceKind = "manual", stream: UUID = RUN) -> NewFact:
    return NewFact(stream, version, ExecutionRequested(at=after(0), occurrence=occurrence(kind=kind)))


def broken_off(version: int) -> NewFact:
    fact = ExecutionCancelled(at=after(3), task_id=TASK, reason="cancelled by a user", interrupted=True)
    return NewFact(RUN, version, fact)


def task_after(*facts: NewFact) -> TaskRow:
    return tasks.fold({}, log(*facts)).rows[TASK]


def result_after(*facts: NewFact) -> ResultRow:
    return task_results.fold({}, log(*facts)).rows[RUN]


def test_a_paused_task_keeps_its_place_and_says_since_when_and_why() -> None:
    row = task_after(created(), paused())
    assert (row.status, row.next_run, row.version) == ("paused", after(60), 2)
    assert (row.paused_at, row.resumed_at, row.pause_note) == (after(2), None, "moving")


def test_a_resumed_task_is_scheduled_and_remembers_the_pause() -> None:
    row = task_after(created(), paused(), resumed())
    assert (row.status, row.next_run, row.version) == ("scheduled", after(60), 3)
    assert (row.paused_at, row.resumed_at) == (after(2), after(3))


def test_a_second_pause_takes_the_place_of_the_first() -> None:
    row = task_after(created(), paused(), resumed(), paused(4, None))
    assert (row.paused_at, row.resumed_at, row.pause_note) == (after(4), None, None)


def test_an_update_of_a_paused_task_leaves_it_paused() -> None:
    row = task_after(created(), paused(), updated(version=3, next_run=after(90)))
    assert (row.status, row.next_run, row.paused_at) == ("paused", after(90), after(2))


def test_counts_follow_a_pause() -> None:
    assert tasks.fold({}, log(created(), paused())).counts == {
        ("default", "scheduled"): 0,
        ("default", "paused"): 1,
    }


def test_a_requested_execution_is_pending_until_it_is_claimed() -> None:
    row = result_after(requested())
    assert (row.status, row.kind, row.attempts, row.node, row.run_at) == ("pending", "manual", 0, None, None)
    claimed = result_after(requested(), started(kind="manual", version=2))
    assert (claimed.status, claimed.attempts, claimed.node) == ("running", 1, "node-1")
    assert claimed.created_at == after(0)


def test_a_skipped_occurrence_that_is_asked_for_forgets_why_it_was_skipped() -> None:
    row = result_after(skipped(), requested(2, "backfill"))
    assert (row.status, row.reason, row.kind, row.created_at) == ("pending", None, "backfill", after(1))


def test_a_requested_execution_moves_no_task() -> None:
    assert task_after(created(), requested()).position == 1


def test_a_pending_execution_that_is_cancelled_has_no_attempts() -> None:
    row = result_after(requested(), execution_cancelled(2))
    assert (row.status, row.attempts, row.attempt_log) == ("cancelled", 0, ())


def test_an_attempt_that_was_broken_off_is_counted_and_told() -> None:
    row = result_after(started(), broken_off(2))
    assert (row.status, row.success, row.attempts, row.reason) == (
        *("cancelled", None, 1),
        "cancelled by a user",
    )
    [view] = row.attempt_log
    assert (view.number, view.status_code) == (1, None)
    assert view.error_message == "outcome unknown: the execution was cancelled before it was recorded"


def test_an_attempt_that_was_told_is_not_told_twice() -> None:
    row = result_after(started(), attempt_failed(2, attempt(1, answered(503))), broken_off(3))
    assert (row.status, row.attempts, len(row.attempt_log)) == ("cancelled", 1, 1)


@pytest.mark.parametrize("facts", [(created(), paused(), resumed()), (requested(),)])
def test_statistics_count_no_pause_and_no_request(facts: tuple[Any, ...]) -> None:
    tally = statistics.fold({}, log(*facts))
    assert (dict(tally.totals), tally.opened) == ({}, {})


def test_statistics_count_what_a_request_came_to() -> None:
    facts = (
        requested(),
        started(kind="manual", version=2),
        succeeded(3, attempt(1, answered())),
    )
    assert statistics.fold({}, log(*facts)).totals["executions", "succeeded"] == 1
