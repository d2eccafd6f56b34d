"""Which task is due next: a heap of the near future, kept up to date by the facts of the log."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from msgspec.structs import replace

from application.ports import Undecodable
from application.scheduler.timing import retry_pause
from domain.execution import FinishedExecution, Requested
from domain.facts import (
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionQueued,
    ExecutionSkipped,
    ExecutionStarted,
    ExecutionSucceeded,
    TaskCancelled,
    TaskCompleted,
    TaskCreated,
    TaskFailuresCounted,
    TaskPaused,
    TaskUpdated,
)
from domain.overlap import NOTHING_OPEN, ConcurrencyState, bound
from domain.schedule import fires_at

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence
    from datetime import datetime
    from uuid import UUID

    from application.ports import DueTask, Open, Recorded, SchedulePosition
    from domain.definition import Definition
    from domain.execution import Execution
    from domain.facts import PlacingFact
    from domain.task import Pause

# More than these are dropped at once, and come back with the refill unless the projector is behind by then.
MAX_ASIDE = 50_000
# Tasks have as many different policies as there are people who think about them.
_KEPT = 4_096


def shared(definition: Definition) -> Definition:
    """An equal definition whose policies are those of other definitions, where these are equal."""
    success = definition.success
    return replace(
        definition,
        retry=_first(definition.retry),
        # What a JSON condition compares with may have no hash.
        success=_first(success) if success.json is None else success,
        catch_up=_first(definition.catch_up),
        overlap=_first(definition.overlap),
    )


@lru_cache(_KEPT)
def _first[T: Hashable](part: T) -> T:
    """The first of all equal parts."""
    return part


@dataclass(slots=True)
class Entry:
    """A task, at an occurrence, after so many `runs`; while that one is being claimed, it is not due.

    `fire_at` is when the call of that occurrence is to be sent: the index keeps tasks in this order.
    `throttled`: it is not due until it is put back, or something happens to it; `put_back`: it was, and has
    its
    turn now.
    `left_until`: it is left to somebody else, or to a later try, until then, however due it is. `learnt_at`:
    the log position that its place was learnt from, if that may be ahead of what has been followed.
    `errors`: how often claiming it at this place has ended in an error that nobody expected.
    """

    task_id: UUID
    version: int
    namespace: str
    definition: Definition
    due_at: datetime
    runs: int = 0
    claiming: bool = False
    throttled: bool = False
    put_back: bool = False
    left_until: datetime | None = None
    pause: Pause | None = None
    learnt_at: int = 0
    errors: int = 0
    fire_at: datetime = field(init=False)

    def __post_init__(self) -> None:
        self.definition = shared(self.definition)
        self.place(self.due_at, self.runs)

    def place(self, due_at: datetime, runs: int) -> None:
        """Stand at an occurrence of the definition."""
        self.due_at, self.runs, self.errors = due_at, runs, 0
        self.fire_at = fires_at(self.definition.trigger, self.task_id, due_at)

    @property
    def surfaces_at(self) -> datetime:
        """When it is to be looked at."""
        return self.left_until or self.fire_at


type Line = tuple[datetime, int, int]
"""When an entry surfaces, its priority, and the number of its task's id."""


