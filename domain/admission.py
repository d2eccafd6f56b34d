"""Which definitions are admitted: every rule is checked, and every broken one is named at once."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, assert_never

from msgspec.structs import replace

from domain.admission_action import action_errors, normal_action
from domain.cron import BadCron, NeverFires, check_cron
from domain.definition import Cron, Definition, OneOff, RetryPolicy, Trigger
from domain.errors import FieldError, Inadmissible
from domain.local_time import known_zones, similar_zones
from domain.schedule import instant_of, next_after
from domain.wording import pointer, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_NAME = 255
LATEST_YEAR = 9998
LATE_BY = timedelta(seconds=60)
"""How far in the past a new one-off may lie: clocks differ, and requests take time. It is due at once."""

# Control characters, lone surrogates, line and paragraph separators: they break logs, or cannot be stored.
_UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}


def admit(definition: Definition, now: datetime, *, current: Trigger | None = None) -> Definition:
    """The definition in normal form, or `Inadmissible` with all its errors.

    Normal form: a one-off's instant in UTC, cut to milliseconds (without an offset it is read as local time
    of its zone, as `local_time.real_time` does); single blanks in a cron; the method in upper case; header
    values without surrounding blanks. Admitting it again changes nothing.

    `current` is the trigger of the task that the definition replaces: left as it is, it may lie in the past.
    """
    errors = [
        *_name_errors(definition.name),
        *_trigger_errors(definition.trigger, now, current),
        *action_errors(definition.action),
        *_retry_errors(definition.retry),
    ]
    if errors:
        raise Inadmissible(errors)
    return replace(
        definition, trigger=_normal_trigger(definition.trigger), action=normal_action(definition.action)
    )


def _name_errors(name: str) -> Iterator[FieldError]:
    where = pointer("name")
    if not name.strip():
        yield FieldError(pointer=where, detail="The name is blank; give 1 to 255 characters.")
    elif len(name) > LONGEST_NAME:
        yield FieldError(pointer=where, detail=f"The name has {len(name)} characters; give at most 255.")
    elif strange := [mark for mark in name if unicodedata.category(mark) in _UNPRINTABLE]:
        detail = f"The name contains the character {shown(strange[0])}; leave out control characters."
        yield FieldError(pointer=where, detail=detail)


def _trigger_errors(trigger: Trigger, now: datetime, current: Trigger | None) -> Iterator[FieldError]:
    zone_is_known = trigger.timezone in known_zones()
    if not zone_is_known:
        yield FieldError(pointer=pointer("trigger", "timezone"), detail=_zone_advice(trigger.timezone))
    match trigger:
        case OneOff():
            if zone_is_known and (detail := _one_off_advice(trigger, now, current)):
                yield FieldError(pointer=pointer("trigger", "datetime"), detail=detail)
        case Cron():
            try:
                check_cron(trigger.cron)
                if zone_is_known and next_after(trigger, now) is None:
                    raise NeverFires(trigger.cron)
            except BadCron as bad:
                yield FieldError(pointer=pointer("trigger", "cron"), detail=bad.reason)
        case _:
            assert_never(trigger)


def _zone_advice(name: str) -> str:
    similar = " or ".join(similar_zones(name))
    advice = f"did you mean {similar}?" if similar else "give an IANA name such as Europe/Berlin, or UTC."
    return f"The time zone {shown(name)} is unknown; {advice}"


def _one_off_advice(trigger: OneOff, now: datetime, current: Trigger | None) -> str | None:
    try:
        instant = _whole_milliseconds(instant_of(trigger))
    except OverflowError:
        instant = None
    given = shown(trigger.datetime.isoformat())
    if instant is None or instant.year > LATEST_YEAR:
        return f"The datetime {given} is out of reach; give one from now to the year {LATEST_YEAR}."
    if instant < now - LATE_BY and _normal_trigger(trigger) != current:
        earliest = now.astimezone(UTC).isoformat(timespec="seconds")
        return f"The datetime {given} is in the past; give one that is not more than 60 s before {earliest}."
    return None


def _normal_trigger(trigger: Trigger) -> Trigger:
    match trigger:
        case OneOff():
            return replace(trigger, datetime=_whole_milliseconds(instant_of(trigger)))
        case Cron():
            return replace(trigger, cron=" ".join(trigger.cron.split()))
        case _:
            assert_never(trigger)


def _whole_milliseconds(instant: datetime) -> datetime:
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)


def _retry_errors(retry: RetryPolicy) -> Iterator[FieldError]:
    initial, longest = retry.initial_delay_seconds, retry.max_delay_seconds
    limits = (
        ("max_attempts", retry.max_attempts, 1, 100),
        ("initial_delay_seconds", initial, 0, 86_400),
        ("multiplier", retry.multiplier, 1, 10),
        ("max_delay_seconds", longest, 0, 604_800),
    )
    for name, value, least, most in limits:
        if not least <= value <= most:
            detail = f"{name} {shown(value)} is out of range; give {least} to {most}."
            yield FieldError(pointer=pointer("retry", name), detail=detail)
    if 0 <= longest < initial <= 86_400:
        detail = (
            f"max_delay_seconds {shown(longest)} is less than initial_delay_seconds; give at least {initial}."
        )
        yield FieldError(pointer=pointer("retry", "max_delay_seconds"), detail=detail)
