"""The JSON that is sent: a task's definition, and what commands take; the domain's shapes behind it."""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from domain.cron import ALIASES, LONGEST_EXPRESSION
from domain.definition import (
    FIRST_PRIORITY,
    LAST_PRIORITY,
    RETRYABLE,
    USUAL_PRIORITY,
    Action,
    Backoff,
    CatchUp,
    CatchUpMode,
    Cron,
    Definition,
    Delivery,
    Interval,
    Jitter,
    JsonCondition,
    OneOff,
    OnGone,
    Overlap,
    OverlapMode,
    RetryPolicy,
    SuccessPolicy,
)
from domain.errors import FieldError, InvalidBody
from domain.requesting import Period
from domain.validation import LONGEST_NAME
from domain.validation.action import (
    LONGEST_TIMEOUT_SECONDS,
    LONGEST_URL,
    LONGEST_VALUE,
    METHODS,
    MOST_HEADERS,
    MOST_REDIRECTS,
)
from domain.validation.policies import (
    LONGEST_CONDITION,
    LONGEST_WINDOW_SECONDS,
    MOST_CAUGHT_UP,
    MOST_QUEUED,
    MOST_RUNNING,
    MOST_STATUSES,
    RETRY_BOUNDS,
)
from domain.validation.trigger import LONGEST_INTERVAL_SECONDS, LONGEST_JITTER_SECONDS, MOST_RUNS


def _between(least: float, most: float) -> dict[str, float]:
    """The words of JSON Schema for a range, both ends included."""
    return {"minimum": least, "maximum": most}


def _in_any_case(words: Iterable[str]) -> str:
    """The pattern of any of the words."""
    return "|".join(re.sub("[a-z]", lambda m: f"[{m[0].upper()}{m[0]}]", word.lower()) for word in words)


# What `domain.validation` says, in the words of JSON Schema, for who reads the document and for who
# sends a body of the wrong shape. Decoding does not enforce it: the domain's own sentences are better.
_METHOD = f"^({_in_any_case(METHODS)})$"
_URL = r"^[Hh][Tt][Tt][Pp][Ss]?://([!$&-;=?-\[\]_a-z~]|%[0-9A-Fa-f]{2})+$"
_HEADER_NAME = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"
_PRINTABLE = r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]"
_NAME = rf"^{_PRINTABLE}*[^\x00-\x1f\x7f-\x9f\s]{_PRINTABLE}*$"
_CRON = rf"^[ \t]*({_in_any_case(ALIASES)}|[!-?A-~][!-~]*([ \t]+[!-~]+){{4,5}})[ \t]*$"
_POSITIVE = {"exclusiveMinimum": 0, "maximum": LONGEST_TIMEOUT_SECONDS}

type HeaderValue = Annotated[
    str, Meta(extra_json_schema={"maxLength": LONGEST_VALUE, "pattern": r"^[\t -~\xa0-\xff]*$"})
]
type Status = Annotated[
    Annotated[int, Meta(extra_json_schema=_between(100, 599))]
    | Annotated[str, Meta(extra_json_schema={"pattern": "^[1-5]([0-9]{2}|[Xx]{2})$"})],
    Meta(description="A status is one such as 503, or a class such as 5xx."),
]
type Statuses = list[Status]


