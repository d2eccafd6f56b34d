"""Whether a failed attempt is worth repeating, and how long to wait before that."""

from __future__ import annotations

import math
import re
from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, assert_never

from domain.attempt import Answered, Unanswered
from domain.statuses import listed, matches

if TYPE_CHECKING:
    from datetime import datetime

    from domain.attempt import Answer
    from domain.definition import Jitter, RetryPolicy

SLIGHT = 0.1
GONE = 410

# The three forms that a recipient has to accept, all in UTC (RFC 9110 §5.6.7). What else the standard
# library would take for a date is not one, and some of that makes it raise more than it promises.
_HTTP_DATE = re.compile(
    r"[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT"
    r"|[A-Z][a-z]{5,8}, \d{2}-[A-Z][a-z]{2}-\d{2} \d{2}:\d{2}:\d{2} GMT"
    r"|[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d{2}:\d{2}:\d{2} \d{4}",
    re.ASCII,
)


def why_final(policy: RetryPolicy, answer: Answer, *, admitted: bool) -> str | None:
    """Why the same request would not fare better later; None: it may.

    `admitted`: the success policy admits the status, and the answer lacks something else.
    """
    match answer:
        case Answered(status_code=status):
            return _why_status_is_final(policy, status, admitted=admitted)
        case Unanswered(retryable=True):
            return None
        case Unanswered():
            return "this failure is final: trying again would not help"
        case _:
            assert_never(answer)


def _why_status_is_final(policy: RetryPolicy, status: int, *, admitted: bool) -> str | None:
    if not admitted and gone(policy, status):
        return 'status 410 is final: the target is gone for good, and retry.on_gone is "stop"'
    if matches(policy.final_statuses, status):
        return f"status {status} is final: retry.final_statuses has {listed(policy.final_statuses)}"
    if admitted or matches(policy.statuses, status):
        return None
    return f"status {status} is final: retry.statuses has {listed(policy.statuses)}"


def gone(policy: RetryPolicy, status: int) -> bool:
    """Whether a status that is no success is to end the task (410 Gone, RFC 9110 §15.5.11)."""
    return status == GONE and policy.on_gone == "stop"


def next_at(
    policy: RetryPolicy, answer: Answer, failed_attempts: int, now: datetime, chance: float
) -> datetime:
    """When to try again: after the delay, or when the answer's Retry-After says so, whichever is later."""
    headers = answer.headers if isinstance(answer, Answered) else {}
    asked_for = retry_after_seconds(headers.get("retry-after", ""), now)
    wait = timedelta(seconds=min(asked_for, policy.max_retry_after_seconds))
    return now + max(wait, delay(policy, failed_attempts, chance))


def chance_of(
    policy: RetryPolicy, answer: Answer, failed_attempts: int, now: datetime, retry_at: datetime
) -> float:
    """The chance by which `next_at` comes to an instant; 0 where it is not chance that decides about it."""
    capped = min(_planned(policy, failed_attempts), policy.max_delay_seconds)
    if next_at(policy, answer, failed_attempts, now, 0) >= retry_at or not capped:
        return 0.0
    share = (retry_at - now).total_seconds() / capped
    chance = ((share - 1) / SLIGHT + 1) / 2 if policy.jitter == "slight" else share
    return min(max(0.0, chance), 1.0)


def delay(policy: RetryPolicy, failed_attempts: int, chance: float) -> timedelta:
    """The wait before the next attempt, by the policy's backoff, cap and jitter (`chance` is within 0…1)."""
    capped = min(_planned(policy, failed_attempts), policy.max_delay_seconds)
    return timedelta(seconds=capped * _share(policy.jitter, chance))


def _planned(policy: RetryPolicy, failed_attempts: int) -> float:
    initial = policy.initial_delay_seconds
    match policy.backoff:
        case "fixed":
            return initial
        case "linear":
            return initial * failed_attempts
        case "exponential":
            try:
                return initial * policy.multiplier ** (failed_attempts - 1)
            except OverflowError:
                return math.inf if initial else 0.0
        case _:
            assert_never(policy.backoff)


def _share(jitter: Jitter, chance: float) -> float:
    """The spread keeps executions that failed together from coming back together."""
    match jitter:
        case "none":
            return 1.0
        case "slight":
            return 1 + SLIGHT * (2 * chance - 1)
        case "full":
            return chance
        case _:
            assert_never(jitter)


def retry_after_seconds(value: str, now: datetime) -> float:
    """The wait that a Retry-After asks for: so many seconds, or up to a date (RFC 9110 §10.2.3).

    None is 0, and so is what cannot be read, or lies in the past.
    """
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    if not _HTTP_DATE.fullmatch(text):
        return 0.0
    try:
        instant = parsedate_to_datetime(text)
    except ValueError:  # the 32nd of a month, say
        return 0.0
    return max(0.0, (instant.replace(tzinfo=UTC) - now).total_seconds())
