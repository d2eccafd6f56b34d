"""How instants, spans and policies are put into words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, assert_never

import msgspec

from domain.attempt import Answered, Unanswered
from domain.definition import Bounds

if TYPE_CHECKING:
    from domain.attempt import Answer
    from domain.definition import RetryPolicy, Trigger

_SECOND = timedelta(seconds=1)
_RULES_OF_THEIR_OWN = frozenset({"on_gone", "disable_after_failures"})
_UNITS = (("d", timedelta(days=1)), ("h", timedelta(hours=1)), ("min", timedelta(minutes=1)), ("s", _SECOND))


def instant(moment: datetime) -> str:
    """UTC by ISO 8601, to the millisecond where it has any."""
    utc = moment.astimezone(UTC)
    return utc.isoformat(timespec="milliseconds" if utc.microsecond else "seconds").replace("+00:00", "Z")


def span(length: timedelta) -> str:
    """The two largest units of a time span that is not negative."""
    if length < _SECOND:
        return f"{length // timedelta(milliseconds=1)} ms"
    if length < timedelta(minutes=1):
        return f"{length / _SECOND:.1f} s".replace(".0 s", " s")
    counts: list[tuple[int, str]] = []
    for name, unit in _UNITS:
        count, length = divmod(length, unit)
        counts.append((count, name))
    first = next(place for place, (count, _) in enumerate(counts) if count)
    return " ".join(f"{count} {name}" for count, name in counts[first : first + 2] if count)


def seconds(count: float) -> str:
    """The same of a number of seconds."""
    return span(timedelta(seconds=count))


def counted(count: int, noun: str) -> str:
    """So many of something."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def schedule(trigger: Trigger) -> str:
    """A trigger by its stored members, so that one of a later kind is told as well."""
    members = _members(trigger)
    kind = members.pop("type")
    shared = Bounds.__struct_fields__
    ordered = sorted(members, key=lambda name: shared.index(name) if name in shared else -1)
    told = ", ".join(f"{name} {members[name]}" for name in ordered if members[name] != "0")
    return told if kind in members else f"{kind}: {told}"


def policy(retry: RetryPolicy) -> str:
    """A retry policy by its stored members, so that later ones are told as well.

    Those that decide about the task, and not about the next attempt, are rules of their own.
    """
    members = _members(retry)
    return ", ".join(f"{name} {members[name]}" for name in members if name not in _RULES_OF_THEIR_OWN)


def _members(stored: Trigger | RetryPolicy) -> dict[str, str]:
    plain = msgspec.to_builtins(stored)
    return {name: _told(value) for name, value in plain.items() if value is not None and value != ()}


def _told(value: object) -> str:
    match value:
        case float():
            return f"{value:g}"
        case tuple():
            return " ".join(map(str, value))
        case _:
            return str(value)


def answer(brought: Answer) -> str:
    """What a call brought."""
    match brought:
        case Answered(status_code=status):
            return f"the server answered with status {status}"
        case Unanswered(error=error):
            return f"there was no usable answer: {error}"
        case _:
            assert_never(brought)