class Retry(Struct, kw_only=True, forbid_unknown_fields=True):
    """The number of attempts, the delays between them, and the answers that are tried again.

    Tried again are calls that brought no answer but may bring one later, those that were answered with one of
    `statuses`, and answers that lack what `success` asks of their body. Every other answer is final, and with
    `delivery` `at_most_once` every call that may have been sent.
    """

    max_attempts: Annotated[
        int,
        Meta(
            description="1 to 100; counts the first one, so 1 never retries. 3: most faults that pass at all "
            "pass soon.",
            extra_json_schema=_between(*RETRY_BOUNDS["max_attempts"]),
        ),
    ] = 3
    initial_delay_seconds: Annotated[
        float,
        Meta(
            description="Before the second attempt: 0 to 86,400. 1: a restart or a lost packet is over then.",
            extra_json_schema=_between(*RETRY_BOUNDS["initial_delay_seconds"]),
        ),
    ] = 1.0
    multiplier: Annotated[
        float,
        Meta(
            description="Of `exponential`: each delay is this many times the one before it, 1 to 10. 2: load "
            "on a target in trouble halves with every attempt.",
            extra_json_schema=_between(*RETRY_BOUNDS["multiplier"]),
        ),
    ] = 2.0
    max_delay_seconds: Annotated[
        float,
        Meta(
            description="No planned delay is longer: at least the first, at most 604,800. 300: what comes "
            "back is noticed within minutes.",
            extra_json_schema=_between(*RETRY_BOUNDS["max_delay_seconds"]),
        ),
    ] = 300.0
    backoff: Annotated[
        Backoff,
        Meta(
            description="The delay before attempt n+1: `fixed` is the initial one, `linear` n times it, "
            "`exponential` (the default, as it relieves a target soonest) initial * multiplier^(n-1)."
        ),
    ] = "exponential"
    jitter: Annotated[
        Jitter,
        Meta(
            description="Spreads each delay: `none`, `slight` by up to 10 % either way (the default: what "
            "failed together does not come back together, and times stay predictable), `full` from 0 to the "
            "planned delay."
        ),
    ] = "slight"
    max_elapsed_seconds: Annotated[
        float | None,
        Meta(
            description="No attempt begins later than so long after the first one was to be sent: 1 to "
            "31,536,000, and at least `initial_delay_seconds`. null: `max_attempts` alone is the bound.",
            examples=[600],
            extra_json_schema=_between(*RETRY_BOUNDS["max_elapsed_seconds"]),
        ),
    ] = None
    statuses: Annotated[
        Statuses,
        Meta(
            description="Answers that are tried again, at most 50: statuses or classes. 408, 425, 429 and "
            "5xx: those that say that the same request may fare better later.",
            examples=[["429", "5xx"]],
            extra_json_schema={"maxItems": MOST_STATUSES},
        ),
    ] = msgspec.field(default_factory=lambda: [*RETRYABLE])
    final_statuses: Annotated[
        Statuses,
        Meta(
            description="Exceptions from `statuses` that are not tried again, at most 50. None unless told.",
            examples=[["501"]],
            extra_json_schema={"maxItems": MOST_STATUSES},
        ),
    ] = []
    max_retry_after_seconds: Annotated[
        float,
        Meta(
            description="A Retry-After of an answer that is tried again moves the next attempt to that "
            "instant when it is later than planned, cut to so many seconds: 0 (it is ignored) to 86,400. "
            "3,600: who asks to be left alone is, but no longer than an hour.",
            extra_json_schema=_between(*RETRY_BOUNDS["max_retry_after_seconds"]),
        ),
    ] = 3_600.0
    on_gone: Annotated[
        OnGone,
        Meta(
            description="A 410 that is no success: `stop` fails the execution at once and cancels the task "
            "(the default: its server says that it is gone for good), `fail` treats it as any other status."
        ),
    ] = "stop"
    disable_after_failures: Annotated[
        int | None,
        Meta(
            description="So many failed executions in a row pause the task, with a note that says so: 1 to "
            "1,000. null: none do, as only its owner knows when a task is hopeless. Not for one-offs.",
            examples=[5],
            extra_json_schema=_between(*RETRY_BOUNDS["disable_after_failures"]),
        ),
    ] = None

    def to_domain(self) -> RetryPolicy:
        """The policy, not yet checked."""
        given = {name: getattr(self, name) for name in self.__struct_fields__}
        lists = {name: texts(given[name]) for name in ("statuses", "final_statuses")}
        return RetryPolicy(**given | lists)


def texts(statuses: Statuses) -> tuple[str, ...]:
    """The list as the domain has it."""
    return tuple(map(str, statuses))


type Promise = Annotated[
    Delivery,
    Meta(
        description="When it is unknown whether a request was sent: `at_least_once` sends it again, with the "
        "same Idempotency-Key (the default: what was accepted is done), `at_most_once` never does: it "
        "retries only when no connection came about."
    ),
]
type Priority = Annotated[
    int,
    Meta(
        description="Of what is due at the same time, 1 goes first and 9 last. 5: room on both sides.",
        examples=[5],
        extra_json_schema=_between(FIRST_PRIORITY, LAST_PRIORITY),
    ),
]


