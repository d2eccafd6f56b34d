"""An auditor's view of the log of a simulated world: nothing lost, nothing twice, nothing stale."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

from application.streams import fold_execution
from domain import execution as executions
from domain.facts import (
    AttemptStarted,
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionQueued,
    ExecutionRequested,
    ExecutionSkipped,
    ExecutionStarted,
    ExecutionSucceeded,
    ExecutionTakenOver,
    TaskCancelled,
    TaskCompleted,
    TaskCreated,
    TaskFailuresCounted,
    TaskPaused,
    TaskResumed,
    TaskUpdated,
)
from domain.identity import execution_id
from domain.schedule import fires_at, next_after, spent
from tests.support.attempt_books import Attempts
from tests.support.call_books import check_calls
from tests.support.catch_up_books import CatchUps
from tests.support.clock_books import check_clocks
from tests.support.failure_books import Failures
from tests.support.nominal_books import Nominals
from tests.support.overlap_books import Overlaps
from tests.support.tolerances import OVERDUE

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from application.ports import Recorded
    from domain.definition import Definition
    from domain.facts import PlacingFact
    from tests.support.scheduler import World


@dataclass
class Ledger:
    """What the log says, read in its order by somebody who trusts no scheduler."""

    versions: Counter[UUID] = field(default_factory=Counter)
    definitions: dict[tuple[UUID, int], Definition] = field(default_factory=dict)
    places: dict[UUID, datetime | None] = field(default_factory=dict)
    claims: dict[tuple[UUID, int], tuple[UUID, int]] = field(default_factory=dict)
    paused: set[UUID] = field(default_factory=set)
    over: set[UUID] = field(default_factory=set)
    stopped: set[UUID] = field(default_factory=set)
    out_of_turn: set[UUID] = field(default_factory=set)
    entries: set[UUID] = field(default_factory=set)
    cancelled: set[UUID] = field(default_factory=set)
    overlaps: Overlaps = field(default_factory=Overlaps)

    def current(self, task_id: UUID) -> Definition:
        """A task's definition as of now."""
        return self.definitions[task_id, self.versions[task_id]]

    def called(self, stream: UUID, number: int) -> Definition:
        """The definition that an attempt was claimed from."""
        return self.definitions[self.claims[stream, number]]

    def place(self, task_id: UUID) -> datetime | None:
        """Where a task stands: past what has its entry already, of which no further fact need tell."""
        place = self.places[task_id]
        while place is not None and execution_id(task_id, place, "scheduled") in self.entries:
            place = next_after(self.current(task_id).trigger, place)
        return place

    def read(self, event: Recorded) -> None:
        """Follow one event; fails where a scheduler left its place, or claimed from an old version."""
        fact = event.fact
        self._read(event)
        if isinstance(fact, ExecutionRequested | ExecutionStarted | ExecutionQueued | ExecutionSkipped):
            self.entries.add(event.stream)

    def _read(self, event: Recorded) -> None:
        fact = event.fact
        assert event.stream not in self.cancelled or isinstance(fact, ExecutionRequested), "it went on"
        match fact:
            case TaskCreated() | TaskUpdated() | TaskCancelled() | TaskCompleted():
                assert event.stream not in self.over, "a task that is over was changed"
                self._task(event)
            case TaskPaused() | TaskResumed() | TaskFailuresCounted():
                assert event.stream not in self.over, "a task that is over was changed"
                self._pause(event)
            case ExecutionRequested():
                self.cancelled.discard(event.stream)
                self.out_of_turn.add(event.stream)
            case ExecutionStarted():
                self._start(event, fact)
            case ExecutionQueued():
                self._on(fact)
                definition = self.definitions[fact.occurrence.task_id, fact.occurrence.task_version]
                self.overlaps.queue(event.stream, fact, definition)
            case ExecutionSkipped():
                self._skip(event, fact)
            case AttemptStarted() | ExecutionTakenOver():
                assert fact.task_version == self.versions[fact.task_id], "a stale attempt"
                assert fact.task_id not in self.stopped, "an attempt of a cancelled task"
                self.claims[event.stream, fact.number] = (fact.task_id, fact.task_version)
            case ExecutionSucceeded() | ExecutionFailed():
                self.overlaps.end(fact.task_id, event.stream)
            case ExecutionCancelled():
                self.cancelled.add(event.stream)
                self.overlaps.end(fact.task_id, event.stream)
                if fact.replaced_by is not None:
                    self.overlaps.promised[fact.replaced_by] = fact
            case _:
                pass

    def _start(self, event: Recorded, fact: ExecutionStarted) -> None:
        occurrence = fact.occurrence
        assert occurrence.task_version == self.versions[occurrence.task_id], "a stale claim"
        assert occurrence.task_id not in self.stopped, "a cancelled task was claimed"
        self.claims[event.stream, 1] = (occurrence.task_id, occurrence.task_version)
        self.overlaps.promised.pop(event.stream, None)
        if occurrence.kind != "scheduled":
            return
        assert occurrence.task_id not in self.paused, "a paused task was claimed"
        definition = self.definitions[occurrence.task_id, occurrence.task_version]
        if not self.overlaps.start(event.stream, fact, definition):
            self._on(fact)
        elif self.places[occurrence.task_id] == occurrence.due_at:  # moved back to what it had queued
            self.places[occurrence.task_id] = fact.next_run_at

    def _skip(self, event: Recorded, fact: ExecutionSkipped) -> None:
        self.overlaps.end(fact.occurrence.task_id, event.stream)
        if event.version == 1:
            self._on(fact)

    def _task(self, event: Recorded) -> None:
        known = self.definitions.get((event.stream, self.versions[event.stream]))
        self.versions[event.stream] = event.version
        match event.fact:
            case TaskCreated(definition=definition, next_run_at=place):
                self.places[event.stream] = place
            case TaskUpdated(definition=definition, next_run_at=place):
                self.places[event.stream] = place or self.places[event.stream]
            case _:
                assert known is not None
                self.places[event.stream] = None
                definition = known  # what has been started goes on from it
                self.paused.discard(event.stream)
                self.over.add(event.stream)
                self.stopped |= {event.stream} if isinstance(event.fact, TaskCancelled) else set()
        self.definitions[event.stream, event.version] = definition

    def _pause(self, event: Recorded) -> None:
        known = self.current(event.stream)
        self.versions[event.stream] = event.version
        self.definitions[event.stream, event.version] = known
        match event.fact:
            case TaskPaused():
                self.paused.add(event.stream)
            case TaskResumed():
                self.paused.discard(event.stream)
            case _:
                pass

    def _on(self, fact: PlacingFact) -> None:
        """No occurrence from the task's place to the claimed one is left out, but what has its entry already.

        Users have had that run, or it was claimed before the task came back to it.
        """
        occurrence = fact.occurrence
        task_id = occurrence.task_id
        assert task_id not in self.paused, "a paused task was claimed"
        definition = self.definitions[task_id, occurrence.task_version]
        place = self.places[task_id]
        while place is not None and place != occurrence.due_at:
            assert execution_id(task_id, place, "scheduled") in self.entries, "an occurrence was left out"
            place = next_after(definition.trigger, place)
        assert place == occurrence.due_at, "an occurrence that is not ahead"
        begun = not isinstance(fact, ExecutionSkipped)
        last = begun and spent(definition.trigger, occurrence.run)
        following = None if last else next_after(definition.trigger, occurrence.due_at)
        assert fact.next_run_at == following
        self.places[occurrence.task_id] = fact.next_run_at


