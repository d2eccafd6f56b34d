"""What a user asks for: when to call (trigger), what to call (action), how often to try (retry)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct, field

DEFAULT_NAMESPACE = "default"


class Bounds(Struct, frozen=True, kw_only=True):
    """What every trigger may have. Occurrences lie from `start_at` to `end_at`, both included.

    `max_runs` counts the occurrences that were started, not those that were skipped. A call is sent up to
    `jitter_seconds` after its occurrence: see `domain.schedule.fires_at`.
    """

    timezone: str = "UTC"
    start_at: datetime | None = None
    end_at: datetime | None = None
    max_runs: int | None = None
    jitter_seconds: float = 0.0


class OneOff(Bounds, frozen=True, kw_only=True, tag_field="type", tag="one-off"):
    """Call once, at an instant."""

    datetime: datetime


class Cron(Bounds, frozen=True, kw_only=True, tag_field="type", tag="cron"):
    """Call whenever the expression matches the local time of an IANA zone."""

    cron: str


class Interval(Bounds, frozen=True, kw_only=True, tag_field="type", tag="interval"):
    """Call every so many seconds of real time: at `anchor` and whole multiples before and after it.

    The anchor is None only until the definition is admitted.
    """

    every_seconds: int
    anchor: datetime | None = None


type Trigger = OneOff | Cron | Interval


class Action(Struct, frozen=True, kw_only=True):
    """The HTTP request to send. `payload` None sends no body; `timeout_seconds` bounds one attempt."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    payload: Any = None
    timeout_seconds: float = 30.0


class RetryPolicy(Struct, frozen=True, kw_only=True):
    """`max_attempts` counts the first one; the delay before attempt n+1 is initial * multiplier^(n-1)."""

    max_attempts: int = 3
    initial_delay_seconds: float = 1.0
    multiplier: float = 2.0
    max_delay_seconds: float = 300.0


class Definition(Struct, frozen=True, kw_only=True):
    """A task as its user describes it, checked: see `domain.admission`."""

    name: str
    trigger: Trigger
    action: Action
    retry: RetryPolicy = RetryPolicy()
