"""Which retries are admitted, and what is said about those that contradict themselves."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from domain.definition import RETRYABLE, Definition, JsonCondition, OneOff, RetryPolicy, SuccessPolicy
from domain.validation import validate
from tests.unit.test_validation import DEFINITION, NOON, complaints, with_retry, with_trigger

ONCE = with_trigger(OneOff(datetime=NOON + timedelta(hours=1)))


def complaint(definition: Definition, pointer: str) -> str:
    """The sentence about this field, which must be the only one."""
    found = complaints(definition)
    assert list(found) == [pointer]
    return found[pointer]


def succeeding(*statuses: str, **retry: Any) -> Definition:
    return replace(with_retry(**retry), success=SuccessPolicy(statuses=statuses))


def once_at_most(**retry: Any) -> Definition:
    return replace(with_retry(**retry), delivery="at_most_once")


ADMITTED = {
    "every bound at its least": with_retry(
        max_elapsed_seconds=1, max_retry_after_seconds=0, disable_after_failures=1
    ),
    "every bound at its most": with_retry(
        max_elapsed_seconds=31_536_000, max_retry_after_seconds=86_400, disable_after_failures=1_000
    ),
    "a multiplier of its own with exponential": with_retry(backoff="exponential", multiplier=3.0),
    "the usual multiplier with linear": with_retry(backoff="linear", multiplier=2.0),
    "anything with a single attempt": with_retry(
        max_attempts=1, initial_delay_seconds=60, max_elapsed_seconds=1, statuses=("503",), jitter="full"
    ),
    "as long as the first delay": with_retry(initial_delay_seconds=60, max_elapsed_seconds=60),
    "no status at all": with_retry(statuses=()),
    "fifty statuses": with_retry(
        statuses=tuple(str(status) for status in range(400, 410)) * 5, on_gone="fail"
    ),
    "an exception from a class": with_retry(statuses=("5xx",), final_statuses=("501",)),
    "an exception from the usual ones": with_retry(final_statuses=("429", "5xx")),
    "an exception from answers that lack what their body must have": replace(
        with_retry(final_statuses=("200",)), success=SuccessPolicy(body_contains="OK")
    ),
    "the same by their JSON": replace(
        with_retry(final_statuses=("2xx",)),
        success=SuccessPolicy(json=JsonCondition(pointer="", equals=1)),
    ),
    "a class that has one of the usual ones": with_retry(final_statuses=("4xx",)),
    "410 to be tried again, not to stop": with_retry(statuses=("410",), on_gone="fail"),
    "410 as one of a class": with_retry(statuses=("4xx",), on_gone="stop"),
    "410 as a success beside stop": succeeding("2xx", "410", on_gone="stop"),
    "a success that is one of the usual ones": succeeding("2xx", "503"),
    "a success out of a class that is tried again": succeeding("503", statuses=("5xx",)),
    "stop on a one-off": replace(ONCE, retry=RetryPolicy(on_gone="stop")),
    "at most once, and nothing written about statuses": once_at_most(max_attempts=5),
    "at most once, and no status": once_at_most(statuses=()),
}


@pytest.mark.parametrize("definition", ADMITTED.values(), ids=ADMITTED)
def test_retries_that_can_have_an_effect_are_admitted(definition: Definition) -> None:
    assert complaints(definition) == {}


OUT_OF_RANGE = [
    ({"max_elapsed_seconds": 0.5}, "give 1 to 31536000."),
    ({"max_elapsed_seconds": 31_536_001}, "give 1 to 31536000."),
    ({"max_elapsed_seconds": float("nan")}, '"nan" is out of range'),
    ({"max_retry_after_seconds": -1}, "give 0 to 86400."),
    ({"max_retry_after_seconds": 86_401}, "give 0 to 86400."),
    ({"disable_after_failures": 0}, 'disable_after_failures "0" is out of range; give 1 to 1000.'),
    ({"disable_after_failures": 1_001}, "give 1 to 1000."),
]


@pytest.mark.parametrize(("retry", "said"), OUT_OF_RANGE)
def test_a_bound_of_retries_out_of_range_is_refused(retry: dict[str, Any], said: str) -> None:
    [name] = retry
    assert said in complaint(with_retry(**retry), f"/retry/{name}")


@pytest.mark.parametrize("backoff", ["fixed", "linear"])
def test_a_multiplier_without_exponential_backoff_is_refused(backoff: str) -> None:
    assert complaint(with_retry(backoff=backoff, multiplier=3.0), "/retry/multiplier") == (
        f'multiplier has no effect with backoff "{backoff}": leave it out, or give backoff "exponential".'
    )
    assert "out of range" in complaint(with_retry(backoff=backoff, multiplier=11.0), "/retry/multiplier")


def test_a_limit_that_ends_before_the_first_retry_is_refused() -> None:
    too_short = with_retry(initial_delay_seconds=60, max_elapsed_seconds=59)
    assert complaint(too_short, "/retry/max_elapsed_seconds") == (
        'max_elapsed_seconds "59" is less than initial_delay_seconds, so that no second attempt would ever '
        "begin; give at least 60, or max_attempts 1."
    )


def test_what_follows_from_an_impossible_first_delay_is_not_told_beside_it() -> None:
    wrong = with_retry(initial_delay_seconds=86_401, max_delay_seconds=1, max_elapsed_seconds=1)
    assert "give 0 to 86400" in complaint(wrong, "/retry/initial_delay_seconds")


def test_disabling_a_one_off_is_refused() -> None:
    said = complaint(
        replace(ONCE, retry=RetryPolicy(disable_after_failures=5)), "/retry/disable_after_failures"
    )
    assert said == "A one-off has one occurrence, after which nothing is left to pause: leave it out."
    unheard_of = replace(ONCE, retry=RetryPolicy(disable_after_failures=0))
    assert "give 1 to 1000" in complaint(unheard_of, "/retry/disable_after_failures")


@pytest.mark.parametrize(
    "entry", ["", "5", "99", "600", "50", "0503", "6xx", "x5x", "5x", "5xxx", "503 ", "²00"]
)
@pytest.mark.parametrize("name", ["statuses", "final_statuses"])
def test_an_entry_that_is_no_status_is_refused(name: str, entry: str) -> None:
    given = with_retry(**{name: ("500", entry)}, max_attempts=1)
    assert complaint(given, f"/retry/{name}/1") == (
        f'"{entry}" is not a status; give 100 to 599, or a class such as 5xx.'
    )


def test_an_empty_entry_among_the_successes_is_no_trouble_for_what_is_final() -> None:
    success = SuccessPolicy(statuses=("2xx", ""), body_contains="OK")
    given = replace(with_retry(final_statuses=("404",)), success=success)
    said = complaints(given)
    assert said["/success/statuses/1"].startswith('"" is not a status')
    assert said["/retry/final_statuses/0"].endswith("leave it out.")


def test_more_than_fifty_statuses_are_refused() -> None:
    said = complaint(with_retry(statuses=("503",) * 51), "/retry/statuses")
    assert said == "There are 51 statuses; give at most 50, or classes such as 5xx."


CONTRADICTIONS = {
    "in statuses and in final_statuses": (
        with_retry(statuses=("429", "503"), final_statuses=("503",)),
        "/retry/final_statuses/0",
        '"503" is never tried again, but retry.statuses has "503": take it out of one of the two.',
    ),
    "in statuses and in final_statuses, spelt differently": (
        with_retry(statuses=("5XX",), final_statuses=("501", "5xx")),
        "/retry/final_statuses/1",
        'retry.statuses has "5xx"',
    ),
    "final as one of a class": (
        with_retry(statuses=("429", "503"), final_statuses=("5xx",)),
        "/retry/final_statuses/0",
        '"5xx" is never tried again, but retry.statuses has "503"',
    ),
    "final and not tried again anyway": (
        with_retry(final_statuses=("404",)),
        "/retry/final_statuses/0",
        '"404" is not tried again anyway, as retry.statuses does not have it: leave it out.',
    ),
    "a success that is final": (
        with_retry(final_statuses=("200",)),
        "/retry/final_statuses/0",
        '"200" is not tried again anyway',
    ),
    "final where no status is tried again": (
        with_retry(statuses=(), final_statuses=("5xx",)),
        "/retry/final_statuses/0",
        "leave it out",
    ),
    "in statuses and a success": (
        succeeding("2xx", "503", statuses=("429", "503")),
        "/retry/statuses/1",
        '"503" is a success ("503" is in success.statuses) and is not tried again: '
        "take it out of one of the two.",
    ),
    "in statuses and one of a class that is a success": (
        succeeding("5xx", statuses=("503",)),
        "/retry/statuses/0",
        '"503" is a success ("5xx" is in success.statuses)',
    ),
    "a usual success to be tried again": (
        with_retry(statuses=("202",)),
        "/retry/statuses/0",
        '("2xx" is in success.statuses)',
    ),
    "410 to be tried again and to stop": (
        with_retry(statuses=("503", "410"), on_gone="stop"),
        "/retry/statuses/1",
        'leave "410" out, or give retry.on_gone "fail".',
    ),
    "statuses with at most once": (
        once_at_most(statuses=("503",)),
        "/retry/statuses",
        'With delivery "at_most_once" a request that was answered is never sent again: '
        'leave statuses out, or give delivery "at_least_once".',
    ),
    "final statuses with at most once": (
        once_at_most(final_statuses=("503",)),
        "/retry/final_statuses",
        "leave final_statuses out",
    ),
}


@pytest.mark.parametrize(("definition", "pointer", "said"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_a_status_that_could_have_no_effect_is_refused(
    definition: Definition, pointer: str, said: str
) -> None:
    assert said in complaint(definition, pointer)


def test_statuses_are_stored_once_each_and_in_lower_case() -> None:
    given = with_retry(statuses=("503", "4XX", "503", "4xx"), final_statuses=("404", "404"), on_gone="fail")
    stored = validate(given, NOON).retry
    assert (stored.statuses, stored.final_statuses) == (("503", "4xx"), ("404",))
    assert validate(DEFINITION, NOON).retry.statuses == RETRYABLE
