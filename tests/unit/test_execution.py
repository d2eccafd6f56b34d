"""What is decided about executions, and how their facts fold."""

from datetime import timedelta
from typing import Any

import pytest

from domain import execution as executions
from domain.execution import FinishedExecution, Running, Waiting
from domain.facts import (
    AttemptFailed,
    AttemptStarted,
    ExecutionCancelled,
    ExecutionFact,
    ExecutionFailed,
    ExecutionSkipped,
    ExecutionSucceeded,
    ExecutionTakenOver,
)
from domain.outcome import MAX_LOST_ATTEMPTS
from tests.support.decisions import conclude, drop, give_up
from tests.support.given import (
    MINUTE,
    NOON,
    RUN,
    TASK,
    after,
    attempt,
    cancelled,
    completed,
    created,
    failed,
    failed_attempt,
    given,
    given_execution,
    lease,
    no_answer,
    occurrence,
    skipped,
    started,
    started_again,
    succeeded,
    taken_over,
    updated,
)

RESCHEDULED = given(created(), updated(cron="30 * * * *", next_run_at=after(1800)))
CANCELLED = given(created(), cancelled())


def running(execution: executions.Execution) -> Running:
    assert isinstance(execution, Running)
    return execution


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_any_2xx_is_success(status: int) -> None:
    expected = ExecutionSucceeded(at=NOON, task_id=TASK, attempt=attempt(1, status))
    given_execution(started()).when(conclude(status)).decides(expected)


@pytest.mark.parametrize("status", [100, 199, 300, 302, 400, 401, 404, 409, 410, 422, 499])
def test_other_statuses_are_final(status: int) -> None:
    fact = given_execution(started()).when(conclude(status)).decides(ExecutionFailed)
    assert isinstance(fact, ExecutionFailed)
    assert fact.reason == f"status {status} is final: retry.statuses has 408, 425, 429 and 5xx"


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503, 599])
def test_408_425_429_and_5xx_are_tried_again(status: int) -> None:
    given_execution(started()).when(conclude(status)).decides(AttemptFailed)


def test_a_call_without_an_answer_is_tried_again() -> None:
    given_execution(started()).when(conclude(no_answer())).decides(AttemptFailed)


def test_a_failure_that_would_only_repeat_itself_is_final() -> None:
    fact = given_execution(started()).when(conclude(no_answer(retryable=False))).decides(ExecutionFailed)
    assert isinstance(fact, ExecutionFailed)
    assert fact.reason == "this failure is final: trying again would not help"


def test_the_last_attempt_ends_the_execution() -> None:
    execution = given_execution(started(), failed_attempt(), started_again(2))
    fact = execution.when(conclude(503, max_attempts=2)).decides(ExecutionFailed)
    assert isinstance(fact, ExecutionFailed)
    assert fact.reason == "attempt 2 of 2 failed"


def test_one_attempt_means_no_retry() -> None:
    given_execution(started()).when(conclude(503, max_attempts=1)).decides(ExecutionFailed)


def test_attempts_whose_outcome_got_lost_do_not_count() -> None:
    execution = given_execution(started(), taken_over(2))
    execution.when(conclude(503, max_attempts=1)).decides(ExecutionFailed)
    execution.when(conclude(503, max_attempts=2)).decides(AttemptFailed)


def test_the_backoff_grows_with_the_attempts_that_failed() -> None:
    execution = given_execution(started(), failed_attempt(), started_again(2))
    fact = execution.when(conclude(503, initial_delay_seconds=2.0, multiplier=3.0)).decides(AttemptFailed)
    assert isinstance(fact, AttemptFailed)
    assert fact.retry_at == NOON + timedelta(seconds=6)


def test_a_retry_is_claimed_as_the_next_attempt() -> None:
    waiting = given_execution(started(), failed_attempt()).state
    assert isinstance(waiting, Waiting)
    assert executions.start_attempt(waiting, lease(), NOON) == AttemptStarted(
        at=NOON, task_id=TASK, task_version=4, number=2, node="node-9", lease_until=NOON + MINUTE
    )


def test_a_renewed_claim_is_the_same_attempt() -> None:
    fact = executions.start_attempt(running(given_execution(started()).state), lease(), NOON)
    assert (fact.number, fact.node, fact.task_version) == (1, "node-9", 4)


def test_a_takeover_is_a_further_attempt_and_names_who_lost_the_last() -> None:
    fact = executions.take_over(running(given_execution(started()).state), lease(), NOON)
    assert fact == ExecutionTakenOver(
        at=NOON,
        task_id=TASK,
        task_version=4,
        number=2,
        node="node-9",
        lost_by="node-1",
        lease_until=NOON + MINUTE,
    )


def test_what_takes_its_scheduler_down_each_time_is_given_up() -> None:
    takeovers = [taken_over(number) for number in range(2, MAX_LOST_ATTEMPTS + 2)]
    given_execution(started(), *takeovers[:-1]).when(give_up()).decides_nothing()
    given_up = given_execution(started(), *takeovers).when(give_up()).decides(ExecutionFailed)
    assert isinstance(given_up, ExecutionFailed)
    assert given_up.attempt is None
    assert given_up.reason.startswith("the outcomes of 6 attempts are unknown")


def test_nothing_is_dropped_while_its_task_is_as_it_was_claimed() -> None:
    execution = given_execution(started())
    execution.when(drop(given(created()), unsent=True)).decides_nothing()
    execution.when(drop(given(created(), updated(name="other")), unsent=True)).decides_nothing()


