"""Which triggers are valid, and how they are stored: every instant explicit, in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, assert_never

from msgspec.structs import replace

from domain.cron import BadCron, NeverFires, check_cron
from domain.definition import Cron, Interval, OneOff, Trigger
from domain.errors import FieldError, pointer, shown
from domain.schedule import absolute, next_after
from domain.timezones import known_zones, similar_zones

if TYPE_CHECKING:
    from collections.abc import Iterator

EARLIEST_YEAR, LATEST_YEAR = 1970, 9998
LATE_BY = timedelta(seconds=60)
"""How far in the past a new one-off may lie: clocks differ, and requests take time. It is due at once."""

LONGEST_INTERVAL_SECONDS = 315_360_000  # ten years
LONGEST_JITTER_SECONDS = 86_400
MOST_RUNS = 1_000_000_000

_BOUNDS = ("start_at", "end_at", "anchor")


def judged_trigger(
    trigger: Trigger, now: datetime, current: Trigger | None
) -> tuple[Trigger, list[FieldError]]:
    """The trigger as it is stored, and what is wrong with it; it is left as it is where that bars the way.

    `current` is the one that it replaces, which may lie in the past.
    """
    errors = [*_zone_errors(trigger), *_rule_errors(trigger), *_limit_errors(trigger)]
    if trigger.timezone in known_zones():
        errors += _instant_errors(trigger)
    if errors:
        return trigger, errors
    normal = _normal_trigger(trigger, now, current)
    return normal, [] if normal == current else [*_emptiness(normal, now)]


def _normal_trigger(trigger: Trigger, now: datetime, current: Trigger | None) -> Trigger:
    """An admissible trigger as it is stored: instants in UTC and whole milliseconds, single blanks in a cron.

    An interval without an anchor gets its `start_at`, else now; or the anchor of the one that it replaces,
    when that has the same pace and start: to send a definition again must not move its schedule.
    """
    given = {name: getattr(trigger, name, None) for name in _BOUNDS}
    moved = {name: _instant(value, trigger.timezone) for name, value in given.items() if value is not None}
    match trigger:
        case OneOff():
            return replace(trigger, datetime=_instant(trigger.datetime, trigger.timezone), **moved)
        case Cron():
            return replace(trigger, cron=" ".join(trigger.cron.split()), **moved)
        case Interval():
            return _anchored(replace(trigger, **moved), now, current)
        case _:
            assert_never(trigger)


def _anchored(trigger: Interval, now: datetime, current: Trigger | None) -> Interval:
    if trigger.anchor is not None:
        return trigger
    if isinstance(current, Interval) and (current.every_seconds, current.start_at) == (
        trigger.every_seconds,
        trigger.start_at,
    ):
        return replace(trigger, anchor=current.anchor)
    return replace(trigger, anchor=trigger.start_at or _whole_milliseconds(now.astimezone(UTC)))


def _zone_errors(trigger: Trigger) -> Iterator[FieldError]:
    if trigger.timezone not in known_zones():
        similar = " or ".join(similar_zones(trigger.timezone))
        advice = f"did you mean {similar}?" if similar else "give an IANA name such as Europe/Berlin, or UTC."
        yield _error("timezone", f"The time zone {shown(trigger.timezone)} is unknown; {advice}")


def _rule_errors(trigger: Trigger) -> Iterator[FieldError]:
    match trigger:
        case OneOff():
            return
        case Cron():
            try:
                check_cron(trigger.cron)
            except BadCron as bad:
                yield _error("cron", bad.reason)
        case Interval():
            yield from _range_errors("every_seconds", trigger.every_seconds, 1, LONGEST_INTERVAL_SECONDS)
            if 1 <= trigger.every_seconds < trigger.jitter_seconds <= LONGEST_JITTER_SECONDS:
                detail = (
                    f"The jitter is longer than the interval; give at most {trigger.every_seconds} seconds."
                )
                yield _error("jitter_seconds", detail)
        case _:
            assert_never(trigger)


def _limit_errors(trigger: Trigger) -> Iterator[FieldError]:
    if trigger.max_runs is not None:
        yield from _range_errors("max_runs", trigger.max_runs, 1, MOST_RUNS)
    yield from _range_errors("jitter_seconds", trigger.jitter_seconds, 0, LONGEST_JITTER_SECONDS)


def _range_errors(name: str, value: float, least: int, most: int) -> Iterator[FieldError]:
    if not least <= value <= most:
        yield _error(name, f"{name} {shown(value)} is out of range; give {least} to {most}.")


def _instant_errors(trigger: Trigger) -> Iterator[FieldError]:
    for name in ("datetime", *_BOUNDS):
        given = getattr(trigger, name, None)
        if given is not None and not _within_reach(given, trigger.timezone):
            since = "now" if name == "datetime" else f"the year {EARLIEST_YEAR}"
            advice = f"give one from {since} to the year {LATEST_YEAR}"
            yield _error(name, f"The {name} {shown(given.isoformat())} is out of reach; {advice}.")


def _within_reach(given: datetime, timezone: str) -> bool:
    try:
        return EARLIEST_YEAR <= absolute(given, timezone).year <= LATEST_YEAR
    except OverflowError:
        return False


def _emptiness(trigger: Trigger, now: datetime) -> Iterator[FieldError]:
    """What is wrong with a trigger in normal form that would never call anything."""
    if trigger.start_at and trigger.end_at and trigger.end_at < trigger.start_at:
        yield _error("end_at", f"end_at is before start_at; give {_shown(trigger.start_at)} or later.")
    elif isinstance(trigger, OneOff):
        yield from _one_off_errors(trigger, now)
    elif next_after(trigger, now) is None:
        if isinstance(trigger, Cron) and next_after(replace(trigger, end_at=None), now) is None:
            yield _error("cron", NeverFires(trigger.cron).reason)
        else:
            since = _shown(max(now, trigger.start_at or now))
            detail = f"No occurrence lies between {since} and end_at; give a later end_at, or leave it out."
            yield _error("end_at", detail)


def _one_off_errors(trigger: OneOff, now: datetime) -> Iterator[FieldError]:
    given = shown(trigger.datetime.isoformat())
    if trigger.datetime < now - LATE_BY:
        advice = f"give one that is not more than 60 s before {_shown(now)}"
        yield _error("datetime", f"The datetime {given} is in the past; {advice}.")
    if trigger.start_at and trigger.datetime < trigger.start_at:
        yield _error("start_at", f"start_at is after the datetime {given}; leave it out.")
    if trigger.end_at and trigger.datetime > trigger.end_at:
        yield _error("end_at", f"end_at is before the datetime {given}; leave it out.")


def _instant(given: datetime, timezone: str) -> datetime:
    return _whole_milliseconds(absolute(given, timezone))


def _whole_milliseconds(instant: datetime) -> datetime:
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)


def _shown(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="seconds")


def _error(name: str, detail: str) -> FieldError:
    return FieldError(pointer=pointer("trigger", name), detail=detail)
