"""Why an attempt that failed, or whose outcome is unknown, is the last one of its execution."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING

from domain.attempt import Answered

if TYPE_CHECKING:
    from datetime import datetime

    from domain.attempt import Answer
    from domain.definition import Delivery, RetryPolicy


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
