"""Whether a failed attempt is worth repeating, and how long to wait before that."""

from __future__ import annotations

import math
import re
from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, assert_never

import msgspec

from domain.errors import printed, shown
from domain.facts import Answered, Unanswered

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from domain.definition import Delivery, Jitter, JsonCondition, RetryPolicy, SuccessPolicy
    from domain.facts import Answer


def may_have_been_sent(answer: Answer) -> bool:
    """Whether the target may have had the request, or a part of it."""
    return isinstance(answer, Answered) or answer.sent


def why_not_twice(delivery: Delivery, *, sent: bool) -> str | None:
    """Why what may have been `sent` is not sent again; None: it may be."""
    if delivery == "at_most_once" and sent:
        return "the call was sent, or may have been, and at_most_once allows no second one"
    return None


def why_last(policy: RetryPolicy, made: int, lost: int) -> str | None:
    """Why no attempt is left after so many were `made`, besides those `lost`; None: one is."""
    if made < policy.max_attempts:
        return None
    return f"attempt {made} of {policy.max_attempts} failed{_besides(lost)}"


def _besides(lost: int) -> str:
    match lost:
        case 0:
            return ""
        case 1:
            return " (1 more was lost)"
        case _:
            return f" ({lost} more were lost)"


def why_too_late(policy: RetryPolicy, began_at: datetime | None, next_at: datetime) -> str | None:
    """Why no attempt begins at `next_at` when the first one was to begin at `began_at`; None: it may."""
    most = policy.max_elapsed_seconds
    if most is None or began_at is None or next_at <= began_at + timedelta(seconds=most):
        return None
    elapsed = math.ceil((next_at - began_at) / timedelta(milliseconds=1)) / 1000
    return (
        f"the next attempt would begin {elapsed:.15g} s after the first one; "
        f"retry.max_elapsed_seconds is {most:.15g}"
    )


_SERVER_ERROR = 5


def matches(patterns: Sequence[str], status: int) -> bool:
    """Whether a status is among them. What is none by the book counts as a 5xx (RFC 9110 §15)."""
    family = status // 100 if 100 <= status <= 599 else _SERVER_ERROR
    return str(status) in patterns or f"{family}xx" in patterns


def listed(patterns: Sequence[str]) -> str:
    """The patterns as a sentence tells them."""
    *most, last = patterns or ("nothing",)
    return f"{', '.join(most)} and {last}" if most else last


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


def why_final(policy: RetryPolicy, answer: Answer, *, accepted: bool) -> str | None:
    """Why the same request would not fare better later; None: it may.

    `accepted`: the success policy admits the status, and the answer lacks something else.
    """
    match answer:
        case Answered(status_code=status):
            return _why_status_is_final(policy, status, accepted=accepted)
        case Unanswered(retryable=True):
            return None
        case Unanswered():
            return "this failure is final: trying again would not help"
        case _:
            assert_never(answer)


def _why_status_is_final(policy: RetryPolicy, status: int, *, accepted: bool) -> str | None:
    if not accepted and gone(policy, status):
        return 'status 410 is final: the target is gone for good, and retry.on_gone is "stop"'
    if matches(policy.final_statuses, status):
        return f"status {status} is final: retry.final_statuses has {listed(policy.final_statuses)}"
    if accepted or matches(policy.statuses, status):
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


# RFC 6901 §4: no leading zeros. No body that is kept has a billion members.
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)


def status_accepted(policy: SuccessPolicy, answer: Answer) -> bool:
    """Whether there is an answer, and its status is among those of a success."""
    return isinstance(answer, Answered) and matches(policy.statuses, answer.status_code)


def unmet(policy: SuccessPolicy, answer: Answer) -> str | None:
    """What the policy asks of an answer whose status it admits, and this one lacks; None: nothing."""
    if not isinstance(answer, Answered) or not status_accepted(policy, answer):
        return None
    if policy.body_contains is not None and policy.body_contains not in answer.body:
        part = "what was kept of the body" if answer.truncated else "the body"
        return f"{part} does not contain {shown(policy.body_contains)}"
    return None if policy.json is None else _unmet_json(policy.json, answer)


def looks_at_bodies(policy: SuccessPolicy) -> bool:
    """Whether more than the status decides."""
    return policy.body_contains is not None or policy.json is not None


def _unmet_json(condition: JsonCondition, answer: Answered) -> str | None:
    if answer.truncated:
        return f"the body is too long to be kept whole: what it has at {shown(condition.pointer)} is unknown"
    try:
        return _compared(condition, msgspec.json.decode(answer.body.removeprefix("\ufeff")))
    except msgspec.DecodeError:
        return "the body is not JSON"
    except RecursionError:
        return "the JSON of the body is nested too deeply to be compared"


def _compared(condition: JsonCondition, document: Any) -> str | None:
    where = shown(condition.pointer)
    try:
        found = member(document, condition.pointer)
    except LookupError:
        return f"the body has nothing at {where}"
    if equal(found, condition.equals):
        return None
    return f"the body has {_told(found)} at {where} instead of {_told(condition.equals)}"


def member(document: Any, pointer: str) -> Any:
    """What a JSON pointer (RFC 6901) names in a decoded document. Raises `LookupError`: nothing."""
    start, *names = pointer.split("/")
    if start:
        raise LookupError(pointer)
    for name in names:
        document = _child(document, name.replace("~1", "/").replace("~0", "~"))
    return document


def _child(parent: Any, name: str) -> Any:
    match parent:
        case dict():
            return parent[name]
        case list() if _INDEX.fullmatch(name):
            return parent[int(name)]
        case _:
            raise LookupError(name)


def equal(one: Any, other: Any) -> bool:
    """Whether two decoded documents are the same JSON value: 1 is 1.0, and true is not 1."""
    match one, other:
        case dict(), dict():
            return one.keys() == other.keys() and all(equal(one[name], other[name]) for name in one)
        case list(), list():
            return len(one) == len(other) and all(map(equal, one, other))
        case (bool(), _) | (_, bool()):
            return one is other
        case _:
            return bool(one == other)


def _told(value: Any) -> str:
    """As JSON, cut: what a server answers may be long, or not for everybody's eyes."""
    return printed(msgspec.json.encode(value).decode())
