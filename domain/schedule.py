"""When a trigger is due, in real time.

A cron expression is matched against its zone's wall clock, and clocks are moved. As in Debian's cron, a
schedule of fixed times keeps its number of runs: a time that does not exist fires at the first valid instant
after the gap, one that exists twice fires once, at the first. A schedule whose minute or hour starts with `*`
keeps its rhythm: it fires whenever the clock shows a match, in both passes of a repeated hour.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from itertools import islice
from threading import Lock
from typing import TYPE_CHECKING, Literal, assert_never
from zoneinfo import ZoneInfo

from msgspec import Struct
from msgspec.structs import replace

from domain.cron import YEARS_BETWEEN_MATCHES, fields_of, parse
from domain.definition import Cron, Interval, OneOff, Trigger
from domain.identity import milliseconds
from domain.timezones import offset_at, real_time, steady_until, wall_clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from uuid import UUID

_SECOND = timedelta(seconds=1)
_MILLISECOND = timedelta(milliseconds=1)
_MICROSECOND = timedelta(microseconds=1)


class NothingAhead(ValueError):
    """The trigger has no occurrence after an instant; validation refuses such a one."""


def next_after(trigger: Trigger, after: datetime) -> datetime | None:
    """The first occurrence strictly after `after`, in UTC.

    None: it would be later than `end_at`, the one-off is not after it, or the cron has no occurrence within
    50 years or before year 9999.
    """
    return _bounded(trigger, after, _next_after)


def includes(trigger: Trigger, instant: datetime) -> bool:
    """Whether an instant is one of its occurrences."""
    return next_after(trigger, instant - _MILLISECOND) == instant


def first_due(trigger: Trigger, now: datetime) -> datetime:
    """Where a new task starts: a one-off at its instant, even if past; others at their first one after now.

    Raises `NothingAhead`, which validation has excluded.
    """
    if isinstance(trigger, OneOff):
        return instant_of(trigger)
    instant = next_after(trigger, now)
    if instant is None:
        raise NothingAhead(f"{trigger} has no occurrence after {now.isoformat()}")
    return instant


def occurrences_between(trigger: Trigger, after: datetime, until: datetime) -> Iterator[datetime]:
    """Every occurrence with after < t <= until, in order, found one at a time."""
    instant = _bounded(trigger, after, _look_up)
    while instant is not None and instant <= until:
        yield instant
        instant = _bounded(trigger, instant, _look_up)


def fires_at(trigger: Trigger, task_id: UUID, due_at: datetime) -> datetime:
    """When the call of the occurrence at `due_at` is to be sent: less than `jitter_seconds` after it.

    The delay is drawn by a hash of the task and the instant, so that every node and every replay draws the
    same one. It ends before the next occurrence, so that occurrences never overtake one another.
    """
    if not trigger.jitter_seconds:
        return due_at
    room = timedelta(seconds=trigger.jitter_seconds)
    following = next_after(trigger, due_at)
    if following is not None:
        room = min(room, following - due_at)
    name = task_id.bytes + milliseconds(due_at).to_bytes(8, "big", signed=True)
    draw = int.from_bytes(blake2b(name, digest_size=8, person=b"jitter").digest(), "big")
    return due_at + _MILLISECOND * (room // _MILLISECOND * draw >> 64)


def ends(trigger: Trigger) -> bool:
    """Whether the schedule has a last occurrence."""
    return isinstance(trigger, OneOff) or trigger.end_at is not None or trigger.max_runs is not None


def spent(trigger: Trigger, runs: int) -> bool:
    """Whether that many runs are all that the trigger allows."""
    return trigger.max_runs is not None and runs >= trigger.max_runs


def _bounded(
    trigger: Trigger, after: datetime, look_up: Callable[[str, str, datetime], datetime | None]
) -> datetime | None:
    if trigger.start_at is not None:
        after = max(after, trigger.start_at - _MICROSECOND)
    match trigger:
        case OneOff():
            once = instant_of(trigger)
            instant = once if once > after else None
        case Cron():
            instant = look_up(trigger.cron, trigger.timezone, after)
        case Interval():
            instant = _next_multiple(trigger, after)
        case _:
            assert_never(trigger)
    late = instant is not None and trigger.end_at is not None and instant > trigger.end_at
    return None if late else instant


def _next_multiple(trigger: Interval, after: datetime) -> datetime | None:
    assert trigger.anchor is not None, "validation gives every interval an anchor"
    every = timedelta(seconds=trigger.every_seconds)
    try:
        return trigger.anchor + every * ((after - trigger.anchor) // every + 1)
    except OverflowError:  # the end of the calendar
        return None


def instant_of(trigger: OneOff) -> datetime:
    """The one-off's instant in UTC; without an offset it is local time of the trigger's zone."""
    return absolute(trigger.datetime, trigger.timezone)


def absolute(given: datetime, timezone: str) -> datetime:
    """An instant in UTC; without an offset it is local time of the zone. Raises `OverflowError`."""
    return given.astimezone(UTC) if given.tzinfo else real_time(given, ZoneInfo(timezone))


@lru_cache(maxsize=16_384)
def _next_after(expression: str, timezone: str, after: datetime) -> datetime | None:
    """Many tasks share an expression and are due together: all but the first find the answer here."""
    return _look_up(expression, timezone, after)


def _look_up(expression: str, timezone: str, after: datetime) -> datetime | None:
    return _timetable(expression, timezone).next_after(after)


@lru_cache(maxsize=4096)
def _timetable(expression: str, timezone: str) -> _Timetable:
    return _Timetable(expression, timezone)


class _Timetable:
    """The occurrences of one expression in one zone."""

    def __init__(self, expression: str, timezone: str) -> None:
        minute, hour, *_ = fields_of(expression)
        self._keeps_rhythm = minute.startswith("*") or hour.startswith("*")
        self._zone = ZoneInfo(timezone)
        self._cron = parse(expression)
        self._lock = Lock()

    def next_after(self, after: datetime) -> datetime | None:
        try:
            # Occurrences are whole seconds; croniter's floats lose microseconds in far years.
            start = after.astimezone(UTC).replace(microsecond=0)
            return self._by_rhythm(start) if self._keeps_rhythm else self._by_wall_clock(start)
        except (ValueError, OverflowError):  # no match in 50 years; the end of the calendar
            return None

    def _by_wall_clock(self, after: datetime) -> datetime:
        instant, local = after, wall_clock(after, self._zone)
        while instant <= after:  # the second pass of a repeated hour, which fired in the first
            local = self._next_match(local)
            instant = real_time(local, self._zone)
        return instant

    def _by_rhythm(self, after: datetime) -> datetime | None:
        start, since = after, after
        while start.year - after.year <= YEARS_BETWEEN_MATCHES:
            offset = offset_at(start, self._zone)
            match = self._next_match((since + offset).replace(tzinfo=None))
            instant = match.replace(tzinfo=UTC) - offset
            start = steady_until(start, self._zone)
            if instant < start:
                return instant
            since = start - _SECOND  # a match at the very change counts
        return None

    def _next_match(self, local: datetime) -> datetime:
        with self._lock:  # croniter keeps its position in itself
            return self._cron.get_next(datetime, start_time=local)


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


def first_from(trigger: Trigger, instant: datetime) -> datetime | None:
    """The first occurrence at an instant or after it; None as for `next_after`."""
    return next_after(trigger, instant - _MILLISECOND)


def last_before(trigger: Trigger, instant: datetime, since: datetime) -> datetime | None:
    """The last occurrence before an instant and not before `since`; None when there is none.

    Schedules are computed forward only, so it is closed in upon: some thirty steps for ten years.
    """
    last = first_from(trigger, since)
    if last is None or last >= instant:
        return None
    high = instant
    while (following := next_after(trigger, last)) is not None and following < instant:
        middle = following + (high - following) / 2
        beyond = next_after(trigger, middle)
        if beyond is not None and beyond < instant:
            last = beyond
        else:
            last, high = following, middle
    return last


MOST_TIMES = 60
"""So many local times are told of one change of the clocks, at most."""
MOST_CHANGES = 20


class Fire(Struct, frozen=True, gc=False, kw_only=True):
    """An occurrence, in UTC and as the clocks of its zone show it (with their offset)."""

    due_at: datetime
    local: datetime


class AffectedTimes(Struct, frozen=True, kw_only=True):
    """A change of the clocks and the local times of a schedule that it concerns: the first 60 of `total`."""

    change: ClockChange
    times: tuple[AffectedTime, ...]
    total: int


class Preview(Struct, frozen=True, kw_only=True):
    """The next occurrences of a trigger; `more`: others follow."""

    fires: tuple[Fire, ...]
    more: bool
    clock_changes: tuple[AffectedTimes, ...]


def preview(trigger: Trigger, after: datetime, limit: int) -> Preview:
    """Up to `limit` occurrences of an validated trigger after an instant, and no more than its `max_runs`."""
    found = list(islice(_following(trigger, after), min(limit + 1, trigger.max_runs or limit + 1)))
    zone = ZoneInfo(trigger.timezone)
    fires = tuple(Fire(due_at=each, local=each.astimezone(zone)) for each in found[:limit])
    changes = islice(changes_between(trigger, after, fires[-1].due_at), MOST_CHANGES) if fires else ()
    return Preview(fires=fires, more=len(found) > limit, clock_changes=tuple(changes))


def changes_between(trigger: Trigger, after: datetime, until: datetime) -> Iterator[AffectedTimes]:
    """Every change with after < t <= until that concerns a schedule; only crons go by clocks."""
    if not isinstance(trigger, Cron):
        return
    for change in clock_changes(trigger.timezone, after, until):
        times = tuple(affected_times(trigger, change))
        if times:
            yield AffectedTimes(change=change, times=times[:MOST_TIMES], total=len(times))


def _following(trigger: Trigger, after: datetime) -> Iterator[datetime]:
    instant = next_after(trigger, after)
    while instant is not None:
        yield instant
        instant = next_after(trigger, instant)