class DueIndex:
    """Tasks due up to a horizon; what lies beyond is set aside, and dropped once the read model has it.

    Of what is due at one instant, the lowest priority number comes first. The horizon knows no priority: if
    it cuts through an instant, what comes back later is late whatever its priority.
    A stale line of the heap (its entry moved, went or has another priority) is recognised when it surfaces.
    While the read model is behind the log, nothing is dropped: the next refill might not bring it back.
    """

    def __init__(self) -> None:
        # By the numbers of task ids, which are hashed and compared in a third of the time.
        self._entries: dict[int, Entry] = {}
        self._heap: list[Line] = []
        self._left_heap: list[Line] = []
        self._left: set[int] = set()
        self._keeps_all = False
        self._aside: dict[int, tuple[int, Entry]] = {}
        self._refills = 0
        self._horizon: SchedulePosition | None = None

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def horizon(self) -> SchedulePosition | None:
        """Up to where tasks are kept; what was set aside comes back when that is moved past it."""
        return self._horizon

    @horizon.setter
    def horizon(self, horizon: SchedulePosition | None) -> None:
        self._horizon = horizon
        self._bring_back()

    def _bring_back(self) -> None:
        for _, entry in [*self._aside.values()]:
            if self._within(entry.fire_at, entry.task_id):
                self.put(entry)

    def get(self, task_id: UUID) -> Entry | None:
        """What is known of a task; None when it is beyond the horizon, or has nothing ahead."""
        return self._entries.get(task_id.int)

    def load(self, row: DueTask, position: int) -> None:
        """Take a row of the read model as of a position, unless more is known: a version's place only ever
        moves forward.
        """
        known = self._known(row.task_id)
        if known is None or (known.version, known.due_at) < (row.version, row.due_at):
            entry = Entry(row.task_id, row.version, row.namespace, row.definition, row.due_at, row.runs)
            entry.pause, entry.learnt_at = row.pause, position
            self.put(entry)

    def put(self, entry: Entry) -> None:
        """Make a task due at its place; beyond the horizon it is set aside."""
        self._aside.pop(entry.task_id.int, None)
        if not self._within(entry.fire_at, entry.task_id):
            self.remove(entry.task_id)
            if len(self._aside) < MAX_ASIDE:
                entry.claiming = False
                self._aside[entry.task_id.int] = self._refills, entry
            return
        entry.claiming = entry.throttled = entry.put_back = False
        entry.left_until = None
        number = entry.task_id.int
        self._left.discard(number)
        self._entries[number] = entry
        self._push(entry)

    def remove(self, task_id: UUID) -> None:
        """Forget a task."""
        self._entries.pop(task_id.int, None)
        self._aside.pop(task_id.int, None)
        self._left.discard(task_id.int)

    def keep_all(self) -> None:
        """Have no horizon until `keep_within`: the read model is behind the log and may lack something."""
        if not self._keeps_all:
            self._keeps_all = True
            self._bring_back()

    def begin_refill(self) -> None:
        """What is set aside from now on is not dropped by the `keep_within` that ends this refill."""
        self._refills += 1

    def keep_within(self) -> None:
        """Drop what lies beyond the horizon and was set aside before this refill: the read model has it."""
        aside = self._aside.items()
        self._aside = {number: each for number, each in aside if each[0] >= self._refills}
        if self._keeps_all:
            self._keeps_all = False
            beyond = [each for each in self._entries.values() if not self._within(each.fire_at, each.task_id)]
            for entry in beyond:
                if not entry.claiming:
                    self.remove(entry.task_id)

    def retry(self, entry: Entry, now: datetime) -> None:
        """Have a popped task surface again after an error: in 1 s, 2 s, 4 s … 60 s. Nothing is given up.

        Does nothing for a task that has moved on or ended since it was popped.
        """
        if self.claiming(entry):
            self.leave(entry, now + retry_pause(entry.errors))
            entry.errors += 1

    def leave(self, entry: Entry, until: datetime) -> None:
        """Leave a popped task to somebody else: it surfaces again only if it has not moved on by then."""
        entry.claiming, entry.left_until = False, until
        self._left.add(entry.task_id.int)
        self._push(entry)

    def throttle(self, entry: Entry) -> None:
        """Have a popped task surface only when it is put back, moves or is defined anew."""
        entry.claiming, entry.throttled = False, True

    def release(self, entry: Entry) -> None:
        """Put a task back, if it is still throttled."""
        if entry.throttled and self._entries.get(entry.task_id.int) is entry:
            self.put(entry)
            entry.put_back = True

    def recall(self) -> None:
        """Have everything that was left to others surface again."""
        for number in list(self._left):
            self.put(self._entries[number])

    def task_ids(self) -> Iterable[UUID]:
        """The tasks that are known."""
        return (entry.task_id for entry in self._entries.values())

    def next_due(self) -> datetime | None:
        """The earliest instant at which something is to be looked at."""
        heap = self._next_heap()
        return heap[0][0] if heap else None

    def next_early(self) -> datetime | None:
        """The earliest instant of what was left to nobody."""
        return self._heap[0][0] if self._is_current(self._heap) else None

    def pop(self, until: datetime, limit: int) -> list[Entry]:
        """Take up to `limit` tasks due by an instant, in order; they stay known, as being claimed.

        Also what was left to others until then.
        """
        due: list[Entry] = []
        while len(due) < limit and (heap := self._next_heap()) and heap[0][0] <= until:
            due.append(self._take(heap))
        return due

    def pop_early(self, until: datetime, limit: int) -> list[Entry]:
        """As `pop`, but nothing that was left to others."""
        early: list[Entry] = []
        while len(early) < limit and self._is_current(self._heap) and self._heap[0][0] <= until:
            early.append(self._take(self._heap))
        return early

    def claiming(self, entry: Entry) -> bool:
        """Whether nothing has moved or ended a task since it was popped."""
        return entry.claiming and self._entries.get(entry.task_id.int) is entry

    def settle(
        self, entry: Entry, due_at: datetime | None, runs: int | None = None, *, learnt_at: int = 0
    ) -> None:
        """Give a popped task its next place (None: it has none), unless a newer fact has done so.

        `runs` None: as many as before. `learnt_at` is the position of what was read to find the place.
        """
        if self.claiming(entry):
            entry.learnt_at = max(entry.learnt_at, learnt_at)
            self._move(entry, due_at, entry.runs if runs is None else runs)

    def apply(self, event: Recorded) -> bool:
        """Follow one fact of the log; what is known already changes nothing.

        False: the fact gives a place to a task of which too little is known here; read it and `put` it.
        """
        fact = event.fact
        match fact:
            case ExecutionStarted() | ExecutionQueued() | ExecutionSkipped():
                self.advance(fact)
            case ExecutionSucceeded():
                pass  # every second fact that is followed is one: said first, so as to be quick
            case TaskCreated():
                if event.stream.int not in self._entries:
                    self.put(Entry(event.stream, 1, fact.namespace, fact.definition, fact.next_run_at))
            case TaskUpdated():
                return self._redefine(event, fact)
            case TaskPaused() | TaskCancelled() | TaskCompleted() | Undecodable():
                if not self._knows(event):
                    self.remove(event.stream)
            case TaskFailuresCounted():
                self._count(event)
            case _:
                pass
        return True

    def advance(self, fact: PlacingFact) -> None:
        """Somebody claimed, queued or skipped an occurrence: go on to the one that the fact names."""
        occurrence = fact.occurrence
        known = self._known(occurrence.task_id)
        if (
            known is not None
            and occurrence.kind == "scheduled"
            and known.version == occurrence.task_version
            and known.due_at <= occurrence.due_at
        ):
            self._move(known, fact.next_run_at, occurrence.run)

    def _redefine(self, event: Recorded, fact: TaskUpdated) -> bool:
        known = self._known(event.stream)
        if known is None:
            return fact.next_run_at is None or not self._within(fact.next_run_at, event.stream)
        if known.version < event.version:
            known.version, known.definition = event.version, shared(fact.definition)
            if fact.next_run_at is not None:
                self._move(known, fact.next_run_at, fact.runs)
            elif event.stream.int in self._entries:
                self._push(known)  # its priority may be another
        return True

    def _knows(self, event: Recorded) -> bool:
        """Whether a task is known as it was after an event, or later: from a row that was ahead of it."""
        known = self._known(event.stream)
        return known is not None and known.version >= event.version

    def _known(self, task_id: UUID) -> Entry | None:
        """A task of the index, or one that has been set aside."""
        number = task_id.int
        if (known := self._entries.get(number)) is None and (aside := self._aside.get(number)) is not None:
            return aside[1]
        return known

    def _count(self, event: Recorded) -> None:
        known = self._known(event.stream)
        if known is not None:
            known.version = max(known.version, event.version)

    def _move(self, entry: Entry, due_at: datetime | None, runs: int) -> None:
        if due_at is None:
            self.remove(entry.task_id)
        else:
            entry.place(due_at, runs)
            self.put(entry)

    def _push(self, entry: Entry) -> None:
        heap = self._heap if entry.left_until is None else self._left_heap
        heapq.heappush(heap, (entry.surfaces_at, entry.definition.priority, entry.task_id.int))

    def _next_heap(self) -> list[Line] | None:
        """The heap that the first line of all is on."""
        due = self._is_current(self._heap)
        if self._is_current(self._left_heap) and not (due and self._heap[0] < self._left_heap[0]):
            return self._left_heap
        return self._heap if due else None

    def _is_current(self, heap: list[Line]) -> bool:
        """Whether there is a first line; stale ones before it go."""
        while heap:
            surfaces_at, priority, number = heap[0]
            entry = self._entries.get(number)
            if (
                entry is not None
                and not entry.claiming
                and entry.surfaces_at == surfaces_at
                and entry.definition.priority == priority
            ):
                return True
            heapq.heappop(heap)
        return False

    def _take(self, heap: list[Line]) -> Entry:
        number = heapq.heappop(heap)[2]
        entry = self._entries[number]
        entry.claiming, entry.throttled = True, False
        self._left.discard(number)
        return entry

    def _within(self, fire_at: datetime, task_id: UUID) -> bool:
        return self._keeps_all or self.horizon is None or (fire_at, task_id) <= self.horizon


