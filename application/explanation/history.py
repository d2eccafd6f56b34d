"""A task's past as its stream tells it: which schedule was in force, from where and until when."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from application.explanation.account import decided_at
from application.ports import Recorded
from application.streams import task_states
from domain.definition import Definition, Trigger
from domain.facts import (
    TaskCompleted,
    TaskCreated,
    TaskFailuresCounted,
    TaskPaused,
    TaskResumed,
    TaskUpdated,
)
from domain.identity import due_at_of
from domain.neighbours import first_from, last_before
from domain.task import Over, Placed, Task

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID


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
        if stints and stints[-1].closed is None and (placed or isinstance(task, Over)):
            stints[-1] = replace(stints[-1], closed=event)
        if isinstance(task, Placed) and placed:
            stints.append(Stint(trigger=task.definition.trigger, placed_at=task.placed_at, opened=event))
    if task is None:
        return None
    return History(task=task, events=tuple(events), definitions=definitions, stints=tuple(stints))
