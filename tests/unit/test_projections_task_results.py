"""The fold behind `task_results`: the row of an occurrence after some facts."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from application.ports import NewFact
from domain.facts import AttemptFailed, ExecutionCancelled, ExecutionFailed
from projections.projection import PoisonEvent
from projections.task_results import ResultRow, fold
from projections.views import AttemptView
from tests.support.entries import (
    NOON,
    RUN,
    TASK,
    Columns,
    after,
    answered,
    attempt,
    attempt_failed,
    attempt_started,
    columns,
    created,
    execution_cancelled,
    failed,
    log,
    redaction,
    requested,
    shown,
    skipped,
    started,
    succeeded,
    taken_over,
    unanswered,
    undecodable,
)

LOST = "outcome unknown: node {} stopped before it was recorded"
BROKEN_OFF = "outcome unknown: the execution was cancelled before it was recorded"
STATUS = "the server answered with status {}"
LACKING = 'the body does not contain "done"'
MADE_AT = after(0.01)

OK, UNAVAILABLE = attempt(1, answered()), attempt(1, answered(503))


def view(number: int, status_code: int | None, error: str | None, *, told: bool = True) -> AttemptView:
    """An attempt in the log of a row, with the duration and start of all attempts here."""
    return AttemptView(
        number=number,
        started_at=after(number) if told else None,
        duration_ms=12 if told else None,
        status_code=status_code,
        error_message=error,
    )


def fails_for_good(version: int, answer: int, unmet: str | None = None) -> NewFact:
    made = attempt(1, answered(answer))
    fact = ExecutionFailed(at=after(5), task_id=TASK, attempt=made, reason="final", unmet=unmet)
    return NewFact(RUN, version, fact)


def lapsed(version: int) -> NewFact:
    fact = ExecutionFailed(at=after(99), task_id=TASK, attempt=None, reason="too late", lapsed=True)
    return NewFact(RUN, version, fact)


def broken_off(version: int) -> NewFact:
    fact = ExecutionCancelled(at=after(3), task_id=TASK, reason="cancelled by a user", interrupted=True)
    return NewFact(RUN, version, fact)


def at(seconds: float, claim: NewFact) -> NewFact:
    return NewFact(claim.stream, claim.version, replace(claim.fact, at=after(seconds)))


def test_a_claimed_occurrence_is_running() -> None:
    assert fold({}, log(started())).rows[RUN] == ResultRow(
        id=RUN,
        task_id=TASK,
        namespace="default",
        task_name="report",
        task_version=1,
        kind="scheduled",
        due_at=NOON,
        run_at=MADE_AT,
        status="running",
        attempts=1,
        node="node-1",
        lease_until=after(60),
        created_at=MADE_AT,
        position=1,
    )


AHEAD = at(-0.01, started())
LACKS = AttemptFailed(at=after(2), task_id=TASK, attempt=OK, retry_at=after(30), unmet=LACKING)
RETRIED = [started(), attempt_failed(2, UNAVAILABLE), attempt_started(3, 2)]

RULES: dict[str, tuple[list[NewFact], Columns]] = {
    "what is claimed ahead runs when its call is to be sent": (
        [AHEAD],
        columns(run_at=NOON, created_at=after(-0.01)),
    ),
    "so does what is renewed ahead": ([AHEAD, at(-0.005, attempt_started(2, 1))], columns(run_at=NOON)),
    "so does what is tried again ahead": (
        [AHEAD, attempt_failed(2, UNAVAILABLE), at(29.99, attempt_started(3, 2))],
        columns(run_at=after(30)),
    ),
    "a success holds the answer": (
        [started(), succeeded(2, attempt(1, answered(201, "made", truncated=True)))],
        columns(
            status="succeeded",
            success=True,
            status_code=201,
            response_body="made",
            response_headers={"content-type": "text/plain"},
            response_truncated=True,
            run_at=after(1),
            duration_ms=12,
            error_message=None,
            lease_until=None,
            attempt_log=(view(1, 201, None),),
        ),
    ),
    "a success has no error, whatever its status": (
        [started(), succeeded(2, attempt(1, answered(404)))],
        columns(status="succeeded", success=True, error_message=None, attempt_log=(view(1, 404, None),)),
    ),
    "a failed attempt leaves the occurrence running until its retry": (
        [started(), attempt_failed(2, UNAVAILABLE)],
        columns(
            status="running",
            success=None,
            retry_at=after(30),
            lease_until=None,
            status_code=503,
            error_message=STATUS.format(503),
        ),
    ),
    "a failed attempt tells what its answer lacked": (
        [started(), NewFact(RUN, 2, LACKS)],
        columns(
            status="running", status_code=200, error_message=LACKING, attempt_log=(view(1, 200, LACKING),)
        ),
    ),
    "a failed execution tells what its last answer lacked": (
        [started(), fails_for_good(2, 200, LACKING)],
        columns(status="failed", status_code=200, error_message=LACKING),
    ),
    "a 2xx that was no success is told like any other status": (
        [started(), fails_for_good(2, 202)],
        columns(status="failed", error_message=STATUS.format(202)),
    ),
    "a retry claims the next attempt": (
        [started(), attempt_failed(2, attempt(1, unanswered())), attempt_started(3, 2)],
        columns(
            attempts=2,
            node="node-2",
            lease_until=after(90),
            retry_at=None,
            run_at=after(31),
            task_version=2,
            error_message="connection refused",
        ),
    ),
    "a renewed claim is the same attempt": (
        [started(), attempt_started(2, 1)],
        columns(attempts=1, attempt_log=(), task_version=2),
    ),
    "a failure says why nothing follows": (
        [*RETRIED, failed(4, attempt(2, unanswered("no answer within 30 s")))],
        columns(
            status="failed",
            success=False,
            reason="no attempt left",
            status_code=None,
            response_body=None,
            attempt_log=(view(1, 503, STATUS.format(503)), view(2, None, "no answer within 30 s")),
        ),
    ),
    "a take-over logs the attempt whose outcome got lost": (
        [started(), taken_over(2, 2)],
        columns(
            status="running",
            attempts=2,
            node="node-2",
            attempt_log=(view(1, None, LOST.format("node-1"), told=False),),
        ),
    ),
    "a take-over of a finished attempt loses nothing": (
        [started(), attempt_failed(2, UNAVAILABLE), taken_over(3, 2)],
        columns(attempt_log=(view(1, 503, STATUS.format(503)),)),
    ),
    "a lost last attempt hides the answer of the one before": (
        [*RETRIED, failed(4, None)],
        columns(
            status_code=None,
            response_headers=None,
            response_body=None,
            duration_ms=None,
            error_message=LOST.format("node-2"),
        ),
    ),
    "what lapsed keeps what its last attempt brought": (
        [started(), attempt_failed(2, UNAVAILABLE), lapsed(3)],
        columns(
            status="failed",
            success=False,
            reason="too late",
            retry_at=None,
            attempts=1,
            status_code=503,
            attempt_log=(view(1, 503, STATUS.format(503)),),
        ),
    ),
    "an occurrence that never started has no run": (
        [skipped()],
        columns(
            status="skipped", reason="missed", success=None, run_at=None, attempts=0, created_at=after(1)
        ),
    ),
    "a call dropped before it was sent is not an attempt": (
        [started(), skipped(version=2)],
        columns(status="skipped", attempts=0, run_at=None, lease_until=None, created_at=MADE_AT, position=2),
    ),
    "a skipped occurrence may start after all": (
        [skipped(), started(version=2)],
        columns(status="running", reason=None, attempts=1, run_at=MADE_AT, created_at=after(1), position=2),
    ),
    "a skipped occurrence that is asked for forgets why it was skipped": (
        [skipped(), requested(2, "backfill")],
        columns(status="pending", reason=None, kind="backfill", created_at=after(1)),
    ),
    "a requested execution is pending": (
        [requested()],
        columns(status="pending", kind="manual", attempts=0, node=None, run_at=None),
    ),
    "a requested execution runs once it is claimed": (
        [requested(), started(kind="manual", version=2)],
        columns(status="running", attempts=1, node="node-1", created_at=after(0)),
    ),
    "a pending execution that is cancelled has no attempts": (
        [requested(), execution_cancelled(2)],
        columns(status="cancelled", attempts=0, attempt_log=()),
    ),
    "a cancelled retry keeps what was tried": (
        [started(), attempt_failed(2, UNAVAILABLE), execution_cancelled(3)],
        columns(
            status="cancelled",
            success=None,
            retry_at=None,
            reason="the task is cancelled",
            attempts=1,
            run_at=after(1),
            status_code=503,
        ),
    ),
    "an attempt that was broken off is counted and told": (
        [started(), broken_off(2)],
        columns(
            status="cancelled",
            success=None,
            attempts=1,
            reason="cancelled by a user",
            attempt_log=(view(1, None, BROKEN_OFF, told=False),),
        ),
    ),
    "an attempt that was told is not told twice": (
        [started(), attempt_failed(2, UNAVAILABLE), broken_off(3)],
        columns(status="cancelled", attempts=1, attempt_log=(view(1, 503, STATUS.format(503)),)),
    ),
    "a redaction leaves how often and with what status a call failed": (
        [created(), started(), fails_for_good(2, 503), redaction(RUN)],
        columns(
            error_message=STATUS.format(503),
            status_code=503,
            response_body="[redacted]",
            response_headers={"content-type": "[redacted]"},
        ),
    ),
}


@pytest.mark.parametrize(("facts", "expected"), RULES.values(), ids=RULES)
def test_a_row_is_what_its_facts_come_to(facts: list[NewFact], expected: Columns) -> None:
    assert shown(fold({}, log(*facts)).rows[RUN], expected) == expected


def test_counts_follow_every_change_of_status_and_keep_their_zeros() -> None:
    counts = fold({}, log(started(), succeeded(2, OK))).counts
    assert dict(counts) == {("default", "running"): 0, ("default", "succeeded"): 1}


@pytest.mark.parametrize("fact", [created(), redaction(RUN)], ids=["of a task", "of a row that is not there"])
def test_facts_of_no_occurrence_make_no_row(fact: NewFact) -> None:
    assert fold({}, log(fact)).rows == {}


def test_what_cannot_be_applied_is_poison_and_says_why() -> None:
    with pytest.raises(PoisonEvent, match=r"ExecutionSucceeded at position 1: .* has no row"):
        fold({}, log(succeeded(2, OK)))
    with pytest.raises(PoisonEvent, match="has no row"):
        fold({}, [undecodable(RUN)])
    with pytest.raises(PoisonEvent, match="a later release wrote it"):
        fold(fold({}, log(started())).rows, [undecodable(RUN)])
