"""The state as of an earlier place in the log: what it is asked for, and how far it reaches."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import get_args
from uuid import UUID

from msgspec import Struct

from application.explanation.history import History, Stint, Streams
from application.ports import Recorded
from domain.facts import PlacingFact
from domain.identity import execution_id


class Moment(Struct, frozen=True, gc=False):
    """After the event at `position` (0: before the first), before the next one; `at` is an instant then."""

    position: int
    at: datetime


class NotYet(Exception):
    """What is asked for lies in the future; ask for an earlier instant or place."""


class TooMuchHistory(Exception):
    """More events would have to be folded than one answer is worth; ask for less."""


class Cut:
    """The streams of the log as they were at a moment."""

    def __init__(self, log: Streams, moment: Moment) -> None:
        self._log = log
        self._position = moment.position

    async def read_stream(self, stream: UUID) -> Sequence[Recorded]:
        """Every fact of a stream until then. Raises `LogUnavailable`."""
        events = await self._log.read_stream(stream)
        return [event for event in events if event.position <= self._position]


class Stopped:
    """`Now` of a moment."""

    def __init__(self, moment: Moment) -> None:
        self._now = moment.at

    def now(self) -> datetime:
        """The instant."""
        return self._now


_STEP = timedelta(milliseconds=1)
_PLACING = get_args(PlacingFact.__value__)


async def placing_events(log: Streams, history: History, at: datetime) -> Sequence[Recorded]:
    """The events of executions that gave a task the place where it stands at the instant `at`.

    None, when its own events did. Occurrences are claimed in their order, so the last one is closed in upon:
    two or three reads where the schedulers kept up, some dozens where they did not. Raises `LogUnavailable`.
    """
    stint = history.stints[-1]
    return () if stint.closed is not None else await _Claims(log, history.task.id, stint).last(at)


class _Claims:
    """The occurrences of a stint that have moved its task."""

    def __init__(self, log: Streams, task_id: UUID, stint: Stint) -> None:
        self._log = log
        self._task_id = task_id
        self._stint = stint
        self._read: dict[datetime, Sequence[Recorded]] = {}

    async def last(self, at: datetime) -> Sequence[Recorded]:
        """Those of the last one that was reached: beyond what is due by `at` only while a clock was wrong.

        In leaps: twice as long after each that led to one, half as long after each that did not.
        """
        due_at, leap = await self._near(at), _STEP
        while leap >= _STEP:
            ahead = self._stint.first_from(due_at + leap)
            if ahead is not None and await self._reached(ahead):
                due_at, leap = ahead, leap * 2
            else:
                leap /= 2
        return self._placing(await self._events(due_at))

    async def _near(self, at: datetime) -> datetime:
        """An occurrence that was reached, the last one up to `at` if possible; the first when none was."""
        low, high = self._stint.placed_at, at + _STEP
        for _ in range(2):
            newest = self._stint.last_before(high)
            if newest is None or newest <= low:
                return low
            if await self._reached(newest):
                return newest
            high = newest
        while high - low > _STEP:
            middle = low + max((high - low) / 2, _STEP)
            due_at = self._stint.first_from(middle)
            if due_at is not None and due_at < high and await self._reached(due_at):
                low = due_at
            else:
                high = middle
        return low

    async def _reached(self, due_at: datetime) -> bool:
        """Whether the task has moved beyond an occurrence.

        What users have had run out of turn is passed over, as schedulers do.
        """
        instant: datetime | None = due_at
        while instant is not None and (events := await self._events(instant)):
            if self._placing(events):
                return True
            instant = self._stint.first_from(instant + _STEP)
        return False

    def _placing(self, events: Sequence[Recorded]) -> Sequence[Recorded]:
        return [
            event
            for event in events
            if event.position > self._stint.opened.position
            and isinstance(event.fact, _PLACING)
            and event.fact.occurrence.kind == "scheduled"
        ]

    async def _events(self, due_at: datetime) -> Sequence[Recorded]:
        if due_at not in self._read:
            run = execution_id(self._task_id, due_at, "scheduled")
            self._read[due_at] = await self._log.read_stream(run)
        return self._read[due_at]