class BodyValue(Struct, kw_only=True, forbid_unknown_fields=True):
    """A member of an answer's JSON and the value that it must have."""

    pointer: Annotated[
        str,
        Meta(
            description="JSON pointer (RFC 6901), at most 1,000 characters; empty: the whole body.",
            examples=["/data/state"],
            extra_json_schema={"maxLength": LONGEST_CONDITION, "pattern": r"^(/([^/~]|~[01])*)*$"},
        ),
    ]
    equals: Annotated[
        Any, Meta(description="Any JSON value; numbers are compared by value.", examples=["done"])
    ]

    def to_domain(self) -> JsonCondition:
        """The condition, not yet checked."""
        return JsonCondition(pointer=self.pointer, equals=self.equals)


class Success(Struct, kw_only=True, forbid_unknown_fields=True):
    """Conditions that an answer must meet to count as a success.

    An answer whose status is admitted, but whose body lacks what is asked for, is a failed attempt that is
    tried again.
    """

    statuses: Annotated[
        Statuses,
        Meta(
            description="Statuses that are a success, 1 to 50: statuses or classes. 2xx: what HTTP calls "
            "successful. They win over those of `retry`, and over `on_gone`.",
            examples=[["200", "202"]],
            extra_json_schema={"minItems": 1, "maxItems": MOST_STATUSES},
        ),
    ] = msgspec.field(default_factory=lambda: [*SuccessPolicy().statuses])
    body_contains: Annotated[
        str | None,
        Meta(
            description="Text that the kept part of the body must contain, in the same case: 1 to 1,000 "
            "characters. null: anything. Not for HEAD.",
            examples=["OK"],
            extra_json_schema={"minLength": 1, "maxLength": LONGEST_CONDITION},
        ),
    ] = None
    json: Annotated[
        BodyValue | None,
        Meta(
            examples=[{"pointer": "/state", "equals": "done"}],
            description="A value that the body, as JSON, must hold; one that was cut proves nothing. null: "
            "none. Not for HEAD.",
        ),
    ] = None

    def to_domain(self) -> SuccessPolicy:
        """The policy, not yet checked."""
        return SuccessPolicy(
            statuses=texts(self.statuses),
            body_contains=self.body_contains,
            json=None if self.json is None else self.json.to_domain(),
        )


class CatchingUp(Struct, kw_only=True, forbid_unknown_fields=True):
    """The treatment of late occurrences: claimed over 60 s after their instant, or due in a pause.

    What does not run is recorded as skipped, with its reason.
    """

    mode: Annotated[
        CatchUpMode,
        Meta(
            description="Of all that are due: `latest` runs the newest one and skips the older ones (the "
            "default: most tasks bring something up to date, and once does it), `skip` the same, but the "
            "newest one only if it is not late, `all` runs each, in order. `all` needs `overlap` `queue_all` "
            "or `allow`, and is not for one-offs."
        ),
    ] = "latest"
    window_seconds: Annotated[
        int | None,
        Meta(
            description="Of `latest` and `all`: what was due longer ago is skipped, 1 to 31,536,000. null: "
            "nothing is too old, until somebody says what is.",
            examples=[3600],
            extra_json_schema=_between(1, LONGEST_WINDOW_SECONDS),
        ),
    ] = None
    max_runs: Annotated[
        int | None,
        Meta(
            description="Of `all`: only the newest so many run, 1 to 1,000. null: no bound, as who asks for "
            "all means it.",
            examples=[10],
            extra_json_schema=_between(1, MOST_CAUGHT_UP),
        ),
    ] = None

    def to_domain(self) -> CatchUp:
        """The policy, not yet checked."""
        return CatchUp(mode=self.mode, window_seconds=self.window_seconds, max_runs=self.max_runs)


