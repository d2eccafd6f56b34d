"""When a trigger is due, in real time.

A cron expression is matched against its zone's wall clock, and clocks are moved. As in Debian's cron, a
schedule of fixed times keeps its number of runs: a time that does not exist fires at the first valid instant
after the gap, one that exists twice fires once, at the first. A schedule whose minute or hour starts with `*`
keeps its rhythm: it fires whenever the clock shows a match, in both passes of a repeated hour.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, assert_never
from zoneinfo import ZoneInfo

from domain.cron import YEARS_BETWEEN_MATCHES, NeverFires, fields_of, parse
from domain.definition import Cron, OneOff, Trigger
from domain.local_time import offset_at, real_time, steady_until, wall_clock

if TYPE_CHECKING:
    from collections.abc import Iterator

_SECOND = timedelta(seconds=1)


def next_after(trigger: Trigger, after: datetime) -> datetime | None:
    """The first instant strictly after `after`, in UTC.

    None: the one-off is not after it, or the cron has no occurrence within 50 years or before year 9999.
    """
    match trigger:
        case OneOff():
            instant = instant_of(trigger)
            return instant if instant > after else None
        case Cron():
            return _next_after(trigger.cron, trigger.timezone, after)
        case _:
            assert_never(trigger)


def first_due(trigger: Trigger, now: datetime) -> datetime:
    """Where a new task starts: a one-off at its instant, even if past; a cron at its first one after now.

    Raises `NeverFires`, which admission has excluded.
    """
    match trigger:
        case OneOff():
            return instant_of(trigger)
        case Cron():
            instant = next_after(trigger, now)
            if instant is None:
                raise NeverFires(trigger.cron)
            return instant
        case _:
            assert_never(trigger)


def occurrences_between(trigger: Cron, after: datetime, until: datetime) -> Iterator[datetime]:
    """Every occurrence with after < t <= until, in order, found one at a time."""
    timetable = _timetable(trigger.cron, trigger.timezone)
    instant = timetable.next_after(after)
    while instant is not None and instant <= until:
        yield instant
        instant = timetable.next_after(instant)


def instant_of(trigger: OneOff) -> datetime:
    """The one-off's instant in UTC; without an offset it is local time of the trigger's zone."""
    if trigger.datetime.tzinfo is not None:
        return trigger.datetime.astimezone(UTC)
    return real_time(trigger.datetime, ZoneInfo(trigger.timezone))


@lru_cache(maxsize=16_384)
def _next_after(expression: str, timezone: str, after: datetime) -> datetime | None:
    """Many tasks share an expression and are due together: all but the first find the answer here."""
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
