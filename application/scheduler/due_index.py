"""Which task is due next: a heap of the near future, kept up to date by the facts of the log."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from application.ports import Undecodable
from application.scheduler.shared import shared
from domain.facts import (
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
from domain.schedule import fires_at

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from uuid import UUID

    from application.ports import DueTask, Place, Recorded
    from domain.definition import Definition
    from domain.facts import PlacingFact
    from domain.task import Pause


@dataclass(slots=True)
class Entry:
    """A task, at an occurrence, after so many `runs`; while that one is being claimed, it is not due.

    `fire_at` is when the call of that occurrence is to be sent: the index keeps tasks in this order.
    `parked`: it is not due until it is put back, or something happens to it; `put_back`: it was, and has its
    turn now.
    `left_until`: it is left to somebody else until then, however due it is. `learnt_at`: the log position
    that its place was learnt from, if that may be ahead of what has been followed.
    """

    task_id: UUID
    version: int
    namespace: str
    definition: Definition
    due_at: datetime
    runs: int = 0
    claiming: bool = False
    parked: bool = False
    put_back: bool = False
    left_until: datetime | None = None
    pause: Pause | None = None
    learnt_at: int = 0
    fire_at: datetime = field(init=False)

    def __post_init__(self) -> None:
        self.definition = shared(self.definition)
        self.place(self.due_at, self.runs)

    def place(self, due_at: datetime, runs: int) -> None:
        """Stand at an occurrence of the definition."""
        self.due_at, self.runs = due_at, runs
        self.fire_at = fires_at(self.definition.trigger, self.task_id, due_at)

    @property
    def surfaces_at(self) -> datetime:
        """When it is to be looked at."""
        return self.left_until or self.fire_at


type Line = tuple[datetime, int, int]
"""When an entry surfaces, its priority, and the number of its task's id."""


class DueIndex:
    """Tasks due up to a horizon; what lies beyond is dropped and comes back with the next refill.

    Of what is due at one instant, the lowest priority number comes first. The horizon knows no priority: if
    it cuts through an instant, what comes back later is late whatever its priority.
    A stale line of the heap (its entry moved or went) is recognised when it surfaces.
    """

    def __init__(self) -> None:
        # By the numbers of task ids, which are hashed and compared in a third of the time.
        self._entries: dict[int, Entry] = {}
        self._heap: list[Line] = []
        self._left_heap: list[Line] = []
        self._left: set[int] = set()
        self.horizon: Place | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, task_id: UUID) -> Entry | None:
        """What is known of a task; None when it is beyond the horizon, or has nothing ahead."""
        return self._entries.get(task_id.int)

    def load(self, row: DueTask, position: int) -> None:
        """Take a row of the read model as of a position, unless more is known: a version's place only ever
        moves forward.
        """
        known = self._entries.get(row.task_id.int)
        if known is None or (known.version, known.due_at) < (row.version, row.due_at):
            entry = Entry(row.task_id, row.version, row.namespace, row.definition, row.due_at, row.runs)
            entry.pause, entry.learnt_at = row.pause, position
            self.put(entry)

    def put(self, entry: Entry) -> None:
        """Make a task due at its place; beyond the horizon it is forgotten."""
        if not self._within(entry.fire_at, entry.task_id):
            self.remove(entry.task_id)
            return
        entry.claiming = entry.parked = entry.put_back = False
        entry.left_until = None
        number = entry.task_id.int
        self._left.discard(number)
        self._entries[number] = entry
        self._push(entry)

    def remove(self, task_id: UUID) -> None:
        """Forget a task."""
        self._entries.pop(task_id.int, None)
        self._left.discard(task_id.int)

    def leave(self, entry: Entry, until: datetime) -> None:
        """Leave a popped task to somebody else: it surfaces again only if it has not moved on by then."""
        entry.claiming, entry.left_until = False, until
        self._left.add(entry.task_id.int)
        self._push(entry)

    def park(self, entry: Entry) -> None:
        """Have a popped task surface only when it is put back, moves or is defined anew."""
        entry.claiming, entry.parked = False, True

    def unpark(self, entry: Entry) -> None:
        """Put a task back, if it is still parked."""
        if entry.parked and self._entries.get(entry.task_id.int) is entry:
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
        known = self._entries.get(occurrence.task_id.int)
        if (
            known is not None
            and occurrence.kind == "scheduled"
            and known.version == occurrence.task_version
            and known.due_at <= occurrence.due_at
        ):
            self._move(known, fact.next_run_at, occurrence.run)

    def _redefine(self, event: Recorded, fact: TaskUpdated) -> bool:
        known = self._entries.get(event.stream.int)
        if known is None:
            return fact.next_run_at is None or not self._within(fact.next_run_at, event.stream)
        if known.version < event.version:
            known.version, known.definition = event.version, shared(fact.definition)
            if fact.next_run_at is not None:
                self._move(known, fact.next_run_at, fact.runs)
            else:
                self._push(known)  # its priority may be another
        return True

    def _knows(self, event: Recorded) -> bool:
        """Whether a task is known as it was after an event, or later: from a row that was ahead of it."""
        known = self._entries.get(event.stream.int)
        return known is not None and known.version >= event.version

    def _count(self, event: Recorded) -> None:
        known = self._entries.get(event.stream.int)
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
            surfaces_at, _, number = heap[0]
            entry = self._entries.get(number)
            if entry is not None and not entry.claiming and entry.surfaces_at == surfaces_at:
                return True
            heapq.heappop(heap)
        return False

    def _take(self, heap: list[Line]) -> Entry:
        number = heapq.heappop(heap)[2]
        entry = self._entries[number]
        entry.claiming, entry.parked = True, False
        self._left.discard(number)
        return entry

    def _within(self, fire_at: datetime, task_id: UUID) -> bool:
        return self.horizon is None or (fire_at, task_id) <= self.horizon
