"""A task's past as its stream tells it: which schedule was in force, from where and until when."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from application.explanation import wording
from application.explanation.wording import decided_at
from application.ports import Recorded
from application.streams import task_states
from domain.definition import Definition, Trigger
from domain.facts import (
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionQueued,
    ExecutionRequested,
    ExecutionSkipped,
    ExecutionStarted,
    ExecutionSucceeded,
    Occurrence,
    TaskCompleted,
    TaskCreated,
    TaskFailuresCounted,
    TaskPaused,
    TaskResumed,
    TaskUpdated,
)
from domain.identity import due_at_of, execution_id
from domain.schedule import first_from, last_before
from domain.task import FinishedTask, Placed, Task

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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


_INSTANT = timedelta(microseconds=1)


class Stint(Struct, frozen=True, kw_only=True):
    """A time in which one schedule was in force: first due at `placed_at`, until it was `closed`."""

    trigger: Trigger
    placed_at: datetime
    opened: Recorded
    closed: Recorded | None = None

    @property
    def end(self) -> datetime | None:
        """The last instant at which something could fall due; None: it is still in force.

        The end of a schedule's last occurrence completes its task, and nothing falls due between the two.
        """
        if self.closed is None:
            return None
        fact = self.closed.fact
        return due_at_of(fact.execution_id) if isinstance(fact, TaskCompleted) else decided_at(self.closed)

    def first_from(self, instant: datetime) -> datetime | None:
        """The first occurrence at an instant or after it that fell due while this was in force."""
        if instant <= self.placed_at:
            return self._within(self.placed_at)
        return self._within(first_from(self.trigger, instant))

    def last_before(self, instant: datetime) -> datetime | None:
        """The last occurrence before an instant that fell due while this was in force."""
        if self.end is not None:
            instant = min(instant, self.end + _INSTANT)
        if instant <= self.placed_at:
            return None
        return last_before(self.trigger, instant, self.placed_at) or self.placed_at

    def includes(self, instant: datetime) -> bool:
        """Whether an instant is an occurrence that fell due while this was in force."""
        return self.first_from(instant) == instant

    def would_include(self, instant: datetime) -> bool:
        """Whether an instant would be an occurrence if this had stayed in force."""
        return replace(self, closed=None).includes(instant)

    def _within(self, instant: datetime | None) -> datetime | None:
        if instant is None or (self.end is not None and instant > self.end):
            return None
        return instant


class History(Struct, frozen=True, kw_only=True):
    """All of a task's stream: the state that it comes to, its definitions by version, and its stints."""

    task: Task
    events: tuple[Recorded, ...]
    definitions: dict[int, Definition]
    stints: tuple[Stint, ...]

    def stint_of(self, instant: datetime) -> Stint | None:
        """The latest stint that an instant is an occurrence of."""
        return next((stint for stint in reversed(self.stints) if stint.includes(instant)), None)

    def previous(self, instant: datetime) -> datetime | None:
        """The nearest occurrence before an instant."""
        found = (stint.last_before(instant) for stint in self.stints)
        return max((each for each in found if each is not None), default=None)

    def instants_before(self, instant: datetime, count: int) -> list[datetime]:
        """Up to so many occurrences before an instant, the nearest first."""
        found: list[datetime] = []
        while len(found) < count and (earlier := self.previous(instant)) is not None:
            found.append(earlier)
            instant = earlier
        return found

    def first_from(self, instant: datetime) -> datetime | None:
        """The nearest occurrence at an instant or after it."""
        found = (stint.first_from(instant) for stint in self.stints)
        return min((each for each in found if each is not None), default=None)

    def pause_of(self, instant: datetime) -> tuple[Recorded, ...]:
        """The events of the pause that an instant fell into: its beginning, and its end if it is over."""
        pauses: list[Recorded] = []
        for event in self.events:
            match event.fact:
                case TaskPaused(at=at) if at <= instant:
                    pauses = [event]
                case TaskResumed(at=at) if at <= instant:
                    pauses = []
                case TaskResumed() if len(pauses) == 1:
                    pauses.append(event)
                case _:
                    pass
        return tuple(pauses)

    def pause_within(self, start: Recorded, end: Recorded) -> tuple[Recorded, ...]:
        """The last pause that ended between two events: its beginning and its end."""
        pauses: list[tuple[Recorded, Recorded]] = []
        began: Recorded | None = None
        for event in self.events:
            match event.fact:
                case TaskPaused():
                    began = event
                case TaskResumed() if began is not None and start.position < event.position < end.position:
                    pauses.append((began, event))
                case _:
                    pass
        return pauses[-1] if pauses else ()

    def definition(self, version: int) -> Definition:
        """The definition that the task had at a version."""
        return self.definitions.get(version, self.task.definition)

    def definition_at(self, event: Recorded) -> Definition:
        """The definition that was in force when an execution's event was recorded."""
        versions = (each.version for each in reversed(self.events) if each.position < event.position)
        return self.definition(next(versions, 1))

    def defined_by(self, version: int | None = None) -> Recorded:
        """The event that gave the task the definition that is in force, or was at a version."""
        changes = [
            event for event in self.events[:version] if isinstance(event.fact, TaskCreated | TaskUpdated)
        ]
        return changes[-1]

    def ended_by(self) -> Recorded:
        """The event that ended a task that is over."""
        ends = [stint.closed for stint in self.stints if stint.closed is not None]
        return ends[-1]

    def beside(self, event: Recorded) -> tuple[Recorded, ...]:
        """The task's events that were appended together with an event, all or none, without that one."""
        command = event.meta.command_id
        return tuple(
            each
            for each in self.events
            if each.meta.command_id == command and each.position != event.position
        )

    def row_of_failures(self, last: Recorded) -> tuple[Recorded, ...]:
        """The counts of the executions that failed in a row, of which `last` is the last."""
        row: list[Recorded] = []
        for event in self.events[: last.version]:
            match event.fact:
                case TaskFailuresCounted(failures=failures) if failures > 0:
                    row.append(event)
                case TaskFailuresCounted() | TaskResumed() | TaskUpdated():
                    row.clear()
                case _:
                    pass
        return tuple(row)