class Overlapping(Struct, kw_only=True, forbid_unknown_fields=True):
    """The treatment of a scheduled occurrence that falls due while `max_running` of its task are not over.

    Retries belong to an execution that is not over. Manual runs and backfills are neither bound nor counted.
    """

    mode: Annotated[
        OverlapMode,
        Meta(
            description="`skip`: it is skipped (the default: a task that takes longer than its interval "
            "must not pile up). `queue_one`: it waits, and further ones are skipped meanwhile. `queue_all`: "
            "up to `max_queued` wait. `cancel_running`: the oldest run is broken off in its favour. "
            "`allow`: it starts. A one-off, which overlaps nothing, may have the first or the last."
        ),
    ] = "skip"
    max_running: Annotated[
        int | None,
        Meta(
            description="How many may run side by side, 1 to 100. 1 (most jobs are written to run alone) "
            "when left out; always null with `allow`.",
            examples=[1],
            extra_json_schema=_between(1, MOST_RUNNING),
        ),
    ] = None
    max_queued: Annotated[
        int | None,
        Meta(
            description="Of `queue_all`: how many may wait, 1 to 1,000. 100 (a queue that long never catches "
            "up by itself) when left out; null with every other mode.",
            examples=[100],
            extra_json_schema=_between(1, MOST_QUEUED),
        ),
    ] = None

    def to_domain(self) -> Overlap:
        """The policy, not yet checked."""
        return Overlap(mode=self.mode, max_running=self.max_running, max_queued=self.max_queued)


type Zone = Annotated[
    str,
    Meta(
        description="IANA time zone; the service's DEFAULT_TIMEZONE (UTC unless configured) when left out.",
        examples=["Europe/Berlin"],
    ),
]


class Limits(Struct, kw_only=True, forbid_unknown_fields=True):
    """Members of every kind of trigger."""

    timezone: Zone | UnsetType = UNSET
    start_at: Annotated[
        datetime | None,
        Meta(
            description="No occurrence before this instant; local time of `timezone` without an offset.",
            examples=["2030-01-01T12:00:00Z"],
            extra_json_schema={"format": "date-time"},
        ),
    ] = None
    end_at: Annotated[
        datetime | None,
        Meta(
            description="No occurrence after this instant; the task ends with its last one.",
            examples=["2030-01-01T12:00:00Z"],
            extra_json_schema={"format": "date-time"},
        ),
    ] = None
    max_runs: Annotated[
        int | None,
        Meta(
            description="The task ends after so many runs, at least 1. What is skipped does not count, nor "
            "do manual runs; a changed trigger counts from none again.",
            examples=[10],
            extra_json_schema=_between(1, MOST_RUNS),
        ),
    ] = None
    jitter_seconds: Annotated[
        float,
        Meta(
            description="Each call is sent up to so many seconds after its occurrence, 0 to 86,400, but "
            "before the next one: always the same delay for the same occurrence. `due_at` stays the nominal "
            "instant.",
            extra_json_schema=_between(0, LONGEST_JITTER_SECONDS),
        ),
    ] = 0.0

    def limits(self, default_timezone: str) -> dict[str, Any]:
        """The fields of the domain's `Bounds`."""
        # Only a zone that was left out gets the default; an empty one is an error that admission explains.
        zone = default_timezone if self.timezone is UNSET else self.timezone
        return {
            "timezone": zone,
            "start_at": self.start_at,
            "end_at": self.end_at,
            "max_runs": self.max_runs,
            "jitter_seconds": self.jitter_seconds,
        }


class OneOffTrigger(Limits, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="one-off"):
    """Call once."""

    datetime: Annotated[
        datetime,
        Meta(
            description="The instant, ISO 8601; without an offset it is the local time of `timezone`. "
            "Up to 60 seconds ago is due now, older is refused.",
            examples=["2030-01-01T12:00:00Z"],
            extra_json_schema={"format": "date-time"},
        ),
    ]

    def to_domain(self, default_timezone: str) -> OneOff:
        """The trigger, not yet checked."""
        return OneOff(datetime=self.datetime, **self.limits(default_timezone))


