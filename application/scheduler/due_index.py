"""Which task is due next: a heap of the near future, kept up to date by the facts of the log."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING

from domain.facts import (
    ExecutionSkipped,
    ExecutionStarted,
    TaskCancelled,
    TaskCompleted,
    TaskCreated,
    TaskUpdated,
)

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from application.ports import DueTask, Place, Recorded
    from domain.definition import Definition
    from domain.facts import Occurrence


@dataclass(slots=True)
class Entry:
    """A task in the index. `due_at` None: known, but with no place (being claimed, or a one-off in progress).

    `position` is the log position that this knowledge reflects, `taken` the place that `pop` last took away.
    """

    task_id: UUID
    version: int
    namespace: str
    definition: Definition
    due_at: datetime | None
    position: int
    taken: datetime | None = None


class DueIndex:
    """Tasks due up to a horizon; what lies beyond is dropped and comes back with the next refill.

    A stale line of the heap (its entry moved or went) is recognised when it surfaces.
    """

    def __init__(self) -> None:
        self._entries: dict[UUID, Entry] = {}
        self._heap: list[Place] = []
        self.horizon: Place | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, task_id: UUID) -> Entry | None:
        """What is known of a task; None when it is beyond the horizon or over."""
        return self._entries.get(task_id)

    def load(self, row: DueTask, position: int) -> None:
        """Take a row of the read model that reflects the log up to `position`; newer knowledge stays."""
        known = self._entries.get(row.task_id)
        if known is not None and known.position >= position:
            return
        entry = Entry(row.task_id, row.version, row.namespace, row.definition, None, position)
        self._put(entry, row.due_at)

    def place(self, entry: Entry, due_at: datetime | None) -> None:
        """Put a known task at an instant; None takes its place away and keeps it known."""
        self._put(entry, due_at)

    def remove(self, task_id: UUID) -> None:
        """Forget a task."""
        self._entries.pop(task_id, None)

    def next_due(self) -> datetime | None:
        """The earliest instant at which something is due."""
        while self._heap:
            due_at, task_id = self._heap[0]
            entry = self._entries.get(task_id)
            if entry is not None and entry.due_at == due_at:
                return due_at
            heapq.heappop(self._heap)
        return None

    def pop(self, until: datetime, limit: int) -> list[Entry]:
        """Take up to `limit` tasks due by an instant, in order; they stay known, without a place."""
        due: list[Entry] = []
        while len(due) < limit:
            first = self.next_due()
            if first is None or first > until:
                break
            _, task_id = heapq.heappop(self._heap)
            entry = self._entries[task_id]
            entry.taken, entry.due_at = entry.due_at, None
            due.append(entry)
        return due

    def apply(self, event: Recorded) -> bool:
        """Follow one fact of the log; facts that an entry already reflects change nothing.

        False: the fact gives a place to a task of which too little is known here; read it and `place` it.
        """
        fact = event.fact
        match fact:
            case TaskCreated():
                if event.stream not in self._entries:
                    entry = Entry(event.stream, 1, fact.namespace, fact.definition, None, event.position)
                    self._put(entry, fact.next_run_at)
            case TaskUpdated():
                return self._redefine(event, fact)
            case TaskCancelled() | TaskCompleted():
                known = self._entries.get(event.stream)
                if known is not None and known.position < event.position:
                    self.remove(event.stream)
            case ExecutionStarted() | ExecutionSkipped():
                self._advance(fact.occurrence, fact.next_run_at, event.position)
            case _:
                pass
        return True

    def _redefine(self, event: Recorded, fact: TaskUpdated) -> bool:
        known = self._entries.get(event.stream)
        if known is None:
            return fact.next_run_at is None or not self._within(fact.next_run_at, event.stream)
        if known.position < event.position:
            known.version, known.definition, known.position = event.version, fact.definition, event.position
            if fact.next_run_at is not None:
                known.taken = None
                self._put(known, fact.next_run_at)
        return True

    def _advance(self, occurrence: Occurrence, next_run_at: datetime | None, position: int) -> None:
        """Somebody claimed or skipped an occurrence: go on to the one that the fact names."""
        known = self._entries.get(occurrence.task_id)
        if known is None or known.position >= position or known.version != occurrence.task_version:
            return
        place = known.due_at or known.taken
        if occurrence.kind == "scheduled" and (place is None or occurrence.due_at >= place):
            known.position = position
            self._put(known, next_run_at)

    def _put(self, entry: Entry, due_at: datetime | None) -> None:
        if due_at is not None and not self._within(due_at, entry.task_id):
            self.remove(entry.task_id)
            return
        moved = entry.due_at != due_at or entry.task_id not in self._entries
        entry.due_at = due_at
        self._entries[entry.task_id] = entry
        if due_at is not None and moved:
            heapq.heappush(self._heap, (due_at, entry.task_id))

    def _within(self, due_at: datetime, task_id: UUID) -> bool:
        return self.horizon is None or (due_at, task_id) <= self.horizon
