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
from threading import Lock
from typing import TYPE_CHECKING, assert_never
from zoneinfo import ZoneInfo

from domain.cron import YEARS_BETWEEN_MATCHES, fields_of, parse
from domain.definition import Cron, Interval, OneOff, Trigger
from domain.identity import milliseconds
from domain.local_time import offset_at, real_time, steady_until, wall_clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from uuid import UUID

_SECOND = timedelta(seconds=1)
_MILLISECOND = timedelta(milliseconds=1)
_MICROSECOND = timedelta(microseconds=1)


class NothingAhead(ValueError):
    """The trigger has no occurrence after an instant; admission refuses such a one."""


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

    Raises `NothingAhead`, which admission has excluded.
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
    assert trigger.anchor is not None, "admission gives every interval an anchor"
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