def test_an_unsent_call_of_a_cancelled_task_is_skipped() -> None:
    expected = ExecutionSkipped(
        at=NOON,
        occurrence=occurrence(),
        reason="the task was cancelled before the call was sent",
        next_run_at=None,
        by="change",
    )
    given_execution(started()).when(drop(CANCELLED, unsent=True)).decides(expected)


def test_an_unsent_call_of_a_rescheduled_task_is_skipped() -> None:
    expected = ExecutionSkipped(
        at=NOON,
        occurrence=occurrence(),
        reason="the task was rescheduled before the call was sent",
        next_run_at=after(1800),
        by="change",
    )
    given_execution(started()).when(drop(RESCHEDULED, unsent=True)).decides(expected)


@pytest.mark.parametrize("words", [{"cron": "0 * * * *"}, {"at": NOON}])
def test_an_unsent_call_goes_on_when_the_new_schedule_includes_its_instant(words: dict[str, Any]) -> None:
    moved = given(created(), updated(**words, next_run_at=after(3600)))
    given_execution(started()).when(drop(moved, unsent=True)).decides_nothing()


def test_a_call_that_may_have_been_sent_survives_a_rescheduling() -> None:
    given_execution(started()).when(drop(RESCHEDULED, unsent=False)).decides_nothing()


@pytest.mark.parametrize(
    "so_far", [(failed_attempt(),), (failed_attempt(), started_again()), (taken_over(),)]
)
def test_a_retry_survives_a_rescheduling(so_far: tuple[ExecutionFact, ...]) -> None:
    given_execution(started(), *so_far).when(drop(RESCHEDULED, unsent=True)).decides_nothing()


@pytest.mark.parametrize(
    ("so_far", "unsent", "interrupted"),
    [
        ((), False, True),
        ((failed_attempt(), started_again()), False, True),
        ((failed_attempt(),), False, False),
        ((failed_attempt(),), True, False),
        ((failed_attempt(), started_again()), True, False),
    ],
)
def test_a_started_execution_of_a_cancelled_task_makes_no_further_attempt(
    so_far: tuple[ExecutionFact, ...], unsent: bool, interrupted: bool
) -> None:
    expected = ExecutionCancelled(
        at=NOON,
        task_id=TASK,
        reason="the task was cancelled: no further attempt is made",
        interrupted=interrupted,
    )
    given_execution(started(), *so_far).when(drop(CANCELLED, unsent=unsent)).decides(expected)


def test_what_a_schedule_had_started_goes_on_when_that_is_through() -> None:
    through = given(created(at=NOON), completed())
    given_execution(started(), failed_attempt()).when(drop(through, unsent=False)).decides_nothing()
    same = through.state.definition
    given_execution(started()).when(drop(through, claimed_from=same, unsent=True)).decides_nothing()


def test_an_unsent_call_of_a_schedule_that_was_replaced_and_is_through_is_dropped() -> None:
    through = given(created(at=after(90)), completed())
    fact = given_execution(started()).when(drop(through, unsent=True)).decides(ExecutionSkipped)
    assert isinstance(fact, ExecutionSkipped)
    assert (fact.reason, fact.next_run_at) == ("the task was rescheduled before the call was sent", None)


def test_a_claim_starts_the_first_attempt() -> None:
    assert given_execution(started()).state == Running(
        id=RUN,
        occurrence=occurrence(),
        version=1,
        attempts=1,
        began_at=NOON,
        node="node-1",
        lease_until=NOON + MINUTE,
    )


def test_a_failed_attempt_leaves_the_execution_waiting() -> None:
    assert given_execution(started(), failed_attempt()).state == Waiting(
        id=RUN,
        occurrence=occurrence(),
        version=2,
        attempts=1,
        began_at=NOON,
        sent=True,
        retry_at=NOON + MINUTE,
    )


def test_a_retry_runs_at_its_own_node_under_its_own_lease() -> None:
    retried = running(given_execution(started(), failed_attempt(), started_again()).state)
    assert (retried.node, retried.attempts, retried.lost) == ("node-2", 2, 0)
    assert retried.lease_until == NOON + 2 * MINUTE


def test_a_takeover_counts_what_got_lost() -> None:
    retried = running(given_execution(started(), taken_over(2), taken_over(3)).state)
    assert (retried.node, retried.attempts, retried.lost, retried.version) == ("node-3", 3, 2, 3)


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (succeeded(), "succeeded"),
        (failed(), "failed"),
        (skipped(), "skipped"),
        (ExecutionCancelled(at=NOON, task_id=TASK, reason="over"), "cancelled"),
    ],
)
def test_the_last_fact_says_how_an_execution_ended(end: ExecutionFact, status: str) -> None:
    execution = given_execution(started(), end).state
    assert isinstance(execution, FinishedExecution)
    assert (execution.status, execution.version) == (status, 2)


def test_an_occurrence_may_be_skipped_without_having_been_claimed() -> None:
    execution = given_execution(skipped()).state
    assert execution == FinishedExecution(
        id=RUN, occurrence=occurrence(), version=1, attempts=0, status="skipped"
    )


def test_a_claim_that_was_dropped_may_be_followed_by_another_one() -> None:
    again = running(given_execution(started(), skipped(), started()).state)
    assert (again.version, again.attempts) == (3, 1)
