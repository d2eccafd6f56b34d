"""The reason of a failed execution accounts for all of its attempts."""

import pytest

from domain.facts import ExecutionFact, ExecutionFailed
from tests.support.decisions import conclude
from tests.support.given import failed_attempt, given_execution, started, started_again, taken_over


@pytest.mark.parametrize(
    ("later", "reason"),
    [
        ((failed_attempt(1), started_again(2)), "attempt 2 of 2 failed"),
        ((taken_over(2), failed_attempt(2), started_again(3)), "attempt 2 of 2 failed (1 more was lost)"),
        ((failed_attempt(1), started_again(2), taken_over(3)), "attempt 2 of 2 failed (1 more was lost)"),
        (
            (taken_over(2), taken_over(3), failed_attempt(3), started_again(4)),
            "attempt 2 of 2 failed (2 more were lost)",
        ),
    ],
)
def test_attempts_that_were_lost_are_told_beside_those_that_failed(
    later: tuple[ExecutionFact, ...], reason: str
) -> None:
    fact = given_execution(started(), *later).when(conclude(503, max_attempts=2)).decides(ExecutionFailed)
    assert isinstance(fact, ExecutionFailed)
    assert fact.reason == reason
