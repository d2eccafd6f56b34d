"""What a task's own policies make of an answer: success, another attempt, or the end."""

from collections.abc import Callable

import pytest
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

from domain import execution as executions
from domain import outcome as ending
from domain.definition import Definition, JsonCondition, RetryPolicy, SuccessPolicy
from domain.execution import Execution, FinishedExecution, Waiting
from domain.facts import (
    Answer,
    Answered,
    AttemptFailed,
    ExecutionFact,
    ExecutionFailed,
    ExecutionSucceeded,
    Fact,
    Unanswered,
)
from tests.support.decisions import conclude, give_up, lapse
from tests.support.given import (
    NOON,
    RUN,
    after,
    answered,
    attempt,
    definition,
    failed_attempt,
    given_execution,
    lease,
    no_answer,
    started,
    started_again,
    taken_over,
)

DONE = SuccessPolicy(json=JsonCondition(pointer="/state", equals="done"))
OPEN = answered(200, '{"state": "open"}')
LACKING = 'the body has "open" at "/state" instead of "done"'


def failure(fact: Fact) -> ExecutionFailed:
    assert isinstance(fact, ExecutionFailed), fact
    return fact


def retry_of(fact: Fact) -> AttemptFailed:
    assert isinstance(fact, AttemptFailed), fact
    return fact


def test_a_404_is_a_success_when_the_policy_says_so() -> None:
    execution = given_execution(started())
    execution.when(conclude(404, success=SuccessPolicy(statuses=("404",)))).decides(ExecutionSucceeded)


def test_a_200_is_a_failure_when_the_policy_does_not_admit_it() -> None:
    decided = given_execution(started()).when(conclude(200, success=SuccessPolicy(statuses=("204",))))
    fact = failure(decided.decides(ExecutionFailed))
    assert fact.reason == "status 200 is final: retry.statuses has 408, 425, 429 and 5xx"
    assert fact.unmet is None


def test_an_answer_that_lacks_what_success_asks_for_is_tried_again_and_says_what_it_lacked() -> None:
    decided = given_execution(started()).when(conclude(OPEN, success=DONE))
    assert retry_of(decided.decides(AttemptFailed)).unmet == LACKING


def test_the_last_answer_that_lacks_it_ends_the_execution() -> None:
    execution = given_execution(started(), failed_attempt(), started_again(2))
    decided = execution.when(conclude(OPEN, success=DONE, max_attempts=2))
    fact = failure(decided.decides(ExecutionFailed))
    assert (fact.reason, fact.unmet) == ("attempt 2 of 2 failed", LACKING)


def test_an_answer_that_meets_the_policy_is_a_success() -> None:
    answer = answered(200, '{"state": "done"}')
    given_execution(started()).when(conclude(answer, success=DONE)).decides(ExecutionSucceeded)


def test_a_final_status_ends_the_execution_at_once() -> None:
    fact = given_execution(started()).when(conclude(503, final_statuses=("503",))).decides(ExecutionFailed)
    assert failure(fact).reason == "status 503 is final: retry.final_statuses has 503"


def test_a_410_is_final_unless_success_admits_it() -> None:
    execution = given_execution(started())
    execution.when(conclude(410, on_gone="stop", statuses=("4xx",))).decides(ExecutionFailed)
    admitted = conclude(410, on_gone="stop", success=SuccessPolicy(statuses=("410",)))
    execution.when(admitted).decides(ExecutionSucceeded)


def test_a_retry_after_is_honoured_up_to_its_bound() -> None:
    decided = given_execution(started()).when(
        conclude(answered(503, retry_after="600"), max_retry_after_seconds=120.0)
    )
    assert retry_of(decided.decides(AttemptFailed)).retry_at == after(120)


def elapsing(delay_seconds: float) -> Callable[[Execution], Fact]:
    """50 seconds after noon another attempt fails, and none may begin later than 60 seconds after it."""
    return conclude(
        503, now=after(50), initial_delay_seconds=delay_seconds, backoff="fixed", max_elapsed_seconds=60.0
    )


def test_no_attempt_begins_later_than_max_elapsed_after_the_first() -> None:
    execution = given_execution(started(), failed_attempt(), started_again(2))
    decided = execution.when(elapsing(10.0))
    assert retry_of(decided.decides(AttemptFailed)).retry_at == after(60)
    decided = execution.when(elapsing(20.5))
    assert failure(decided.decides(ExecutionFailed)).reason == (
        "the next attempt would begin 70.5 s after the first one; retry.max_elapsed_seconds is 60"
    )


def test_how_late_the_next_attempt_would_be_is_told_in_whole_milliseconds_and_never_as_the_bound() -> None:
    decided = given_execution(started(), failed_attempt(), started_again(2)).when(elapsing(10.000_001))
    assert failure(decided.decides(ExecutionFailed)).reason == (
        "the next attempt would begin 60.001 s after the first one; retry.max_elapsed_seconds is 60"
    )


def test_a_retry_after_beyond_max_elapsed_ends_the_execution() -> None:
    busy = answered(503, retry_after="61")
    decided = given_execution(started()).when(
        conclude(busy, max_retry_after_seconds=3_600.0, max_elapsed_seconds=60.0)
    )
    assert failure(decided.decides(ExecutionFailed)).reason == (
        "the next attempt would begin 61 s after the first one; retry.max_elapsed_seconds is 60"
    )


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


def test_a_retry_lapses_when_nobody_could_make_it_within_max_elapsed() -> None:
    within = RetryPolicy(max_elapsed_seconds=60.0)
    execution = given_execution(started(), failed_attempt())  # which is to be tried again a minute past noon
    execution.when(lapse(retry=within, now=after(65))).decides_nothing()
    execution.when(lapse(now=after(3_600))).decides_nothing()
    fact = failure(execution.when(lapse(retry=within, now=after(66))).decides(ExecutionFailed))
    assert (fact.attempt, fact.lapsed) == (None, True)
    assert fact.reason == (
        "the next attempt would begin 66 s after the first one; retry.max_elapsed_seconds is 60"
    )


def test_a_retry_lapses_when_an_update_allows_it_no_longer() -> None:
    execution = given_execution(started(), failed_attempt())  # which is to be tried again a minute past noon
    shorter = RetryPolicy(max_elapsed_seconds=59.0)
    fact = failure(execution.when(lapse(retry=shorter, now=after(60))).decides(ExecutionFailed))
    assert fact.reason == (
        "the next attempt would begin 60 s after the first one; retry.max_elapsed_seconds is 59"
    )


def test_a_claimed_retry_lapses_when_its_turn_to_be_sent_comes_too_late() -> None:
    within = RetryPolicy(max_elapsed_seconds=60.0)
    claimed = given_execution(started(), failed_attempt(), started_again())
    claimed.when(lapse(retry=within, now=after(65))).decides_nothing()
    fact = failure(claimed.when(lapse(retry=within, now=after(66))).decides(ExecutionFailed))
    assert fact.lapsed
    assert fact.reason == (
        "the next attempt would begin 66 s after the first one; retry.max_elapsed_seconds is 60"
    )


def test_a_first_attempt_never_lapses() -> None:
    within = RetryPolicy(max_elapsed_seconds=60.0)
    given_execution(started()).when(lapse(retry=within, now=after(3_600))).decides_nothing()


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
