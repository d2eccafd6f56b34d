"""The occurrence next to an instant, in the direction in which schedules are not computed."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from domain.schedule import next_after

if TYPE_CHECKING:
    from datetime import datetime

    from domain.definition import Trigger

_MILLISECOND = timedelta(milliseconds=1)


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
