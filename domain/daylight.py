"""What a change of a zone's clocks does to a cron schedule: local times that do not exist, or exist twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal
from zoneinfo import ZoneInfo

from msgspec import Struct
from msgspec.structs import replace

from domain.definition import Cron
from domain.local_time import offset_at, steady_until
from domain.schedule import includes, occurrences_between

if TYPE_CHECKING:
    from collections.abc import Iterator

_SECOND = timedelta(seconds=1)

type Effect = Literal["moved", "left_out", "once", "twice"]
"""Of a local time that does not exist: its call comes right after the gap, or there is none of its own. Of
one that exists twice: it is called once, or in both passes."""


class ClockChange(Struct, frozen=True, gc=False, kw_only=True):
    """A zone's clocks are set at `at` (UTC): local times from `start` on and before `end` are left out, or
    shown twice when they are `repeated`. `offset` is how far they are ahead of UTC before.
    """

    timezone: str
    at: datetime
    start: datetime
    end: datetime
    repeated: bool
    offset: timedelta


class AffectedTime(Struct, frozen=True, gc=False, kw_only=True):
    """A local time that the schedule names (naive), and the instants at which it is called, in UTC."""

    local: datetime
    effect: Effect
    instants: tuple[datetime, ...]


def clock_changes(timezone: str, after: datetime, until: datetime) -> Iterator[ClockChange]:
    """Every change of the zone's offset with after < t <= until, in order."""
    zone = ZoneInfo(timezone)
    at = steady_until(after, zone)
    while at <= until:
        old, new = offset_at(at - _SECOND, zone), offset_at(at, zone)
        if old != new:
            start, end = sorted((_local(at, old), _local(at, new)))
            yield ClockChange(timezone=timezone, at=at, start=start, end=end, repeated=new < old, offset=old)
        at = steady_until(at, zone)


def affected_times(trigger: Cron, change: ClockChange) -> Iterator[AffectedTime]:
    """The local times that a schedule names among those that a change leaves out or repeats, in order."""
    for local in _named(trigger, change.start - _SECOND, change.end - _SECOND):
        yield _repeated(trigger, local, change) if change.repeated else _left_out(trigger, local, change)


def _named(trigger: Cron, after: datetime, until: datetime) -> Iterator[datetime]:
    """What the expression says of a clock that is never set: it is read in UTC, whose clocks never are."""
    steady = replace(trigger, timezone="UTC", start_at=None, end_at=None)
    for instant in occurrences_between(steady, after.replace(tzinfo=UTC), until.replace(tzinfo=UTC)):
        yield instant.replace(tzinfo=None)


def _left_out(trigger: Cron, local: datetime, change: ClockChange) -> AffectedTime:
    """What is called right after the gap is its call, unless that is the time of another one."""
    others = _named(trigger, change.end - _SECOND, change.end)
    if includes(trigger, change.at) and next(others, None) is None:
        return AffectedTime(local=local, effect="moved", instants=(change.at,))
    return AffectedTime(local=local, effect="left_out", instants=())


def _repeated(trigger: Cron, local: datetime, change: ClockChange) -> AffectedTime:
    first = (local - change.offset).replace(tzinfo=UTC)
    passes = (first, first + (change.end - change.start))
    called = tuple(each for each in passes if includes(trigger, each))
    return AffectedTime(local=local, effect="twice" if len(called) > 1 else "once", instants=called)


def _local(at: datetime, offset: timedelta) -> datetime:
    return (at + offset).replace(tzinfo=None)
