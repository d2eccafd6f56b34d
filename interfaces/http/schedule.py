"""Schedules before there is a task: what a trigger comes to, for the form that it is written in."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from litestar import Controller, get
from litestar.di import Provide
from litestar.params import QueryParameter
from msgspec import Meta, Struct

from domain.definition import Cron, Interval, OneOff, Trigger
from domain.schedule import AffectedTime, AffectedTimes, Preview, preview
from domain.validation.trigger import judged_trigger
from interfaces.http import documentation as doc
from interfaces.http.api import Api
from interfaces.http.parameters import INSTANT, Injected, local_or_absolute, reachable
from interfaces.http.problems import InvalidParameters

_SAID = {
    "moved": "{local} does not exist: it is called right after the gap.",
    "left_out": "{local} does not exist: there is no call for it.",
    "once": "{local} comes twice: it is called once, at the first.",
    "twice": "{local} comes twice: it is called both times.",
}


class ScheduledCall(Struct, frozen=True, kw_only=True):
    """An occurrence that lies ahead."""

    due_at: Annotated[datetime, Meta(description="In UTC.")]
    local: Annotated[
        datetime, Meta(description="The same instant by the clocks of the time zone, with their offset.")
    ]


class ChangedTime(Struct, frozen=True, kw_only=True):
    """A local time of the schedule that does not exist on that day, or comes twice."""

    local: Annotated[str, Meta(description="Local time without an offset.", examples=["2027-03-28T02:30:00"])]
    effect: Annotated[
        Literal["moved", "left_out", "once", "twice"],
        Meta(
            description="Of a time that does not exist: `moved`, its call comes right after the gap, or "
            "`left_out`, it has no call. Of one that comes twice: it is called `once`, at the first, or "
            "`twice`."
        ),
    ]
    instants: Annotated[list[datetime], Meta(description="When it is called, in UTC.")]
    text: Annotated[str, Meta(description="The same in words.")]

    @classmethod
    def of(cls, time: AffectedTime) -> Self:
        """A time as it is shown."""
        said = _SAID[time.effect].format(local=time.local.isoformat(sep=" "))
        return cls(local=time.local.isoformat(), effect=time.effect, instants=list(time.instants), text=said)


class ClockChange(Struct, frozen=True, kw_only=True):
    """The clocks of the time zone are set, and the schedule names local times that are concerned."""

    at: Annotated[datetime, Meta(description="When, in UTC.")]
    timezone: str
    kind: Annotated[
        Literal["skipped", "repeated"],
        Meta(description="Local times from `start` on and before `end` do not exist, or come twice."),
    ]
    start: Annotated[str, Meta(description="Local time without an offset.")]
    end: Annotated[str, Meta(description="Local time without an offset.")]
    times: Annotated[list[ChangedTime], Meta(description="At most 60.")]
    total: Annotated[int, Meta(description="How many there are.")]

    @classmethod
    def of(cls, affected: AffectedTimes) -> Self:
        """A change as it is shown."""
        change = affected.change
        return cls(
            at=change.at,
            timezone=change.timezone,
            kind="repeated" if change.repeated else "skipped",
            start=change.start.isoformat(),
            end=change.end.isoformat(),
            times=[ChangedTime.of(each) for each in affected.times],
            total=affected.total,
        )


class SchedulePreview(Struct, frozen=True, kw_only=True):
    """The occurrences of a trigger."""

    items: Annotated[list[ScheduledCall], Meta(description="The next occurrences, without their jitter.")]
    more: Annotated[bool, Meta(description="Others follow.")]
    clock_changes: Annotated[
        list[ClockChange],
        Meta(description="Those up to the last item that concern the schedule, at most 20."),
    ]

    @classmethod
    def of(cls, found: Preview) -> Self:
        """A preview as it is shown."""
        return cls(
            items=[ScheduledCall(due_at=each.due_at, local=each.local) for each in found.fires],
            more=found.more,
            clock_changes=[ClockChange.of(each) for each in found.clock_changes],
        )


_LOCAL = (
    "an instant by ISO 8601, such as 2030-01-01T12:00:00Z; without an offset it is local time of `timezone`."
)


class TriggerSelection(Struct, frozen=True, kw_only=True):
    """A trigger, as the members of a task's `trigger`: it needs one of the first three."""

    cron: Annotated[
        str | None,
        QueryParameter(
            description="Five fields, minute hour day-of-month month day-of-week, such as `0 9 * * 1-5`, or "
            "six, with the second before them; or an alias such as `@daily`."
        ),
    ] = None
    every_seconds: Annotated[
        int | None, QueryParameter(description="A whole number, 1 to 315,360,000 (ten years).")
    ] = None
    datetime_: Annotated[
        str | None,
        QueryParameter(
            name="datetime", format="date-time", description=f"Of a call that is made once: {_LOCAL}"
        ),
    ] = None
    timezone: Annotated[
        str | None,
        QueryParameter(
            description="IANA time zone, such as Europe/Berlin; the service's DEFAULT_TIMEZONE when left out."
        ),
    ] = None
    anchor: Annotated[
        str | None,
        QueryParameter(
            format="date-time",
            description="Of every_seconds: calls fall on whole multiples before and after it; `start_at`, "
            f"else now, when left out: {_LOCAL}",
        ),
    ] = None
    start_at: Annotated[
        str | None, QueryParameter(format="date-time", description=f"No occurrence before: {_LOCAL}")
    ] = None
    end_at: Annotated[
        str | None, QueryParameter(format="date-time", description=f"No occurrence after: {_LOCAL}")
    ] = None
    max_runs: Annotated[
        int | None, QueryParameter(description="The task ends after so many runs: a whole number from 1.")
    ] = None
    after: Annotated[
        str | None,
        QueryParameter(
            format="date-time",
            description=f"Only occurrences after this instant, now when left out: {INSTANT}",
        ),
    ] = None
    limit: Annotated[
        int, QueryParameter(ge=1, le=100, description="Occurrences listed: a whole number from 1 to 100.")
    ] = 10

    def trigger(self, default_timezone: str, now: datetime) -> Trigger:
        """The trigger, admitted as that of a new task is. Raises `InvalidParameters`."""
        normal, errors = judged_trigger(self._sent(default_timezone), now, None)
        if errors:
            raise InvalidParameters([(each.pointer.rpartition("/")[2], each.detail) for each in errors])
        return normal

    def _sent(self, default_timezone: str) -> Trigger:
        kinds = {"cron": self.cron, "every_seconds": self.every_seconds, "datetime": self.datetime_}
        given = [name for name, value in kinds.items() if value is not None]
        if len(given) != 1:
            advice = "Give one of cron, every_seconds and datetime" + (", not several." if given else ".")
            raise InvalidParameters([(given[1] if given else "cron", advice)])
        bounds: dict[str, Any] = {
            "timezone": default_timezone if self.timezone is None else self.timezone,
            "start_at": local_or_absolute("start_at", self.start_at),
            "end_at": local_or_absolute("end_at", self.end_at),
            "max_runs": self.max_runs,
        }
        if self.anchor is not None and self.every_seconds is None:
            raise InvalidParameters(
                [("anchor", f"Only every_seconds has one, not {given[0]}: leave it out.")]
            )
        if self.cron is not None:
            return Cron(cron=self.cron, **bounds)
        if self.every_seconds is not None:
            anchor = local_or_absolute("anchor", self.anchor)
            return Interval(every_seconds=self.every_seconds, anchor=anchor, **bounds)
        once = local_or_absolute("datetime", self.datetime_)
        assert once is not None
        return OneOff(datetime=once, **bounds)


class ScheduleController(Controller):
    """The occurrences of a trigger."""

    path = "/schedule"
    tags = ("tasks",)

    @get(
        "/preview",
        operation_id="previewSchedule",
        summary="Preview a schedule",
        dependencies={"selection": Provide(TriggerSelection, sync_to_thread=False)},
        response_description="The next occurrences, in order.",
        responses=doc.problems(),
        sync_to_thread=False,
    )
    def preview_schedule(self, api: Injected[Api], selection: Injected[TriggerSelection]) -> SchedulePreview:
        """The next occurrences of a trigger that no task need have, and what clock changes do to them."""
        now = datetime.now(UTC)
        after = reachable("after", selection.after) or now
        trigger = selection.trigger(api.options.default_timezone, now)
        return SchedulePreview.of(preview(trigger, after, selection.limit))
