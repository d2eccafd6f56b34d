"""What the log knows of a schedule's other occurrences: they are claimed in their order."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

from msgspec import Struct

from application.ports import Recorded
from domain.facts import (
    ExecutionQueued,
    ExecutionRequested,
    ExecutionSkipped,
    ExecutionStarted,
    Occurrence,
)
from domain.identity import execution_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from application.explanation.history import Stint

_STEP = timedelta(milliseconds=1)
_ABOUT_AN_OCCURRENCE = (ExecutionRequested, ExecutionQueued, ExecutionStarted, ExecutionSkipped)


class Streams(Protocol):
    """The reading side of the log."""

    async def read_stream(self, stream: UUID) -> Sequence[Recorded]:
        """Every fact of a stream in order; empty when there is none. Raises `LogUnavailable`."""
        ...


class Now(Protocol):
    """The time."""

    def now(self) -> datetime:
        """The instant that counts as the present, UTC."""
        ...


class LastClaim(Struct, frozen=True):
    """A claim after which its task has no further place."""

    event: Recorded
    occurrence: Occurrence


class Claims:
    """The claims of one stint of a task. Every method raises `LogUnavailable`."""

    def __init__(self, log: Streams, task_id: UUID, stint: Stint) -> None:
        self._log = log
        self._task_id = task_id
        self._stint = stint

    async def after(self, instant: datetime, now: datetime) -> Recorded | None:
        """A claim of a later occurrence though there is none of this one; the next and the last due are seen.

        Runs that users asked for out of turn do not count.
        """
        following = self._stint.first_from(instant + _STEP)
        last = self._stint.last_before(now)
        for due_at in dict.fromkeys(
            each for each in (following, last) if each is not None and each > instant
        ):
            events = await self._facts(due_at)
            if events and not isinstance(events[0].fact, ExecutionRequested):
                # Both may have been recorded together after this one was looked for.
                return None if await self._facts(instant) else events[0]
        return None

    async def last_allowed(self, now: datetime) -> LastClaim | None:
        """The claim that `max_runs` let be the last, of a schedule that is not closed yet."""
        if self._stint.trigger.max_runs is None or self._stint.closed is not None:
            return None
        for event in await self._facts(await self._furthest(now)):
            fact = event.fact
            if not isinstance(fact, ExecutionStarted | ExecutionQueued):
                continue
            # A run out of turn names no next place either.
            if fact.next_run_at is None and fact.occurrence.kind == "scheduled":
                return LastClaim(event, fact.occurrence)
        return None

    async def _furthest(self, now: datetime) -> datetime:
        """The last occurrence that facts tell of, closed in upon; the first one when there is none."""
        known, limit = self._stint.placed_at, self._stint.last_before(now + _STEP)
        while limit is not None and known < limit:
            middle = self._stint.last_before(known + (limit - known) / 2 + _STEP)
            probe = limit if middle is None or middle <= known else middle
            if await self._facts(probe):
                known = probe
            else:
                limit = self._stint.last_before(probe)
        return known

    async def _facts(self, due_at: datetime) -> Sequence[Recorded]:
        return await self._log.read_stream(execution_id(self._task_id, due_at, "scheduled"))


def occurrence_of(events: Sequence[Recorded]) -> Occurrence | None:
    """The occurrence that an execution's stream is about; None when it does not say."""
    for event in events:
        if isinstance(event.fact, _ABOUT_AN_OCCURRENCE):
            return event.fact.occurrence
    return None