class CronTrigger(Limits, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="cron"):
    """Call whenever the expression matches the local time of the zone."""

    cron: Annotated[
        str,
        Meta(
            description="Five fields: minute hour day-of-month month day-of-week (0-7, Sunday is 0 or 7); or "
            "six, with the second before them.",
            examples=["0 9 * * *"],
            extra_json_schema={"maxLength": LONGEST_EXPRESSION, "pattern": _CRON},
        ),
    ]

    def to_domain(self, default_timezone: str) -> Cron:
        """The trigger, not yet checked."""
        return Cron(cron=self.cron, **self.limits(default_timezone))


class IntervalTrigger(Limits, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="interval"):
    """Call every so many seconds of real time, whatever the zone's clocks do."""

    every_seconds: Annotated[
        int,
        Meta(
            description="A whole number, 1 to 315,360,000 (ten years).",
            examples=[90],
            extra_json_schema=_between(1, LONGEST_INTERVAL_SECONDS),
        ),
    ]
    anchor: Annotated[
        datetime | None,
        Meta(
            description="Calls fall on this instant and on whole multiples before and after it. `start_at`, "
            "else the task's creation, when left out.",
            examples=["2030-01-01T12:00:00Z"],
            extra_json_schema={"format": "date-time"},
        ),
    ] = None

    def to_domain(self, default_timezone: str) -> Interval:
        """The trigger, not yet checked."""
        return Interval(every_seconds=self.every_seconds, anchor=self.anchor, **self.limits(default_timezone))


TRIGGERS: Mapping[str, type[Struct]] = {
    "one-off": OneOffTrigger,
    "cron": CronTrigger,
    "interval": IntervalTrigger,
}


class HttpAction(Struct, kw_only=True, forbid_unknown_fields=True):
    """The HTTP request to send."""

    method: Annotated[
        str,
        Meta(
            description="GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS.",
            examples=["POST"],
            extra_json_schema={"pattern": _METHOD},
        ),
    ]
    url: Annotated[
        str,
        Meta(
            description="Absolute, http or https, at most 2,048 characters.",
            examples=["https://api.example.com/health"],
            extra_json_schema={"maxLength": LONGEST_URL, "pattern": _URL},
        ),
    ]
    headers: Annotated[
        dict[str, HeaderValue],
        Meta(
            description="At most 100. Shown as they are to whoever may read the task.",
            examples=[{"X-API-Key": "your-api-key"}],
            extra_json_schema={"maxProperties": MOST_HEADERS, "propertyNames": {"pattern": _HEADER_NAME}},
        ),
    ] = {}
    payload: Annotated[
        Any,
        Meta(
            description="Sent as JSON; a string is sent as it is when `headers` hold a Content-Type of its "
            "own. null sends no body.",
            examples=[{"report_type": "daily"}],
        ),
    ] = None
    timeout_seconds: Annotated[
        float,
        Meta(
            description="Bounds one attempt, redirects included: more than 0, at most 3,600. 30: longer than "
            "most servers let a request take.",
            examples=[30],
            extra_json_schema=_POSITIVE,
        ),
    ] = 30.0
    connect_timeout_seconds: Annotated[
        float | None,
        Meta(
            description="Bounds getting a connection (name, TCP, TLS) within that: more than 0, at most "
            "`timeout_seconds`. null: only that bounds it.",
            examples=[5],
            extra_json_schema=_POSITIVE,
        ),
    ] = None
    max_redirects: Annotated[
        int,
        Meta(
            description="How many redirects are followed, 0 to 10. 0: a redirect is the answer, as where a "
            "task leads should not change unseen.",
            examples=[3],
            extra_json_schema=_between(0, MOST_REDIRECTS),
        ),
    ] = 0

    def to_domain(self) -> Action:
        """The action, not yet checked."""
        return Action(**{name: getattr(self, name) for name in self.__struct_fields__})


_USUAL_RETRY = Retry().to_domain()
_USUAL_SUCCESS = Success().to_domain()
_USUAL_CATCH_UP = CatchingUp().to_domain()
_USUAL_OVERLAP = Overlapping().to_domain()


