"""When an attempt counts as a success, when it is worth repeating, and how long to wait before that."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, assert_never

from domain.facts import Answered, Unanswered

if TYPE_CHECKING:
    from domain.definition import RetryPolicy
    from domain.facts import Answer

# Request Timeout, Too Early, Too Many Requests; and every 5xx (RFC 9110 §15, RFC 8470, RFC 6585).
RETRYABLE = frozenset({408, 425, 429})
JITTER = 0.1


def succeeded(answer: Answer) -> bool:
    """Whether an answer is a success: any 2xx."""
    return isinstance(answer, Answered) and 200 <= answer.status_code < 300


def worth_repeating(answer: Answer) -> bool:
    """Whether the same request may fare better later."""
    match answer:
        case Answered():
            return answer.status_code in RETRYABLE or answer.status_code >= 500
        case Unanswered():
            return answer.retryable
        case _:
            assert_never(answer)


def delay(policy: RetryPolicy, failed_attempts: int, chance: float) -> timedelta:
    """The wait before the next attempt: exponential, capped, spread by ±10 % (`chance` is within 0…1).

    The spread keeps executions that failed together from coming back together.
    """
    try:
        planned = policy.initial_delay_seconds * policy.multiplier ** (failed_attempts - 1)
    except OverflowError:
        planned = policy.max_delay_seconds
    capped = min(planned, policy.max_delay_seconds)
    return timedelta(seconds=capped * (1 + JITTER * (2 * chance - 1)))
