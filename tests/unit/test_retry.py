"""When trying again may help, and how long to wait before."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.definition import Backoff, Jitter, RetryPolicy
from domain.retry import SLIGHT, chance_of, delay, gone, next_at, why_final
from tests.support.given import NOON, answered, no_answer


def final(policy: RetryPolicy, status: int, *, accepted: bool = False) -> str | None:
    return why_final(policy, answered(status), accepted=accepted)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503, 599])
def test_usually_what_may_pass_is_worth_repeating(status: int) -> None:
    assert final(RetryPolicy(), status) is None


@pytest.mark.parametrize("status", [200, 301, 400, 404, 407, 409, 410, 424, 426, 428, 430, 499])
def test_usually_what_stays_is_not_worth_repeating(status: int) -> None:
    expected = f"status {status} is final: retry.statuses has 408, 425, 429 and 5xx"
    assert final(RetryPolicy(), status) == expected


@pytest.mark.parametrize("status", [600, 999, 42])
def test_a_status_that_is_none_counts_as_a_server_error(status: int) -> None:
    assert final(RetryPolicy(), status) is None
    assert final(RetryPolicy(statuses=("429",)), status) is not None


def test_the_policy_says_which_statuses_are_tried_again() -> None:
    policy = RetryPolicy(statuses=("404", "3xx"))
    assert final(policy, 404) is None
    assert final(policy, 302) is None
    assert final(policy, 503) == "status 503 is final: retry.statuses has 404 and 3xx"


def test_without_statuses_no_answer_is_tried_again() -> None:
    assert final(RetryPolicy(statuses=()), 503) == "status 503 is final: retry.statuses has nothing"


def test_a_final_status_is_an_exception_of_those_that_are_tried_again() -> None:
    policy = RetryPolicy(statuses=("5xx",), final_statuses=("501", "505"))
    assert final(policy, 500) is None
    assert final(policy, 501) == "status 501 is final: retry.final_statuses has 501 and 505"


def test_a_status_that_success_admits_is_tried_again_unless_it_is_final() -> None:
    assert final(RetryPolicy(), 200, accepted=True) is None
    policy = RetryPolicy(final_statuses=("204",))
    assert final(policy, 204, accepted=True) == "status 204 is final: retry.final_statuses has 204"


def test_a_410_is_never_tried_again_when_it_is_to_stop_the_task() -> None:
    policy = RetryPolicy(statuses=("4xx",), on_gone="stop")
    assert (
        final(policy, 410) == 'status 410 is final: the target is gone for good, and retry.on_gone is "stop"'
    )
    assert final(policy, 410, accepted=True) is None
    assert final(RetryPolicy(statuses=("4xx",), on_gone="fail"), 410) is None


def test_only_a_410_says_that_the_target_is_gone() -> None:
    assert gone(RetryPolicy(on_gone="stop"), 410)
    assert not gone(RetryPolicy(on_gone="stop"), 404)
    assert not gone(RetryPolicy(on_gone="fail"), 410)


@pytest.mark.parametrize("retryable", [True, False])
def test_a_missing_answer_says_itself_whether_to_repeat(retryable: bool) -> None:
    reason = why_final(RetryPolicy(), no_answer(retryable=retryable), accepted=False)
    assert reason == (None if retryable else "this failure is final: trying again would not help")


def waits(policy: RetryPolicy, *, chance: float = 0.5) -> list[float]:
    return [delay(policy, failures, chance).total_seconds() for failures in (1, 2, 3, 4)]


def test_an_exponential_backoff_is_multiplied_with_each_failure() -> None:
    assert waits(RetryPolicy(initial_delay_seconds=1.5, multiplier=2.0)) == [1.5, 3.0, 6.0, 12.0]


def test_a_linear_backoff_grows_by_the_same_each_time() -> None:
    assert waits(RetryPolicy(initial_delay_seconds=1.5, backoff="linear")) == [1.5, 3.0, 4.5, 6.0]


def test_a_fixed_backoff_stays() -> None:
    assert waits(RetryPolicy(initial_delay_seconds=1.5, backoff="fixed")) == [1.5] * 4


@pytest.mark.parametrize("backoff", ["fixed", "linear", "exponential"])
def test_every_backoff_is_capped(backoff: Backoff) -> None:
    policy = RetryPolicy(initial_delay_seconds=4.0, max_delay_seconds=5.0, backoff=backoff)
    assert waits(policy) == ([4.0] * 4 if backoff == "fixed" else [4.0, 5.0, 5.0, 5.0])


def test_a_delay_beyond_all_numbers_is_the_cap() -> None:
    policy = RetryPolicy(multiplier=10.0, max_delay_seconds=300.0)
    assert delay(policy, 5_000, 0.5) == timedelta(seconds=300)


def test_a_delay_of_nothing_stays_nothing_however_often_it_is_multiplied() -> None:
    policy = RetryPolicy(initial_delay_seconds=0.0, multiplier=10.0)
    assert delay(policy, 5_000, 0.5) == timedelta()


def test_slight_jitter_spreads_the_delay_by_a_tenth_either_way() -> None:
    policy = RetryPolicy(initial_delay_seconds=10.0, jitter="slight")
    assert [delay(policy, 1, chance).total_seconds() for chance in (0.0, 0.5, 1.0)] == [9.0, 10.0, 11.0]


def test_full_jitter_spreads_the_delay_from_nothing_to_all_of_it() -> None:
    policy = RetryPolicy(initial_delay_seconds=10.0, jitter="full")
    assert [delay(policy, 1, chance).total_seconds() for chance in (0.0, 0.25, 1.0)] == [0.0, 2.5, 10.0]


def test_without_jitter_chance_changes_nothing() -> None:
    policy = RetryPolicy(initial_delay_seconds=10.0, jitter="none")
    assert [delay(policy, 1, chance).total_seconds() for chance in (0.0, 0.3, 1.0)] == [10.0] * 3


BACKOFFS: list[Backoff] = ["fixed", "linear", "exponential"]
JITTERS: list[Jitter] = ["none", "slight", "full"]
POLICIES = st.builds(
    RetryPolicy,
    initial_delay_seconds=st.floats(0, 86_400),
    multiplier=st.floats(1, 10),
    max_delay_seconds=st.floats(0, 604_800),
    backoff=st.sampled_from(BACKOFFS),
    jitter=st.sampled_from(JITTERS),
)


@settings(deadline=None)
@given(policy=POLICIES, failures=st.integers(1, 10_000), chance=st.floats(0, 1))
def test_every_admitted_policy_gives_a_delay_within_its_cap_and_spread(
    policy: RetryPolicy, failures: int, chance: float
) -> None:
    wait = delay(policy, failures, chance).total_seconds()
    spread = 1 + SLIGHT if policy.jitter == "slight" else 1
    assert 0 <= wait <= policy.max_delay_seconds * spread + 1e-6


@settings(deadline=None)
@given(policy=POLICIES, failures=st.integers(1, 10_000), chance=st.floats(0, 1))
def test_no_delay_is_shorter_than_the_one_before_by_the_same_chance(
    policy: RetryPolicy, failures: int, chance: float
) -> None:
    assert delay(policy, failures, chance) <= delay(policy, failures + 1, chance)


@given(
    backoff=st.sampled_from(["fixed", "linear", "exponential"]),
    jitter=st.sampled_from(["none", "slight", "full"]),
    initial=st.floats(0, 1e5),
    failed=st.integers(1, 40),
    chance=st.floats(0, 1),
    asked_for=st.sampled_from(["", "0", "30"]),
)
def test_the_chance_of_a_wait_brings_the_same_wait(
    backoff: Backoff, jitter: Jitter, initial: float, failed: int, chance: float, asked_for: str
) -> None:
    policy = RetryPolicy(backoff=backoff, jitter=jitter, initial_delay_seconds=initial)
    answer = answered(503, retry_after=asked_for)
    retry_at = next_at(policy, answer, failed, NOON, chance)
    found = chance_of(policy, answer, failed, NOON, retry_at)
    assert 0 <= found <= 1
    assert next_at(policy, answer, failed, NOON, found) == retry_at


def test_a_wait_that_the_policy_cannot_bring_has_the_nearest_chance() -> None:
    late = NOON + timedelta(days=30)
    assert chance_of(RetryPolicy(jitter="full"), no_answer(), 1, NOON, late) == 1
    assert chance_of(RetryPolicy(jitter="full"), no_answer(), 1, NOON, NOON) == 0
    assert chance_of(RetryPolicy(initial_delay_seconds=0), no_answer(), 1, NOON, late) == 0
