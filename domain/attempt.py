"""One call and what came back: what facts about attempts hold."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct, field


class Answered(Struct, frozen=True, gc=False, kw_only=True, tag_field="kind", tag="answered"):
    """The server answered.

    `headers` have lower-case names; repeated ones are joined by a comma and a space, those of `set-cookie`,
    which may hold commas, by a line feed.
    """

    status_code: int
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    truncated: bool = False


class Unanswered(Struct, frozen=True, gc=False, kw_only=True, tag_field="kind", tag="unanswered"):
    """No usable answer: `error` says why in one sentence; `retryable` whether another attempt may help.

    `sent` False: the request has certainly not reached the target, not even in part.
    """

    error: str
    retryable: bool = True
    sent: bool = True


type Answer = Answered | Unanswered


class Attempt(Struct, frozen=True, gc=False, kw_only=True):
    """One call: its number (from 1), when the request was sent, how long it took and what came back."""

    number: int
    started_at: datetime
    duration_ms: int
    answer: Answer
