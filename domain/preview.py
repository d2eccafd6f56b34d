"""What a trigger comes to: its next instants, and what changes of its zone's clocks do to them."""

from __future__ import annotations

from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from msgspec import Struct

from domain.daylight import AffectedTime, ClockChange, affected_times, clock_changes
from domain.definition import Cron
from domain.schedule import next_after

if TYPE_CHECKING:
    from collections.abc import Iterator

    from domain.definition import Trigger

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
    """Up to `limit` occurrences of an admitted trigger after an instant, and no more than its `max_runs`."""
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
