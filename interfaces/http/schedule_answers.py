"""The JSON of what schedules come to, and of what changes of the clocks do to them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

from domain.daylight import AffectedTime
from domain.preview import AffectedTimes, Preview

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
    def of(cls, time: AffectedTime) -> ChangedTime:
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
    def of(cls, affected: AffectedTimes) -> ClockChange:
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
    """What a trigger comes to."""

    items: Annotated[list[ScheduledCall], Meta(description="The next occurrences, without their jitter.")]
    more: Annotated[bool, Meta(description="Others follow.")]
    clock_changes: Annotated[
        list[ClockChange],
        Meta(description="Those up to the last item that concern the schedule, at most 20."),
    ]

    @classmethod
    def of(cls, found: Preview) -> SchedulePreview:
        """A preview as it is shown."""
        return cls(
            items=[ScheduledCall(due_at=each.due_at, local=each.local) for each in found.fires],
            more=found.more,
            clock_changes=[ClockChange.of(each) for each in found.clock_changes],
        )
