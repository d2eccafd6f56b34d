"""What an answer's Retry-After asked for, and what came of it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from application.explanation import wording
from domain.attempt import Answered
from domain.retry import retry_after_seconds
from domain.wording import shown

if TYPE_CHECKING:
    from domain.definition import RetryPolicy
    from domain.facts import AttemptFailed


def asked_for(fact: AttemptFailed, policy: RetryPolicy) -> str | None:
    """What the header said, and whether the next attempt was planned by it; None: there was none."""
    answer = fact.attempt.answer
    header = answer.headers.get("retry-after") if isinstance(answer, Answered) else None
    if header is None:
        return None
    wait, most = retry_after_seconds(header, fact.at), policy.max_retry_after_seconds
    return f"The answer had Retry-After: {shown(header)}, {_came_to(fact, wait, most)}."


def _came_to(fact: AttemptFailed, wait: float, most: float) -> str:
    if not most:
        return "which max_retry_after_seconds 0 ignores"
    if not wait:
        return "which asks for no wait, or cannot be read"
    if fact.retry_at != fact.at + timedelta(seconds=min(wait, most)):
        return "and the policy's own wait was longer"
    planned = wording.instant(fact.retry_at)
    if wait > most:
        return f"which max_retry_after_seconds {most:g} cut to {wording.seconds(most)}: until {planned}"
    return f"so the next attempt was planned for {planned}"
