"""Which of the occurrences that are due has its turn, and which of them do not run: the catch-up policy."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, assert_never

from msgspec import Struct

from domain.facts import SkippedBy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from domain.due import Due

# A minute's schedule that was down for a week has missed 10,080 occurrences: they are recorded in portions.
MAX_SKIPPED = 500
# Who restarts a scheduler, or lets another node take over, has not missed what fell due meanwhile.
LATE_AFTER = timedelta(seconds=60)


class Missed(Struct, frozen=True, gc=False):
    """An occurrence that does not run, why, by which policy, and the one that follows it."""

    due_at: datetime
    reason: str
    by: SkippedBy
    following: datetime | None


class Turn(Struct, frozen=True, gc=False):
    """What comes next of a task: those `missed`, oldest first, then the one whose turn it is.

    `due_at` None: nothing has its turn, yet. `following` is where the task stands after all of these.
    """

    missed: tuple[Missed, ...]
    due_at: datetime | None
    following: datetime | None


type Place = tuple[datetime, datetime | None]
"""An occurrence, and the one that follows it."""
type Reason = Callable[[datetime, datetime | None], str | None]
"""Why an occurrence does not run, given the one that follows it if that is due, too; None: it does."""


def next_turn(due: Due, now: datetime) -> Turn:
    """The turn of a task that is due, in portions of 500 missed occurrences.

    The work is bounded by that and by the policy's `max_runs`, however long nobody has claimed anything.
    """
    why = _reason(due, now)
    missed: list[Missed] = []
    due_at, following = due.due_at, due.after(due.due_at)
    while reason := why(due_at, _if_due(due, following, now)):
        if len(missed) == MAX_SKIPPED:
            return Turn(tuple(missed), None, due_at)
        missed.append(_missed(due, due_at, reason, following))
        if following is None or due.fires_at(following) > now:
            return Turn(tuple(missed), None, following)
        due_at, following = following, due.after(following)
    return Turn(tuple(missed), due_at, following)


def portion(due: Due, due_at: datetime, now: datetime) -> Iterator[Place]:
    """The occurrence whose turn it is, and those after it that are due: up to 500."""
    return islice(_due_from(due, due_at, now), MAX_SKIPPED)


def _due_from(due: Due, due_at: datetime | None, now: datetime) -> Iterator[Place]:
    while due_at is not None:
        following = due.after(due_at)
        yield due_at, following
        due_at = _if_due(due, following, now)


def _if_due(due: Due, due_at: datetime | None, now: datetime) -> datetime | None:
    return due_at if due_at is not None and due.fires_at(due_at) <= now else None


def _missed(due: Due, due_at: datetime, reason: str, following: datetime | None) -> Missed:
    pause = due.pause
    if pause is None or not due.in_pause(due_at):
        return Missed(due_at, reason, "catch_up", following)
    paused = f"the task was paused (from {pause.since.isoformat()} to {pause.until.isoformat()})"
    return Missed(due_at, paused, "pause", following)


def _reason(due: Due, now: datetime) -> Reason:
    policy = due.definition.catch_up
    match policy.mode:
        case "latest":
            return lambda due_at, newer: _overdue(newer) or _outside(due, due_at, now)
        case "skip":
            return lambda due_at, newer: _overdue(newer) or _late(due, due_at, now)
        case "all" if policy.max_runs is None:
            return lambda due_at, _: _outside(due, due_at, now)
        case "all":
            return _newest(due, policy.max_runs, now)
        case _:
            assert_never(policy.mode)


def _overdue(newer: datetime | None) -> str | None:
    if newer is None:
        return None
    return f"missed: not started before the next occurrence was due ({newer.isoformat()})"


def _late(due: Due, due_at: datetime, now: datetime) -> str | None:
    late = now - due.fires_at(due_at)
    if late <= LATE_AFTER and not due.in_pause(due_at):
        return None
    return f"missed: it could be started only {_seconds(late)} s late, and catch_up.mode is skip"


def _outside(due: Due, due_at: datetime, now: datetime) -> str | None:
    window = due.definition.catch_up.window_seconds
    if window is None or now - due.fires_at(due_at) <= timedelta(seconds=window):
        return None
    return f"missed: it was due longer ago than catch_up.window_seconds ({window})"


def _newest(due: Due, most: int, now: datetime) -> Reason:
    """Asked for one occurrence after the other, it looks `most` further ones ahead of each."""
    ahead = islice(_due_from(due, due.due_at, now), most, None)

    def reason(due_at: datetime, _: datetime | None) -> str | None:
        if next(ahead, None) is None:
            return _outside(due, due_at, now)
        return f"missed: more than the newest {most} occurrences were due (catch_up.max_runs)"

    return reason


def _seconds(span: timedelta) -> int:
    return span // timedelta(seconds=1)
