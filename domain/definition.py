"""What a user asks for: when to call (trigger), what to call (action), how often to try (retry)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct, field

DEFAULT_NAMESPACE = "default"


class OneOff(Struct, frozen=True, kw_only=True, tag_field="type", tag="one-off"):
    """Call once, at an instant."""

    datetime: datetime
    timezone: str = "UTC"


class Cron(Struct, frozen=True, kw_only=True, tag_field="type", tag="cron"):
    """Call whenever the expression matches the local time of an IANA zone."""

    cron: str
    timezone: str = "UTC"


type Trigger = OneOff | Cron


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
