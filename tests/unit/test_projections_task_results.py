"""The fold behind `task_results`."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from application.ports import NewFact, Recorded, Undecodable
from projections.projection import PoisonEvent
from projections.task_results import ResultRow, fold
from projections.views import AttemptView
from tests.support.entries import (
    META,
    NOON,
    RUN,
    TASK,
    after,
    answered,
    attempt,
    attempt_failed,
    attempt_started,
    created,
    execution_cancelled,
    failed,
    log,
    skipped,
    started,
    succeeded,
    taken_over,
    unanswered,
)

LOST = AttemptView(
    number=1,
    started_at=None,
    duration_ms=None,
    status_code=None,
    error_message="outcome unknown: node node-1 stopped before it was recorded",
)


def row_after(*facts: NewFact) -> ResultRow:
    return fold({}, log(*facts)).rows[RUN]


def test_a_claimed_occurrence_is_running() -> None:
    assert row_after(started()) == ResultRow(
        id=RUN,
        task_id=TASK,
        namespace="default",
        task_name="report",
        task_version=1,
        kind="scheduled",
        due_at=NOON,
        run_at=after(0.01),
        status="running",
        attempts=1,
        node="node-1",
        lease_until=after(60),
        created_at=after(0.01),
        position=1,
    )


def claimed_at(seconds: float, claim: NewFact) -> NewFact:
    return NewFact(claim.stream, claim.version, replace(claim.fact, at=after(seconds)))


def test_what_is_claimed_ahead_runs_when_its_call_is_to_be_sent() -> None:
    claim = claimed_at(-0.01, started())
    assert (row_after(claim).run_at, row_after(claim).created_at) == (NOON, after(-0.01))
    renewed = claimed_at(-0.005, attempt_started(2, 1))
    assert row_after(claim, renewed).run_at == NOON
    retried = claimed_at(29.99, attempt_started(3, 2))
    assert row_after(claim, attempt_failed(2, attempt(1, unanswered())), retried).run_at == after(30)


def test_a_success_holds_the_answer() -> None:
    row = row_after(started(), succeeded(2, attempt(1, answered(201, "made", truncated=True))))
    assert (row.status, row.success, row.status_code, row.response_body) == ("succeeded", True, 201, "made")
    assert (row.response_headers, row.response_truncated) == ({"content-type": "text/plain"}, True)
    assert (row.run_at, row.duration_ms, row.error_message, row.lease_until) == (after(1), 12, None, None)
    assert row.attempt_log == (
        AttemptView(number=1, started_at=after(1), duration_ms=12, status_code=201, error_message=None),
    )


def test_a_failed_attempt_leaves_the_occurrence_running_until_its_retry() -> None:
    row = row_after(started(), attempt_failed(2, attempt(1, answered(503))))
    assert (row.status, row.success, row.retry_at, row.lease_until) == ("running", None, after(30), None)
    assert (row.status_code, row.error_message) == (503, "the server answered with status 503")


def test_a_retry_claims_the_next_attempt() -> None:
    row = row_after(started(), attempt_failed(2, attempt(1, unanswered())), attempt_started(3, 2))
    assert (row.attempts, row.node, row.lease_until, row.retry_at) == (2, "node-2", after(90), None)
    assert (row.run_at, row.task_version, row.error_message) == (after(31), 2, "connection refused")


def test_a_renewed_claim_is_the_same_attempt() -> None:
    row = row_after(started(), attempt_started(2, 1))
    assert (row.attempts, row.attempt_log, row.task_version) == (1, (), 2)


def test_a_failure_says_why_nothing_follows() -> None:
    first, last = attempt(1, answered(503)), attempt(2, unanswered("no answer within 30 s"))
    row = row_after(started(), attempt_failed(2, first), attempt_started(3, 2), failed(4, last))
    assert (row.status, row.success, row.reason) == ("failed", False, "no attempt left")
    assert (row.status_code, row.response_body, row.error_message) == (None, None, "no answer within 30 s")
    assert [view.status_code for view in row.attempt_log] == [503, None]


def test_a_take_over_logs_the_attempt_whose_outcome_got_lost() -> None:
    row = row_after(started(), taken_over(2, 2))
    assert (row.status, row.attempts, row.attempt_log, row.node) == ("running", 2, (LOST,), "node-2")


def test_a_take_over_of_a_finished_attempt_loses_nothing() -> None:
    row = row_after(started(), attempt_failed(2, attempt(1, answered(503))), taken_over(3, 2))
    assert [view.status_code for view in row.attempt_log] == [503]


def test_a_lost_last_attempt_hides_the_answer_of_the_one_before() -> None:
    row = row_after(
        started(), attempt_failed(2, attempt(1, answered(503))), attempt_started(3, 2), failed(4, None)
    )
    assert (row.status_code, row.response_headers, row.response_body, row.duration_ms) == (None,) * 4
    assert row.error_message == "outcome unknown: node node-2 stopped before it was recorded"


def test_an_occurrence_that_never_started_has_no_run() -> None:
    row = row_after(skipped())
    assert (row.status, row.reason, row.success, row.run_at) == ("skipped", "missed", None, None)
    assert (row.attempts, row.created_at, row.due_at) == (0, after(1), NOON)


def test_a_call_dropped_before_it_was_sent_is_not_an_attempt() -> None:
    row = row_after(started(), skipped(version=2))
    assert (row.status, row.attempts, row.run_at, row.lease_until) == ("skipped", 0, None, None)
    assert (row.created_at, row.position) == (after(0.01), 2)


def test_a_skipped_occurrence_may_start_after_all() -> None:
    row = row_after(skipped(), started(version=2))
    assert (row.status, row.reason, row.attempts, row.run_at) == ("running", None, 1, after(0.01))
    assert (row.created_at, row.position) == (after(1), 2)


def test_a_cancelled_retry_keeps_what_was_tried() -> None:
    row = row_after(started(), attempt_failed(2, attempt(1, answered(503))), execution_cancelled(3))
    assert (row.status, row.success, row.retry_at, row.reason) == (
        "cancelled",
        None,
        None,
        "the task is cancelled",
    )
    assert (row.attempts, row.run_at, row.status_code) == (1, after(1), 503)


def test_counts_follow_every_change_of_status_and_keep_their_zeros() -> None:
    counts = fold({}, log(started(), succeeded(2, attempt(1, answered())))).counts
    assert dict(counts) == {("default", "running"): 0, ("default", "succeeded"): 1}


def test_facts_about_tasks_are_no_occurrences() -> None:
    assert fold({}, log(created())).rows == {}


def test_an_outcome_without_a_beginning_is_poison() -> None:
    with pytest.raises(PoisonEvent, match=r"ExecutionSucceeded at position 1: .* has no row"):
        fold({}, log(succeeded(2, attempt(1, answered()))))


def test_an_event_that_cannot_be_read_is_poison() -> None:
    running = fold({}, log(started())).rows
    fact = Undecodable(topic="execution.paused.v9", error="a later release wrote it")
    entry = Recorded(position=7, stream=RUN, version=2, fact=fact, meta=META, recorded_at=NOON)
    with pytest.raises(PoisonEvent, match="a later release wrote it"):
        fold(running, [entry])
    with pytest.raises(PoisonEvent):
        fold({}, [entry])
