"""Where one task and its executions stand, as facts have it so far: those of the log, or simulated ones."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, assert_never

from domain import execution as executions
from domain import requesting as queueing
from domain import task as tasks
from domain.execution import Execution, FinishedExecution, Running
from domain.facts import (
    AttemptFailed,
    AttemptStarted,
    ExecutionCancelled,
    ExecutionFact,
    ExecutionFailed,
    ExecutionQueued,
    ExecutionRequested,
    ExecutionSkipped,
    ExecutionStarted,
    ExecutionSucceeded,
    ExecutionTakenOver,
    PlacingFact,
    TaskCancelled,
    TaskFact,
    TaskResumed,
    TaskUpdated,
)
from domain.overlap import ConcurrencyState, bound
from domain.task import Placed, Scheduled, Task

if TYPE_CHECKING:
    from uuid import UUID

SUPERSEDING = (TaskUpdated, TaskCancelled)
"""What makes claims outdated that were not sent."""
SIMULATED = 2**62
"""The position of what the log does not hold: after all that it holds at the same instant."""


class Key(NamedTuple):
    """A place in the order of what happens: when it was recorded, and where; the same for all of a group."""

    at: datetime
    position: int = SIMULATED


@dataclass
class State:
    """A task, where it stands in its schedule `since` when, and its executions, each by its id.

    `called` is the task that an execution was claimed from, `begun` when its last attempt was, `last`
    when its last fact was recorded, `placings` what it gave the task its next place with. `changed` is when
    the task was redefined or cancelled last, `ready` is which queued execution has room, and since when.
    `open` are those that are not over.
    """

    task: Task
    place: datetime | None
    since: datetime
    changed: datetime
    runs: int = 0
    executions: dict[UUID, Execution] = field(default_factory=dict)
    placings: dict[UUID, PlacingFact] = field(default_factory=dict)
    called: dict[UUID, Task] = field(default_factory=dict)
    begun: dict[UUID, datetime] = field(default_factory=dict)
    last: dict[UUID, datetime] = field(default_factory=dict)
    open: dict[UUID, None] = field(default_factory=dict)
    running: dict[UUID, None] = field(default_factory=dict)
    queued: dict[UUID, None] = field(default_factory=dict)
    ready: tuple[UUID, datetime] | None = None
    _open_runs: ConcurrencyState | None = None

    @classmethod
    def of(cls, task: Task, key: Key) -> State:
        """That of a task right after it was created."""
        place = task.placed_at if isinstance(task, Placed) else None
        return cls(task=task, place=place, since=key.at, changed=key.at)

    def copied(self) -> State:
        """Another one that goes its own way from here."""
        other = copy(self)
        for name in (
            "executions",
            "placings",
            "called",
            "begun",
            "last",
            "open",
            "running",
            "queued",
        ):
            setattr(other, name, dict(getattr(self, name)))
        return other

    @property
    def open_runs(self) -> ConcurrencyState:
        """What goes on of the scheduled executions, in the order in which it began.

        Where any number may go on, just the first of each: nobody asks for more, and they may be many.
        """
        if bound(self.task.definition) is None:
            return ConcurrencyState(tuple(islice(self.running, 1)), tuple(islice(self.queued, 1)))
        if self._open_runs is None:
            self._open_runs = ConcurrencyState(tuple(self.running), tuple(self.queued))
        return self._open_runs

    def move(self, place: datetime | None, at: datetime) -> None:
        """Stand at another occurrence from an instant on."""
        if place != self.place:
            self.place, self.since = place, at

    def tell_task(self, fact: TaskFact, key: Key) -> None:
        """A further fact about the task."""
        self.task = tasks.evolve(self.task, fact)
        if isinstance(fact, SUPERSEDING):
            self.changed = key.at
        if not isinstance(self.task, Placed):
            self.move(None, key.at)
        elif self.task.placed_in == self.task.version:
            self.move(self.task.placed_at, key.at)
            self.runs = self.task.placed_runs
        elif isinstance(fact, TaskResumed):
            self.since = key.at

    def tell(self, run: UUID, fact: ExecutionFact, key: Key) -> None:
        """A further fact about an execution."""
        before = self.executions.get(run)
        if before is not None:
            self.executions[run] = executions.evolve(before, fact)
        else:
            self.executions[run] = executions.begin(run, fact)  # type: ignore[arg-type]  # the first one
        self.last[run] = key.at
        if isinstance(self.executions[run], FinishedExecution):
            self.open.pop(run, None)
        else:
            self.open[run] = None
        match fact:
            case ExecutionStarted():
                self._begin(run, key.at)
                self._enter(run, fact, key)
            case ExecutionQueued():
                self._enter(run, fact, key)
            case ExecutionSkipped():
                self._leave(run)
                self._enter(run, fact, key)
            case AttemptStarted() | ExecutionTakenOver():
                same = isinstance(before, Running) and before.attempts == fact.number
                self._begin(run, None if same else key.at)
            case ExecutionSucceeded() | ExecutionFailed() | ExecutionCancelled():
                self._leave(run)
            case ExecutionRequested() | AttemptFailed():
                pass
            case _:
                assert_never(fact)

    def look_at_queue(self, at: datetime) -> None:
        """Whether the first in the queue has room by now."""
        first = next(iter(self.queued), None)
        if first is None or not queueing.moves(self.task, self.open_runs):
            self.ready = None
        elif self.ready is None or self.ready[0] != first:
            self.ready = first, at

    def _begin(self, run: UUID, at: datetime | None) -> None:
        """An attempt is claimed; None: the same one anew."""
        self.called[run] = self.task
        if at is not None:
            self.begun[run] = at

    def _leave(self, run: UUID) -> None:
        self._open_runs = None
        self.running.pop(run, None)
        self.queued.pop(run, None)

    def _enter(self, run: UUID, fact: PlacingFact, key: Key) -> None:
        """Only scheduled occurrences are counted, and give the task a place: forward within one version."""
        if fact.occurrence.kind != "scheduled":
            return
        self._leave(run)
        if isinstance(fact, ExecutionStarted):
            self.running[run] = None
        elif isinstance(fact, ExecutionQueued):
            self.queued[run] = None
        if not isinstance(fact, ExecutionSkipped) or run not in self.placings:
            self.placings[run] = fact
        if not isinstance(self.task, Scheduled) or fact.occurrence.task_version != self.task.version:
            return
        if self.place is not None and (fact.next_run_at is None or fact.next_run_at > self.place):
            self.runs = fact.occurrence.run
            self.move(fact.next_run_at, key.at)
