"""What is decided about executions, what their policies make of an answer, and how their facts fold."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

from domain import execution as executions
from domain import outcome as ending
from domain.definition import Definition, JsonCondition, RetryPolicy, SuccessPolicy
from domain.execution import Execution, FinishedExecution, Running, Waiting
from domain.facts import (
    Answer,
    Answered,
    AttemptFailed,
    AttemptStarted,
    ExecutionCancelled,
    ExecutionFact,
    ExecutionFailed,
    ExecutionSkipped,
    ExecutionSucceeded,
    ExecutionTakenOver,
    Fact,
    Unanswered,
)
from domain.outcome import MAX_LOST_ATTEMPTS
from domain.task import Task
from tests.support.decisions import conclude, drop, give_up, lapse
from tests.support.given import (
    MINUTE,
    NOON,
    RUN,
    TASK,
    Given,
    after,
    answered,
    attempt,
    cancelled,
    completed,
    created,
    definition,
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


def test_a_success_ends_the_execution_with_its_attempt() -> None:
    expected = ExecutionSucceeded(at=NOON, task_id=TASK, attempt=attempt(1, 204))
    given_execution(started()).when(conclude(204)).decides(expected)


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


@pytest.mark.parametrize(
    ("task", "change", "next_run_at"),
    [(CANCELLED, "cancelled", None), (RESCHEDULED, "rescheduled", after(1800))],
    ids=["cancelled", "rescheduled"],
)
def test_an_unsent_call_of_a_task_that_has_changed_is_skipped(
    task: Given[Task], change: str, next_run_at: datetime | None
) -> None:
    reason = f"the task was {change} before the call was sent"
    expected = ExecutionSkipped(
        at=NOON, occurrence=occurrence(), reason=reason, next_run_at=next_run_at, by="change"
    )
    given_execution(started()).when(drop(task, unsent=True)).decides(expected)


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


DONE = SuccessPolicy(json=JsonCondition(pointer="/state", equals="done"))
OPEN = answered(200, '{"state": "open"}')
LACKING = 'the body has "open" at "/state" instead of "done"'


FIRST: tuple[ExecutionFact, ...] = ()
SECOND = (failed_attempt(), started_again(2))
TOO_LATE = "the next attempt would begin {} s after the first one; retry.max_elapsed_seconds is {}"


def statuses(*admitted: str) -> SuccessPolicy:
    return SuccessPolicy(statuses=admitted)


def elapsing(delay_seconds: float) -> dict[str, Any]:
    """50 seconds after noon another attempt fails, and none may begin later than 60 seconds after it."""
    backoff = {"backoff": "fixed", "initial_delay_seconds": delay_seconds}
    return {"now": after(50), "max_elapsed_seconds": 60.0, **backoff}


@pytest.mark.parametrize(
    ("answer", "policy"),
    [(404, {"success": statuses("404")}), (answered(200, '{"state": "done"}'), {"success": DONE}),
     (410, {"on_gone": "stop", "success": statuses("410")})],
    ids=["a status that is admitted", "a body that meets the policy", "a 410 that is admitted"],
)  # fmt: skip
def test_what_the_policy_admits_is_a_success(answer: Answer | int, policy: dict[str, Any]) -> None:
    given_execution(started()).when(conclude(answer, **policy)).decides(ExecutionSucceeded)


RETRIED = {
    "a body that lacks what success asks for": (FIRST, OPEN, {"success": DONE}, after(1), LACKING),
    "no answer": (FIRST, no_answer(), {}, after(1), None),
    "a busy target is given what it asks for up to a bound":
        (FIRST, answered(503, retry_after="600"), {"max_retry_after_seconds": 120.0}, after(120), None),
    "the last instant that max_elapsed allows": (SECOND, 503, elapsing(10.0), after(60), None),
}  # fmt: skip


@pytest.mark.parametrize(("before", "answer", "policy", "at", "unmet"), RETRIED.values(), ids=RETRIED)
def test_what_may_pass_is_tried_again(
    before: tuple[ExecutionFact, ...], answer: Answer | int, policy: dict[str, Any], at: datetime, unmet: str
) -> None:
    fact = given_execution(started(), *before).when(conclude(answer, **policy)).decides(AttemptFailed)
    assert isinstance(fact, AttemptFailed)
    assert (fact.retry_at, fact.unmet) == (at, unmet)


FINAL = "status {} is final: "
USUAL = "retry.statuses has 408, 425, 429 and 5xx"
ENDS = {
    "a status that success does not admit":
        (FIRST, 200, {"success": statuses("204")}, FINAL.format(200) + USUAL, None),
    "a final status": (FIRST, 503, {"final_statuses": ("503",)},
        FINAL.format(503) + "retry.final_statuses has 503", None),
    "a 410": (FIRST, 410, {"on_gone": "stop", "statuses": ("4xx",)},
        FINAL.format(410) + 'the target is gone for good, and retry.on_gone is "stop"', None),
    "what would only repeat itself":
        (FIRST, no_answer(retryable=False), {}, "this failure is final: trying again would not help", None),
    "the only attempt": (FIRST, 503, {"max_attempts": 1}, "attempt 1 of 1 failed", None),
    "the last attempt": (SECOND, 503, {"max_attempts": 2}, "attempt 2 of 2 failed", None),
    "the last answer that lacks what success asks for":
        (SECOND, OPEN, {"success": DONE, "max_attempts": 2}, "attempt 2 of 2 failed", LACKING),
    "one lost beside those that failed": ((taken_over(2), failed_attempt(2), started_again(3)), 503,
        {"max_attempts": 2}, "attempt 2 of 2 failed (1 more was lost)", None),
    "the last one lost": ((*SECOND, taken_over(3)), 503, {"max_attempts": 2},
        "attempt 2 of 2 failed (1 more was lost)", None),
    "two lost": ((taken_over(2), taken_over(3), failed_attempt(3), started_again(4)), 503,
        {"max_attempts": 2}, "attempt 2 of 2 failed (2 more were lost)", None),
    "too late by max_elapsed": (SECOND, 503, elapsing(20.5), TOO_LATE.format(70.5, 60), None),
    "too late by a microsecond, told in milliseconds":
        (SECOND, 503, elapsing(10.000_001), TOO_LATE.format(60.001, 60), None),
    "too late by a Retry-After": (FIRST, answered(503, retry_after="61"),
        {"max_retry_after_seconds": 3_600.0, "max_elapsed_seconds": 60.0}, TOO_LATE.format(61, 60), None),
}  # fmt: skip


@pytest.mark.parametrize(("before", "answer", "policy", "reason", "unmet"), ENDS.values(), ids=ENDS)
def test_an_execution_fails_with_the_reason(
    before: tuple[ExecutionFact, ...], answer: Answer | int, policy: dict[str, Any], reason: str, unmet: str
) -> None:
    decided = given_execution(started(), *before).when(conclude(answer, **policy))
    fact = failure(decided.decides(ExecutionFailed))
    assert (fact.reason, fact.unmet) == (reason, unmet)


def failure(fact: Fact) -> ExecutionFailed:
    assert isinstance(fact, ExecutionFailed), fact
    return fact


@pytest.mark.parametrize("answer", [answered(503), OPEN, no_answer(), no_answer(sent=True)])
def test_at_most_once_never_repeats_what_may_have_been_sent(answer: Answer) -> None:
    decided = given_execution(started()).when(conclude(answer, delivery="at_most_once", success=DONE))
    assert failure(decided.decides(ExecutionFailed)).reason == (
        "the call was sent, or may have been, and at_most_once allows no second one"
    )


def test_at_most_once_repeats_what_was_certainly_not_sent() -> None:
    decided = given_execution(started()).when(conclude(no_answer(sent=False), delivery="at_most_once"))
    decided.decides(AttemptFailed)


@pytest.mark.parametrize(
    "before",
    [
        (taken_over(2),),
        (failed_attempt(1), started_again(2)),
        (failed_attempt(1), started_again(2), taken_over(3)),
    ],
)
def test_at_most_once_asks_whether_any_attempt_may_have_been_sent(before: tuple[ExecutionFact, ...]) -> None:
    decided = given_execution(started(), *before).when(
        conclude(no_answer(sent=False), delivery="at_most_once", max_attempts=9)
    )
    decided.decides(ExecutionFailed)


def test_at_most_once_gives_up_what_a_dead_node_left() -> None:
    fact = failure(given_execution(started()).when(give_up(delivery="at_most_once")).decides(ExecutionFailed))
    assert fact.attempt is None
    assert fact.reason == (
        "the outcome of attempt 1 is unknown, as its scheduler stopped meanwhile, "
        "and at_most_once allows no second call"
    )


def test_at_least_once_goes_on_with_what_a_dead_node_left() -> None:
    given_execution(started()).when(give_up(delivery="at_least_once")).decides_nothing()


def test_what_a_dead_node_left_is_over_once_max_elapsed_has_passed() -> None:
    within = RetryPolicy(max_elapsed_seconds=60.0)
    given_execution(started()).when(give_up(retry=within, now=after(60))).decides_nothing()
    decided = given_execution(started()).when(give_up(retry=within, now=after(61)))
    assert failure(decided.decides(ExecutionFailed)).reason == (
        "the outcome of attempt 1 is unknown, as its scheduler stopped meanwhile, and "
        "the next attempt would begin 61 s after the first one; retry.max_elapsed_seconds is 60"
    )


WITHIN = RetryPolicy(max_elapsed_seconds=60.0)
WAITING: tuple[ExecutionFact, ...] = (failed_attempt(),)  # to be tried again a minute past noon
CLAIMED = (failed_attempt(), started_again())


@pytest.mark.parametrize(
    ("so_far", "retry", "seconds", "told"),
    [
        (WAITING, WITHIN, 65, None),
        (WAITING, RetryPolicy(), 3_600, None),
        (WAITING, WITHIN, 66, (66, 60)),
        (WAITING, RetryPolicy(max_elapsed_seconds=59.0), 60, (60, 59)),
        (CLAIMED, WITHIN, 65, None),
        (CLAIMED, WITHIN, 66, (66, 60)),
        (FIRST, WITHIN, 3_600, None),
    ],
    ids=["within the time it takes to claim", "without a bound", "nobody could make it in time",
         "an update has shortened the bound", "claimed and in time", "claimed, its turn comes too late",
         "a first attempt never lapses"],
)  # fmt: skip
def test_a_retry_lapses_when_it_would_begin_later_than_max_elapsed(
    so_far: tuple[ExecutionFact, ...], retry: RetryPolicy, seconds: float, told: tuple[int, int] | None
) -> None:
    decided = given_execution(started(), *so_far).when(lapse(retry=retry, now=after(seconds)))
    if told is None:
        decided.decides_nothing()
        return
    fact = failure(decided.decides(ExecutionFailed))
    assert (fact.attempt, fact.lapsed, fact.reason) == (None, True, TOO_LATE.format(*told))


def test_a_retry_lapses_when_its_task_becomes_at_most_once_meanwhile() -> None:
    sent = given_execution(started(), failed_attempt())
    sent.when(lapse(delivery="at_most_once")).decides(ExecutionFailed)
    unsent = given_execution(started(), failed_attempt(1, no_answer(sent=False)))
    unsent.when(lapse(delivery="at_most_once")).decides_nothing()


@pytest.mark.parametrize(
    ("answer", "sent"), [(answered(503), True), (no_answer(), True), (no_answer(sent=False), False)]
)
def test_a_failed_attempt_leaves_its_mark_when_it_may_have_been_sent(answer: Answer, sent: bool) -> None:
    assert given_execution(started(), failed_attempt(1, answer)).state.sent is sent
    again = given_execution(started(), failed_attempt(1, answer), started_again(2), failed_attempt(2))
    assert again.state.sent


ANSWERS = st.builds(Answered, status_code=st.integers(100, 599)) | st.builds(
    Unanswered, error=st.just("refused"), retryable=st.booleans(), sent=st.booleans()
)


def lives(called: Definition, choice: st.DataObject) -> list[Answer | None]:
    """What the attempts of one execution brought, to its end; None: their schedulers died."""
    execution: Execution = executions.begin(RUN, started())
    brought: list[Answer | None] = []
    while not isinstance(execution, FinishedExecution):
        assert not isinstance(execution, executions.Requested)
        if isinstance(execution, Waiting):
            execution = executions.evolve(execution, executions.start_attempt(execution, lease(), NOON))
            continue
        answer = choice.draw(ANSWERS | st.none())
        brought.append(answer)
        fact = (
            ending.give_up(execution, called, NOON) or executions.take_over(execution, lease(), NOON)
            if answer is None
            else executions.conclude(execution, attempt(execution.attempts, answer), called, NOON, 0.5)
        )
        execution = executions.evolve(execution, fact)
    return brought


@settings(deadline=None)
@for_all(choice=st.data(), max_attempts=st.integers(1, 5))
def test_at_most_once_nothing_follows_what_may_have_been_sent(
    choice: st.DataObject, max_attempts: int
) -> None:
    called = definition(retry=RetryPolicy(max_attempts=max_attempts), delivery="at_most_once")
    *before_the_last, _ = lives(called, choice)
    assert all(isinstance(answer, Unanswered) and not answer.sent for answer in before_the_last)
    assert len(before_the_last) < max_attempts