def history_of(task_id: UUID, events: Sequence[Recorded]) -> History | None:
    """The history that a stream tells; None when it tells of no task. Raises `Unreadable`."""
    task: Task | None = None
    definitions: dict[int, Definition] = {}
    stints: list[Stint] = []
    for event, task in task_states(task_id, events):
        definitions[event.version] = task.definition
        placed = isinstance(task, Placed) and task.placed_in == task.version
        if stints and stints[-1].closed is None and (placed or isinstance(task, FinishedTask)):
            stints[-1] = replace(stints[-1], closed=event)
        if isinstance(task, Placed) and placed:
            stints.append(Stint(trigger=task.definition.trigger, placed_at=task.placed_at, opened=event))
    if task is None:
        return None
    return History(task=task, events=tuple(events), definitions=definitions, stints=tuple(stints))


_BEGINNINGS = (ExecutionStarted, ExecutionQueued)
_ENDS = (ExecutionSucceeded, ExecutionFailed, ExecutionCancelled, ExecutionSkipped)

LOOKED_BACK = 10
"""At so many instants a run is looked for that another one may have replaced."""


class Runs:
    """The streams of other executions."""

    def __init__(self, streams: Mapping[UUID, Sequence[Recorded]]) -> None:
        self._streams = streams

    def claim(self, run: UUID, before: Recorded | None = None) -> Recorded | None:
        """The event, before another one, that started a run; or queued it, as long as it waited itself."""
        return self._last(run, _BEGINNINGS, before)

    def end(self, run: UUID, before: Recorded) -> Recorded | None:
        """The event that ended a run, if it was over before another event."""
        return self._last(run, _ENDS, before)

    def cancelled_with(self, start: Recorded) -> list[Recorded]:
        """The ends of the runs whose place a started one took: they were appended together with its start."""
        return [
            event
            for events in self._streams.values()
            for event in events
            if isinstance(event.fact, ExecutionCancelled) and event.fact.replaced_by == start.stream
        ]

    def told(self, run: UUID, before: Recorded | None = None) -> str:
        """Which run it is, and who had claimed it when, if anybody had."""
        event = self.claim(run, before)
        if event is None or not isinstance(event.fact, ExecutionStarted):
            return named(run)
        return f"{named(run)}, which {event.fact.node} claimed at {wording.instant(decided_at(event))}"

    def _last(self, run: UUID, kinds: tuple[type, ...], before: Recorded | None) -> Recorded | None:
        found = [
            event
            for event in self._streams[run]
            if isinstance(event.fact, kinds) and (before is None or event.position < before.position)
        ]
        return found[-1] if found else None


def spoken_of(events: Sequence[Recorded]) -> set[UUID]:
    """The other executions that an execution's facts name."""
    return {run for event in events if (run := _other(event)) is not None}


def _other(event: Recorded) -> UUID | None:
    match event.fact:
        case ExecutionQueued(behind=run) | ExecutionSkipped(behind=run):
            return run
        case ExecutionCancelled(replaced_by=run):
            return run
        case _:
            return None


def perhaps_replaced(history: History, events: Sequence[Recorded]) -> set[UUID]:
    """The last ones before a started one that may have cancelled others: only their own facts tell it."""
    found: set[UUID] = set()
    for event in events:
        match event.fact:
            case ExecutionStarted(occurrence=Occurrence(kind="scheduled") as occurrence):
                overlap = history.definition(occurrence.task_version).overlap
                most = min(overlap.max_running or 1, LOOKED_BACK) if overlap.mode == "cancel_running" else 0
                found |= {
                    execution_id(history.task.id, due_at, "scheduled")
                    for due_at in history.instants_before(occurrence.due_at, most)
                }
            case _:
                pass
    return found


def named(run: UUID) -> str:
    """A run by its instant and its id."""
    return f"the run of {wording.instant(due_at_of(run))} (execution {run})"
