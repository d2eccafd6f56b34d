"""A Retry-After moves the next attempt: read as RFC 9110 has it, heeded up to the policy's bound."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from domain.definition import RetryPolicy
from domain.retry import next_at, retry_after_seconds
from tests.support.given import NOON, after, answered, no_answer

# Noon is 2030-01-01T12:00:00Z.
TWO_MINUTES_LATER = "Tue, 01 Jan 2030 12:02:00 GMT"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        ("0", 0.0),
        (" 007 ", 7.0),
        (TWO_MINUTES_LATER, 120.0),
        ("Tuesday, 01-Jan-30 12:02:00 GMT", 120.0),
        ("Tue Jan  1 12:02:00 2030", 120.0),
        ("Tue, 01 Jan 2030 11:59:00 GMT", 0.0),
    ],
)
def test_it_is_so_many_seconds_or_a_date_in_any_of_its_forms(value: str, seconds: float) -> None:
    assert retry_after_seconds(value, NOON) == seconds


UNREADABLE = ["", "-5", "+7", "1.5", "1e3", "soon", "120, 60", "²", "\u0663"]
NO_DATES = [
    "Tue, 32 Jan 2030 12:02:00 GMT",
    "Tue, 01 Jan 2030 12:02:00 +0100",
    "Tue, 01 Jan 99999999999 12:02:00 GMT",
    "2030-01-01T12:02:00Z",
]


@pytest.mark.parametrize("value", UNREADABLE + NO_DATES)
def test_what_cannot_be_read_asks_for_nothing(value: str) -> None:
    assert retry_after_seconds(value, NOON) == 0


def retried(value: str, *, bound: float = 3_600.0, initial: float = 10.0) -> float:
    """How many seconds after noon."""
    policy = RetryPolicy(initial_delay_seconds=initial, max_retry_after_seconds=bound, jitter="none")
    at = next_at(policy, answered(503, retry_after=value), 1, NOON, 0.5)
    return (at - NOON).total_seconds()


def test_a_retry_after_that_is_later_than_the_backoff_moves_the_retry() -> None:
    assert retried("120") == 120
    assert retried(TWO_MINUTES_LATER) == 120


def test_a_retry_after_that_is_earlier_than_the_backoff_does_not() -> None:
    assert retried("3") == 10


def test_a_retry_after_is_cut_to_its_bound() -> None:
    assert retried("120", bound=60.0) == 60
    assert retried("9" * 5_000, bound=60.0) == 60
    assert retried("Fri, 31 Dec 9999 23:59:59 GMT", bound=60.0) == 60


def test_a_retry_after_cut_below_the_backoff_changes_nothing() -> None:
    assert retried("120", bound=5.0) == 10


def test_a_bound_of_0_ignores_it() -> None:
    assert retried("120", bound=0.0, initial=0.0) == 0


def test_without_an_answer_the_backoff_stands() -> None:
    policy = RetryPolicy(initial_delay_seconds=10.0, max_retry_after_seconds=60.0)
    assert next_at(policy, no_answer(), 1, NOON, 0.5) == after(10)
    assert next_at(policy, answered(503), 1, NOON, 0.5) == after(10)


@settings(deadline=None)
@given(value=st.text(max_size=40) | st.from_regex(r"[A-Za-z0-9 ,:+-]{0,40}"), bound=st.floats(0, 86_400))
@example(value="Fri, 31 Dec 9999 23:59:59 -2359", bound=1.0)
@example(value="Mon, 01 Jan 0001 00:00:00 +2359", bound=1.0)
@example(value="Tue, 01 Jan 99999999999 12:02:00 GMT", bound=1.0)
@example(value="Tue, 00 Xyz 0000 99:99:99 GMT", bound=1.0)
def test_no_header_moves_a_retry_into_the_past_or_beyond_the_bound(value: str, bound: float) -> None:
    assert 0 <= retried(value, bound=bound, initial=0.0) <= bound + 1e-6