class _Task:
    """Executions in the order of the log, by number, each with the version it was begun or queued with."""

    __slots__ = ("queued", "running")

    def __init__(self) -> None:
        self.running: dict[int, tuple[UUID, int]] = {}
        self.queued: dict[int, tuple[UUID, int]] = {}


class OpenExecutions:
    """The state at a position of the log, and besides what this node has appended or read since.

    So it misses nothing that was begun up to there; something may have ended since that it still holds.
    """

    def __init__(self) -> None:
        self._tasks: dict[int, _Task] = {}
        self._ahead: dict[int, int] = {}
        self._told: list[Callable[[UUID], None]] = []
        self.position = 0

    def tell(self, may_start: Callable[[UUID], None]) -> None:
        """Call this with each task whose first queued execution may have got room."""
        self._told.append(may_start)

    def seed(self, position: int, open_runs: Sequence[Open]) -> None:
        """Begin with what was not over at a position: what is followed comes after it."""
        self.position = position
        for run in open_runs:
            self._enter(run.task_id, run.execution_id, 0, queued=run.queued)

    def open_runs(self, task_id: UUID) -> ConcurrencyState:
        """What goes on of a task, in the order of the log."""
        known = self._tasks.get(task_id.int)
        if known is None:
            return NOTHING_OPEN
        running, queued = known.running.values(), known.queued.values()
        return ConcurrencyState(tuple([each for each, _ in running]), tuple([each for each, _ in queued]))

    def covers(self, entry: Entry) -> bool:
        """Whether all that was begun before the task came to its place is known, if that matters to it."""
        return self.position >= entry.learnt_at or bound(entry.definition) is None

    def follow(self, event: Recorded) -> None:
        """Follow one fact of the log."""
        self.position = event.position
        known = self._ahead.get(event.stream.int, 0)
        if event.version >= known:
            self._ahead.pop(event.stream.int, None)
        if event.version > known:
            self._apply(event)

    def begun(
        self, position: int, stream: UUID, version: int, fact: ExecutionStarted | ExecutionQueued
    ) -> None:
        """This node has begun an execution, in a group up to `position`."""
        if position > self.position and fact.occurrence.kind == "scheduled":
            self._enter(fact.occurrence.task_id, stream, version, queued=isinstance(fact, ExecutionQueued))
            self._ahead[stream.int] = version

    def ended(self, task_id: UUID, stream: UUID, version: int) -> None:
        """This node has ended an execution, or read that it is over: its stream is at that version."""
        if self._leave(task_id, stream, version):
            self._ahead[stream.int] = version
            self._look_at(task_id)

    def learn(self, execution: Execution) -> None:
        """What the log says of an execution: it may have gone on since it was followed, or entered.

        What a user has had run out of turn since then is over as a scheduled one.
        """
        task_id = execution.occurrence.task_id
        known = self._tasks.get(task_id.int)
        if isinstance(execution, FinishedExecution) or execution.occurrence.kind != "scheduled":
            self.ended(task_id, execution.id, execution.version)
        elif known and execution.id.int in known.queued and not isinstance(execution, Requested):
            self._enter(task_id, execution.id, execution.version, queued=False)
            self._ahead[execution.id.int] = execution.version

    def _apply(self, event: Recorded) -> None:
        match event.fact:
            case ExecutionStarted(occurrence=occurrence) | ExecutionQueued(occurrence=occurrence):
                if occurrence.kind == "scheduled":
                    queued = isinstance(event.fact, ExecutionQueued)
                    self._enter(occurrence.task_id, event.stream, event.version, queued=queued)
            case ExecutionSucceeded(task_id=task_id) | ExecutionFailed(task_id=task_id):
                self._over(task_id, event)
            case ExecutionCancelled(task_id=task_id):
                self._over(task_id, event)
            case ExecutionSkipped(occurrence=occurrence):
                self._over(occurrence.task_id, event)
            case _:  # a fact about a task may let it go on
                self._look_at(event.stream)

    def _over(self, task_id: UUID, event: Recorded) -> None:
        if self._leave(task_id, event.stream, event.version):
            self._look_at(task_id)
        else:
            self._look_if_none_runs(task_id)

    def _enter(self, task_id: UUID, stream: UUID, version: int, *, queued: bool) -> None:
        """Whatever its bound is: what the first one stands behind may have ended before it was queued."""
        known = self._tasks.get(task_id.int) or self._tasks.setdefault(task_id.int, _Task())
        number = stream.int
        known.running.pop(number, None)  # dropped unsent, and begun anew since
        known.queued.pop(number, None)
        (known.queued if queued else known.running)[number] = stream, version
        if not known.running or (queued and len(known.queued) == 1):
            self._look_at(task_id)

    def _leave(self, task_id: UUID, stream: UUID, version: int) -> bool:
        """Whether it was known to go on. What was begun anew since is not over."""
        known = self._tasks.get(task_id.int)
        if known is None:
            return False
        number = stream.int
        of = known.running if number in known.running else known.queued
        if number not in of or of[number][1] >= version:
            return False
        del of[number]
        if not known.running and not known.queued:
            del self._tasks[task_id.int]
        return True

    def _look_if_none_runs(self, task_id: UUID) -> None:
        known = self._tasks.get(task_id.int)
        if known and not known.running:
            self._look_at(task_id)

    def _look_at(self, task_id: UUID) -> None:
        known = self._tasks.get(task_id.int)
        if known and known.queued:
            for may_start in self._told:
                may_start(task_id)
