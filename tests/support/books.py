"""An auditor's view of the log of a simulated world: nothing lost, nothing twice, nothing stale."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from application.streams import fold_execution
from domain import execution as executions
from domain.facts import (
    AttemptStarted,
    ExecutionCancelled,
    ExecutionRequested,
    ExecutionSkipped,
    ExecutionStarted,
    ExecutionTakenOver,
    TaskCancelled,
    TaskCompleted,
    TaskCreated,
    TaskPaused,
    TaskResumed,
    TaskUpdated,
)
from domain.identity import execution_id
from domain.schedule import next_after

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from application.ports import Recorded
    from tests.support.scheduler import World


@dataclass
class Ledger:
    """What the log says, read in its order by somebody who trusts no scheduler."""

    versions: Counter[UUID] = field(default_factory=Counter)
    definitions: dict[tuple[UUID, int], Any] = field(default_factory=dict)
    places: dict[UUID, datetime | None] = field(default_factory=dict)
    claims: dict[tuple[UUID, int], tuple[UUID, int]] = field(default_factory=dict)
    paused: set[UUID] = field(default_factory=set)
    out_of_turn: set[UUID] = field(default_factory=set)
    cancelled: set[UUID] = field(default_factory=set)

    def read(self, event: Recorded) -> None:
        """Follow one event; fails where a scheduler left its place, or claimed from an old version."""
        fact = event.fact
        assert event.stream not in self.cancelled or isinstance(fact, ExecutionRequested), "it went on"
        match fact:
            case TaskCreated() | TaskUpdated() | TaskCancelled() | TaskCompleted():
                self._task(event)
            case TaskPaused() | TaskResumed():
                self._pause(event)
            case ExecutionRequested():
                self.cancelled.discard(event.stream)
                self.out_of_turn.add(event.stream)
            case ExecutionCancelled():
                self.cancelled.add(event.stream)
            case ExecutionStarted():
                occurrence = fact.occurrence
                assert occurrence.task_version == self.versions[occurrence.task_id], "a stale claim"
                self.claims[event.stream, 1] = (occurrence.task_id, occurrence.task_version)
                if occurrence.kind == "scheduled":
                    self._on(fact)
            case ExecutionSkipped() if event.version == 1:
                self._on(fact)
            case AttemptStarted() | ExecutionTakenOver():
                assert fact.task_version == self.versions[fact.task_id], "a stale attempt"
                self.claims[event.stream, fact.number] = (fact.task_id, fact.task_version)
            case _:
                pass

    def _task(self, event: Recorded) -> None:
        known = self.definitions.get((event.stream, self.versions[event.stream]))
        self.versions[event.stream] = event.version
        match event.fact:
            case TaskCreated(definition=definition, next_run_at=place):
                self.places[event.stream] = place
            case TaskUpdated(definition=definition, next_run_at=place):
                self.places[event.stream] = place or self.places[event.stream]
            case _:
                self.places[event.stream] = None
                self.definitions[event.stream, event.version] = known  # what has been started goes on from it
                return
        self.definitions[event.stream, event.version] = definition

    def _pause(self, event: Recorded) -> None:
        known = self.definitions[event.stream, self.versions[event.stream]]
        self.versions[event.stream] = event.version
        self.definitions[event.stream, event.version] = known
        if isinstance(event.fact, TaskPaused):
            self.paused.add(event.stream)
        else:
            self.paused.discard(event.stream)

    def _on(self, fact: ExecutionStarted | ExecutionSkipped) -> None:
        """No occurrence between the task's place and the claimed one is left out, but what users have had."""
        occurrence = fact.occurrence
        task_id = occurrence.task_id
        assert task_id not in self.paused, "a paused task was claimed"
        definition = self.definitions[task_id, occurrence.task_version]
        place = self.places[task_id]
        while place is not None and place != occurrence.due_at:
            assert execution_id(task_id, place, "scheduled") in self.out_of_turn, "an occurrence was left out"
            place = next_after(definition.trigger, place)
        assert place == occurrence.due_at, "an occurrence that is not ahead"
        assert fact.next_run_at == next_after(definition.trigger, occurrence.due_at)
        self.places[occurrence.task_id] = fact.next_run_at


def check_books(world: World) -> None:
    """Nothing is lost, nothing is called twice, early, or from a definition that it was not claimed from."""
    ledger = Ledger()
    streams: dict[UUID, list[Recorded]] = {}
    for event in world.log.recorded:
        ledger.read(event)
        streams.setdefault(event.stream, []).append(event)
    for stream, events in streams.items():
        execution = fold_execution(stream, events)
        assert execution is None or isinstance(execution, executions.Over), f"not over: {world.names(stream)}"
    calls = Counter((call.execution_id, call.number) for call in world.calls)
    assert {attempt: count for attempt, count in calls.items() if count > 1} == {}
    for call in world.calls:
        definition = ledger.definitions[ledger.claims[call.execution_id, call.number]]
        assert call.url == definition.action.url
        execution = fold_execution(call.execution_id, streams[call.execution_id])
        assert execution is not None
        assert call.at >= execution.occurrence.due_at
