"""What may go on at once, audited by the order of the log alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from domain.overlap import bound

if TYPE_CHECKING:
    from uuid import UUID

    from domain.definition import Definition
    from domain.facts import AnyFact, ExecutionQueued, ExecutionStarted


@dataclass
class Overlaps:
    """What goes on of each task's scheduled occurrences, by the order of the log alone."""

    running: dict[UUID, list[UUID]] = field(default_factory=dict)
    queued: dict[UUID, list[UUID]] = field(default_factory=dict)
    promised: dict[UUID, AnyFact] = field(default_factory=dict)
    most: Counter[str] = field(default_factory=Counter)

    def start(self, stream: UUID, fact: ExecutionStarted, definition: Definition) -> bool:
        """Whether it comes from a queue; fails where it is one too many, or jumps the queue."""
        task_id = fact.occurrence.task_id
        running, queued = self.running.setdefault(task_id, []), self.queued.setdefault(task_id, [])
        most = bound(definition)
        assert most is None or len(running) < most, f"one too many: {running}"
        if waited := stream in queued:
            assert queued.pop(0) == stream, "it jumped the queue"
        else:
            assert most is None or not queued, "it went past the queue"
        running.append(stream)
        self.most[definition.overlap.mode] = max(self.most[definition.overlap.mode], len(running))
        return waited

    def queue(self, stream: UUID, fact: ExecutionQueued, definition: Definition) -> None:
        """It waits; fails where nothing may wait, or too much does."""
        queued = self.queued.setdefault(fact.occurrence.task_id, [])
        places = {"queue_one": 1, "queue_all": definition.overlap.max_queued or 100}
        assert len(queued) < places[definition.overlap.mode], "the queue is too long"
        queued.append(stream)
        self.most["queued"] = max(self.most["queued"], len(queued))

    def end(self, task_id: UUID, stream: UUID) -> None:
        """It is over, however it was begun."""
        for going in (self.running, self.queued):
            if stream in going.get(task_id, ()):
                going[task_id].remove(stream)
