"""How the ledger tells of answers that a task's own policies judged, and the statistics of what lapsed."""

from __future__ import annotations

from application.ports import NewFact
from domain.facts import Attempt, AttemptFailed, ExecutionFailed
from projections import statistics
from projections.task_results import ResultRow, fold
from tests.support.entries import (
    RUN,
    TASK,
    after,
    answered,
    attempt,
    attempt_failed,
    log,
    started,
    succeeded,
    unanswered,
)

LACKING = 'the body does not contain "done"'


def row_after(*facts: NewFact) -> ResultRow:
    return fold({}, log(*facts)).rows[RUN]


def lacking(version: int, made: Attempt) -> NewFact:
    fact = AttemptFailed(at=after(2), task_id=TASK, attempt=made, retry_at=after(30), unmet=LACKING)
    return NewFact(RUN, version, fact)


def failed(version: int, made: Attempt, *, unmet: str | None = None) -> NewFact:
    fact = ExecutionFailed(at=after(5), task_id=TASK, attempt=made, reason="final", unmet=unmet)
    return NewFact(RUN, version, fact)


def lapsed(version: int) -> NewFact:
    fact = ExecutionFailed(at=after(99), task_id=TASK, attempt=None, reason="too late", lapsed=True)
    return NewFact(RUN, version, fact)


def test_a_failed_attempt_tells_what_its_answer_lacked() -> None:
    row = row_after(started(), lacking(2, attempt(1, answered(200))))
    assert (row.status, row.status_code, row.error_message) == ("running", 200, LACKING)
    assert [view.error_message for view in row.attempt_log] == [LACKING]


def test_a_failed_execution_tells_what_its_last_answer_lacked() -> None:
    row = row_after(started(), failed(2, attempt(1, answered(200)), unmet=LACKING))
    assert (row.status, row.status_code, row.error_message) == ("failed", 200, LACKING)


def test_a_2xx_that_was_no_success_is_told_like_any_other_status() -> None:
    row = row_after(started(), failed(2, attempt(1, answered(202))))
    assert (row.status, row.error_message) == ("failed", "the server answered with status 202")


def test_a_success_has_no_error_whatever_its_status() -> None:
    row = row_after(started(), succeeded(2, attempt(1, answered(404))))
    assert (row.status, row.success, row.status_code, row.error_message) == ("succeeded", True, 404, None)
    assert [view.error_message for view in row.attempt_log] == [None]


def test_what_lapsed_keeps_what_its_last_attempt_brought() -> None:
    row = row_after(started(), attempt_failed(2, attempt(1, answered(503))), lapsed(3))
    assert (row.status, row.success, row.reason, row.retry_at) == ("failed", False, "too late", None)
    assert (row.attempts, row.status_code) == (1, 503)
    assert row.error_message == "the server answered with status 503"
    assert len(row.attempt_log) == 1


def test_what_lapsed_made_no_attempt_that_could_be_lost() -> None:
    waiting = attempt_failed(2, attempt(1, unanswered()))
    totals = statistics.fold({}, log(started(), waiting, lapsed(3))).totals
    counted = {key: number for key, number in totals.items() if key[0] in {"attempts", "executions"}}
    assert counted == {("attempts", "failed"): 1, ("executions", "failed"): 1}
