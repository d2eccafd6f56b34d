"""IANA zones: from local to real time through gaps and repeats, and when a zone changes its offset."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

_SECOND = timedelta(seconds=1)
_DAY = timedelta(days=1)
_LONGEST_NAME = 64
_MACHINE_DEPENDENT = {"localtime", "Factory"}


@lru_cache(maxsize=1)
def known_zones() -> frozenset[str]:
    """Names that mean the same zone on every machine; no other name ever reaches the file system."""
    return frozenset(available_timezones() - _MACHINE_DEPENDENT)


def similar_zones(name: str) -> list[str]:
    """At most three known names that the writer may have meant: another case, the city alone, a slip."""
    wanted = name[:_LONGEST_NAME].casefold().replace(" ", "_")
    spelled = {zone.casefold(): zone for zone in sorted(known_zones())}
    exact = [zone for folded, zone in spelled.items() if wanted in (folded, folded.rpartition("/")[2])]
    return exact[:3] or [spelled[folded] for folded in get_close_matches(wanted, spelled, n=3, cutoff=0.7)]


def real_time(local: datetime, zone: ZoneInfo) -> datetime:
    """The instant, in UTC, of a wall clock's time (naive).

    One that a gap leaves out is the first valid instant after the gap; one that exists twice is the first.
    Raises `OverflowError` at the ends of the calendar.
    """
    instant = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if wall_clock(instant, zone) == local:
        return instant
    return _change_between(local.replace(tzinfo=zone, fold=1).astimezone(UTC), instant, zone)


def wall_clock(instant: datetime, zone: ZoneInfo) -> datetime:
    """What a clock in the zone shows at an instant (naive). Raises `OverflowError` as `real_time` does."""
    return instant.astimezone(zone).replace(tzinfo=None, fold=0)


def offset_at(instant: datetime, zone: ZoneInfo) -> timedelta:
    """How far the zone's clocks are ahead of UTC at an instant."""
    return instant.astimezone(zone).utcoffset() or timedelta()


def steady_until(instant: datetime, zone: ZoneInfo) -> datetime:
    """The first instant after this one from which on the offset may differ: a change, or a new year."""
    changes = _changes_in(zone, instant.year)
    return next(
        (change for change in changes if change > instant), datetime(instant.year + 1, 1, 1, tzinfo=UTC)
    )


@lru_cache(maxsize=4096)
def _changes_in(zone: ZoneInfo, year: int) -> tuple[datetime, ...]:
    """Every change of offset after the year began, up to and including the start of the next, in UTC.

    Looking once a day finds them all: the closest changes of any zone are four days apart (Freetown, 1939).
    """
    start = datetime(year, 1, 1, tzinfo=UTC)
    days = [start + _DAY * day for day in range((start.replace(year=year + 1) - start).days + 1)]
    return tuple(
        _change_between(before, after, zone)
        for before, after in pairwise(days)
        if offset_at(before, zone) != offset_at(after, zone)
    )


def _change_between(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """The second at which the offset changed, given instants on both sides of one change."""
    low, high = before.replace(microsecond=0), after.replace(microsecond=0)
    old = offset_at(low, zone)
    while high - low > _SECOND:
        middle = low + (high - low) // _SECOND // 2 * _SECOND
        low, high = (middle, high) if offset_at(middle, zone) == old else (low, middle)
    return high