@dataclass
class Books:
    """The ledger, and those who audit one theme each against it."""

    ledger: Ledger = field(default_factory=Ledger)
    catch_ups: CatchUps = field(default_factory=CatchUps)
    attempts: Attempts = field(default_factory=Attempts)
    failures: Failures = field(default_factory=Failures)
    nominals: Nominals = field(default_factory=Nominals)

    def read(self, recorded: list[Recorded]) -> None:
        """Everything, in its order; each group of facts that was appended together as a whole, first."""
        for _, events in groupby(recorded, lambda event: event.meta.command_id):
            group = list(events)
            self.failures.read(group, self.ledger)
            for event in group:
                self.catch_ups.read(event, self.ledger)
                self.attempts.read(event, self.ledger)
                self.nominals.read(event, self.ledger)
                self.ledger.read(event)


def check_nothing_is_overdue(world: World) -> None:
    """When all has been well for some minutes, each task stands in the future, and no queue stands still.

    One that is past its last occurrence, and has nothing that goes on, has ended.
    """
    ledger = Ledger()
    for event in world.log.recorded:
        ledger.read(event)
    now = world.clock.now()
    accounted = ledger.over | _going_on(world.log.recorded)
    for task_id in ledger.places.keys() - ledger.paused:
        trigger, place = ledger.current(task_id).trigger, ledger.place(task_id)
        late = place is not None and now - fires_at(trigger, task_id, place)
        assert not late or late < OVERDUE, f"{task_id} is overdue by {late}: {world.names(task_id)}"
        goes_on = place is not None or task_id in accounted
        assert goes_on, f"{task_id} is through and does not end: {world.names(task_id)}"
    for task_id, queued in ledger.overlaps.queued.items():
        moves = task_id not in ledger.paused and queued
        assert not moves or ledger.overlaps.running[task_id], f"{queued} wait for nothing"


def _going_on(recorded: list[Recorded]) -> set[UUID]:
    """The tasks of which something goes on."""
    folded = (fold_execution(stream, events) for stream, events in _streams(recorded).items())
    return {
        each.occurrence.task_id
        for each in folded
        if each and not isinstance(each, executions.FinishedExecution)
    }


def _streams(recorded: list[Recorded]) -> dict[UUID, list[Recorded]]:
    streams: dict[UUID, list[Recorded]] = {}
    for event in recorded:
        streams.setdefault(event.stream, []).append(event)
    return streams


def check_books(world: World) -> Books:
    """Nothing is lost, nothing is called twice, early, or from a definition that it was not claimed from.

    Every policy of a task has been kept to, and every nominal occurrence has an end.
    """
    books, recorded = Books(), world.log.recorded
    books.read(recorded)
    ended: set[UUID] = set()
    for stream, events in _streams(recorded).items():
        execution = fold_execution(stream, events)
        assert execution is None or isinstance(execution, executions.FinishedExecution), (
            f"not over: {world.names(stream)}"
        )
        ended |= {stream} if execution is not None else set()
    assert books.ledger.overlaps.promised == {}, "something gave way to what never started"
    books.nominals.check(ended, books.ledger.out_of_turn)
    check_clocks(world, books.ledger)
    began_at = {stream: going.began_at for stream, going in books.attempts.going.items()}
    check_calls(world, books.ledger, began_at)
    return books
