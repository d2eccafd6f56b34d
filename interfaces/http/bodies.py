"""The JSON of a task's definition, as it is sent and shown; the domain's shapes behind it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

from domain.definition import USUAL_PRIORITY, Action, Cron, Definition, Interval, OneOff
from interfaces.http.policy_bodies import CatchingUp, Overlapping, Priority, Promise, Success
from interfaces.http.retry_body import Retry

type Zone = Annotated[
    str,
    Meta(
        description="IANA time zone; the service's DEFAULT_TIMEZONE (UTC unless configured) when left out.",
        examples=["Europe/Berlin"],
    ),
]


class Limits(Struct, kw_only=True, forbid_unknown_fields=True):
    """What every kind of trigger may have."""

    timezone: Zone | UnsetType = UNSET
    start_at: Annotated[
        datetime | None,
        Meta(
            description="No occurrence before this instant; without an offset it is local time of `timezone`."
        ),
    ] = None
    end_at: Annotated[
        datetime | None,
        Meta(description="No occurrence after this instant; the task ends with its last one."),
    ] = None
    max_runs: Annotated[
        int | None,
        Meta(
            description="The task ends after so many runs, at least 1. What is skipped does not count, nor "
            "do manual runs; a changed trigger counts from none again."
        ),
    ] = None
    jitter_seconds: Annotated[
        float,
        Meta(
            description="Each call is sent up to so many seconds after its occurrence, 0 to 86,400, but "
            "before the next one: always the same delay for the same occurrence. `due_at` stays the nominal "
            "instant."
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
        ),
    ]

    def to_domain(self, default_timezone: str) -> Cron:
        """The trigger, not yet checked."""
        return Cron(cron=self.cron, **self.limits(default_timezone))


class IntervalTrigger(Limits, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="interval"):
    """Call every so many seconds of real time, whatever the zone's clocks do."""

    every_seconds: Annotated[
        int, Meta(description="A whole number, 1 to 315,360,000 (ten years).", examples=[90])
    ]
    anchor: Annotated[
        datetime | None,
        Meta(
            description="Calls fall on this instant and on whole multiples before and after it. `start_at`, "
            "else the task's creation, when left out."
        ),
    ] = None

    def to_domain(self, default_timezone: str) -> Interval:
        """The trigger, not yet checked."""
        return Interval(every_seconds=self.every_seconds, anchor=self.anchor, **self.limits(default_timezone))


class HttpAction(Struct, kw_only=True, forbid_unknown_fields=True):
    """The HTTP request to send."""

    method: Annotated[
        str, Meta(description="GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS.", examples=["POST"])
    ]
    url: Annotated[
        str,
        Meta(
            description="Absolute, http or https, at most 2,048 characters.",
            examples=["https://api.example.com/health"],
        ),
    ]
    headers: Annotated[
        dict[str, str],
        Meta(
            description="At most 100. Shown as they are to whoever may read the task.",
            examples=[{"X-API-Key": "your-api-key"}],
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
        ),
    ] = 30.0
    connect_timeout_seconds: Annotated[
        float | None,
        Meta(
            description="Bounds getting a connection (name, TCP, TLS) within that: more than 0, at most "
            "`timeout_seconds`. null: only that bounds it."
        ),
    ] = None
    max_redirects: Annotated[
        int,
        Meta(
            description="How many redirects are followed, 0 to 10. 0: a redirect is the answer, as where a "
            "task leads should not change unseen."
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
    """What POST and PUT take. PUT replaces everything: what is left out gets its default again."""

    name: Annotated[str, Meta(description="1 to 255 characters.", examples=["Website Health Check"])]
    trigger: OneOffTrigger | CronTrigger | IntervalTrigger
    action: HttpAction
    retry: Retry | UnsetType = UNSET
    success: Success | UnsetType = UNSET
    catch_up: CatchingUp | UnsetType = UNSET
    overlap: Overlapping | UnsetType = UNSET
    delivery: Promise = "at_least_once"
    priority: Priority = USUAL_PRIORITY

    def to_domain(self, default_timezone: str) -> Definition:
        """The definition, not yet checked: `domain.admission` does that."""
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
