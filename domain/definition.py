"""What a user asks for: when to call (trigger), what to call (action), how often to try (retry)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Literal

from msgspec import Struct, field

DEFAULT_NAMESPACE = "default"


class Bounds(Struct, frozen=True, gc=False, kw_only=True):
    """What every trigger may have. Occurrences lie from `start_at` to `end_at`, both included.

    `max_runs` counts the occurrences that were started or queued, not those that were skipped. A call is sent
    up to `jitter_seconds` after its occurrence: see `domain.schedule.fires_at`.
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

    The anchor is None only until the definition is validated.
    """

    every_seconds: int
    anchor: datetime | None = None


type Trigger = OneOff | Cron | Interval


class Action(Struct, frozen=True, gc=False, kw_only=True):
    """The HTTP request to send. `payload` None sends no body; `timeout_seconds` bounds one attempt.

    `connect_timeout_seconds` bounds reaching the host within that, None: nothing else does. More redirects
    than `max_redirects` are a failure, 0: a redirect is the answer.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    payload: Any = None
    timeout_seconds: float = 30.0
    connect_timeout_seconds: float | None = None
    max_redirects: int = 0

    @property
    def timeout(self) -> timedelta:
        """`timeout_seconds` as a span."""
        return _span(self.timeout_seconds)


@lru_cache(maxsize=256)  # few different ones are used, for every execution several times
def _span(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


type Backoff = Literal["fixed", "linear", "exponential"]
type Jitter = Literal["none", "slight", "full"]
type OnGone = Literal["fail", "stop"]
type Delivery = Literal["at_least_once", "at_most_once"]
type CatchUpMode = Literal["skip", "latest", "all"]
type OverlapMode = Literal["allow", "skip", "queue_one", "queue_all", "cancel_running"]

RETRYABLE = ("408", "425", "429", "5xx")
"""Request Timeout, Too Early, Too Many Requests, and what servers fail with (RFC 9110, 8470, 6585)."""


class RetryPolicy(Struct, frozen=True, gc=False, kw_only=True):
    """How often to try, and how long to wait before the next attempt.

    `max_attempts` counts the first one. The delay before attempt n+1 is initial, initial * n or
    initial * multiplier^(n-1) by `backoff`, at most `max_delay_seconds`, then spread by `jitter`. No attempt
    begins later than `max_elapsed_seconds` after the first. `statuses` are tried again (as "503" or "5xx"),
    unless they are among `final_statuses`. A Retry-After counts up to `max_retry_after_seconds`, 0: not.
    A 410 ends the task when `on_gone` is "stop"; so many failed executions in a row as
    `disable_after_failures` pause it.
    """

    max_attempts: int = 3
    initial_delay_seconds: float = 1.0
    multiplier: float = 2.0
    max_delay_seconds: float = 300.0
    backoff: Backoff = "exponential"
    jitter: Jitter = "slight"
    max_elapsed_seconds: float | None = None
    statuses: tuple[str, ...] = RETRYABLE
    final_statuses: tuple[str, ...] = ()
    max_retry_after_seconds: float = 0.0
    on_gone: OnGone = "fail"
    disable_after_failures: int | None = None


class JsonCondition(Struct, frozen=True, gc=False, kw_only=True):
    """The member of a JSON body at `pointer` (RFC 6901) equals a value."""

    pointer: str
    equals: Any


class SuccessPolicy(Struct, frozen=True, gc=False, kw_only=True):
    """What an answer must be to count as a success: all of it."""

    statuses: tuple[str, ...] = ("2xx",)
    body_contains: str | None = None
    json: JsonCondition | None = None


class CatchUp(Struct, frozen=True, gc=False, kw_only=True):
    """What becomes of occurrences that nobody claimed in time: in a downtime, or a pause.

    `skip`: they do not run; `latest`: the newest one does; `all`: each does, of the newest `max_runs`. None
    runs that was due longer than `window_seconds` ago.
    """

    mode: CatchUpMode = "latest"
    window_seconds: int | None = None
    max_runs: int | None = None


class Overlap(Struct, frozen=True, gc=False, kw_only=True):
    """What becomes of an occurrence that falls due while `max_running` of its task's runs go on.

    `queue_one` and `queue_all` let one or `max_queued` of them wait; what finds no room there is skipped.
    Only scheduled occurrences are bound and counted: what users run out of turn runs.
    """

    mode: OverlapMode = "allow"
    max_running: int | None = None
    max_queued: int | None = None


FIRST_PRIORITY, USUAL_PRIORITY, LAST_PRIORITY = 1, 5, 9


class Definition(Struct, frozen=True, gc=False, kw_only=True):
    """A task as its user describes it, checked: see `domain.validation`.

    The defaults are what a definition meant that was stored before a policy existed; the ones that users get
    are those of the API. Of what is due at the same time, the lowest `priority` goes first.
    """

    name: str
    trigger: Trigger
    action: Action
    retry: RetryPolicy = RetryPolicy()
    success: SuccessPolicy = SuccessPolicy()
    catch_up: CatchUp = CatchUp()
    overlap: Overlap = Overlap()
    delivery: Delivery = "at_least_once"
    priority: int = USUAL_PRIORITY
