"""When trying again may help, and how long to wait before."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.definition import RetryPolicy
from domain.retry import JITTER, delay, succeeded, worth_repeating
from tests.support.given import attempt, no_answer


@pytest.mark.parametrize(("status", "success"), [(199, False), (200, True), (299, True), (300, False)])
def test_only_2xx_is_success(status: int, success: bool) -> None:
    assert succeeded(attempt(1, status).answer) is success


def test_no_answer_is_no_success() -> None:
    assert not succeeded(no_answer())


@pytest.mark.parametrize("status", [408, 425, 429, 500, 599])
def test_what_may_pass_is_worth_repeating(status: int) -> None:
    assert worth_repeating(attempt(1, status).answer)


@pytest.mark.parametrize("status", [301, 400, 407, 409, 424, 426, 428, 430, 499])
def test_what_stays_is_not_worth_repeating(status: int) -> None:
    assert not worth_repeating(attempt(1, status).answer)


@pytest.mark.parametrize("retryable", [True, False])
def test_a_missing_answer_says_itself_whether_to_repeat(retryable: bool) -> None:
    assert worth_repeating(no_answer(retryable=retryable)) is retryable


def test_the_delay_is_multiplied_with_each_failure() -> None:
    policy = RetryPolicy(initial_delay_seconds=1.5, multiplier=2.0)
    waits = [delay(policy, failures, 0.5).total_seconds() for failures in (1, 2, 3, 4)]
    assert waits == [1.5, 3.0, 6.0, 12.0]


def test_the_delay_is_capped() -> None:
    policy = RetryPolicy(initial_delay_seconds=1.0, multiplier=10.0, max_delay_seconds=50.0)
    assert delay(policy, 4, 0.5) == timedelta(seconds=50)


def test_a_delay_beyond_all_numbers_is_the_cap() -> None:
    policy = RetryPolicy(multiplier=10.0, max_delay_seconds=300.0)
    assert delay(policy, 5_000, 0.5) == timedelta(seconds=300)


def test_chance_spreads_the_delay_by_a_tenth_either_way() -> None:
    policy = RetryPolicy(initial_delay_seconds=10.0)
    assert [delay(policy, 1, chance).total_seconds() for chance in (0.0, 0.5, 1.0)] == [9.0, 10.0, 11.0]


@settings(deadline=None)
@given(
    policy=st.builds(
        RetryPolicy,
        initial_delay_seconds=st.floats(0, 86_400),
        multiplier=st.floats(1, 10),
        max_delay_seconds=st.floats(0, 604_800),
    ),
    failures=st.integers(1, 10_000),
    chance=st.floats(0, 1),
)
def test_every_admitted_policy_gives_a_delay_within_its_cap_and_spread(
    policy: RetryPolicy, failures: int, chance: float
) -> None:
    wait = delay(policy, failures, chance).total_seconds()
    assert 0 <= wait <= policy.max_delay_seconds * (1 + JITTER) + 1e-6