class TaskDefinition(Struct, kw_only=True, forbid_unknown_fields=True):
    """A task as POST and PUT take it. PUT replaces everything: what is left out gets its default."""

    name: Annotated[
        str,
        Meta(
            description="1 to 255 characters.",
            examples=["Website Health Check"],
            extra_json_schema={"maxLength": LONGEST_NAME, "pattern": _NAME},
        ),
    ]
    trigger: Annotated[
        OneOffTrigger | CronTrigger | IntervalTrigger, Meta(examples=[{"type": "cron", "cron": "0 9 * * *"}])
    ]
    action: Annotated[HttpAction, Meta(examples=[{"method": "GET", "url": "https://api.example.com/health"}])]
    retry: Retry | UnsetType = UNSET
    success: Success | UnsetType = UNSET
    catch_up: CatchingUp | UnsetType = UNSET
    overlap: Overlapping | UnsetType = UNSET
    delivery: Promise = "at_least_once"
    priority: Priority = USUAL_PRIORITY

    def to_domain(self, default_timezone: str) -> Definition:
        """The definition, not yet checked: `domain.validation` does that."""
        return Definition(
            name=self.name,
            trigger=self.trigger.to_domain(default_timezone),
            action=self.action.to_domain(),
            retry=self.retry.to_domain() if self.retry else _USUAL_RETRY,
            success=self.success.to_domain() if self.success else _USUAL_SUCCESS,
            catch_up=self.catch_up.to_domain() if self.catch_up else _USUAL_CATCH_UP,
            overlap=self.overlap.to_domain() if self.overlap else _USUAL_OVERLAP,
            delivery=self.delivery,
            priority=self.priority,
        )


# Ids hold the milliseconds since then.
_FIRST = datetime(1970, 1, 1, tzinfo=UTC)
MOST_AT_ONCE = 500
# Far more revisions than any task has, and within what JSON and Postgres count with.
HIGHEST_NUMBER = 1_000_000_000

WITH_OFFSET: dict[str, Any] = {"pattern": r"([Zz]|[+-]\d\d(:?\d\d)?)$"}
"""Words of JSON Schema for an instant that must have an offset."""

type Note = Annotated[
    str,
    Meta(
        description="Why, for whoever looks at it later: at most 1,000 characters.",
        max_length=1_000,
        examples=["The target is being moved."],
    ),
]


class Pausing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A pause of a task."""

    note: Note | None = None


class Cancelling(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A cancellation of an execution."""

    note: Note | None = None


class Backfilling(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A period whose occurrences are to run."""

    start: Annotated[
        datetime,
        Meta(
            description="The first instant that may run, ISO 8601 with its offset.",
            tz=True,
            examples=["2026-01-01T00:00:00Z"],
            extra_json_schema=WITH_OFFSET,
        ),
    ]
    end: Annotated[
        datetime,
        Meta(
            description="The first instant that may not, ISO 8601 with its offset: not in the future.",
            tz=True,
            examples=["2026-01-02T00:00:00Z"],
            extra_json_schema=WITH_OFFSET,
        ),
    ]
    limit: Annotated[
        int,
        Meta(
            description=f"How many occurrences to look at: 1 to {MOST_AT_ONCE}.",
            ge=1,
            le=MOST_AT_ONCE,
            examples=[100],
        ),
    ] = 100

    def period(self, now: datetime) -> Period:
        """The period that is meant. Raises `InvalidBody`."""
        errors = []
        if self.start < _FIRST:
            detail = f"{self.start.isoformat()} is before 1970: give a later instant."
            errors.append(FieldError(pointer="/start", detail=detail))
        if self.end > now:
            detail = f"{self.end.isoformat()} is in the future: give an instant up to now."
            errors.append(FieldError(pointer="/end", detail=detail))
        if self.start >= self.end:
            detail = f"{self.start.isoformat()} is not before `end`: give an earlier instant."
            errors.append(FieldError(pointer="/start", detail=detail))
        if errors:
            raise InvalidBody(errors)
        return Period(start=self.start.astimezone(UTC), end=self.end.astimezone(UTC), limit=self.limit)


class RollingBack(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The revision to return to."""

    to: Annotated[
        int,
        Meta(
            description=f"The number of a revision: a whole number from 1 to {HIGHEST_NUMBER:,}.",
            ge=1,
            le=HIGHEST_NUMBER,
            examples=[1],
        ),
    ]
