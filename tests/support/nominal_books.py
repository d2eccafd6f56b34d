"""Whether every nominal occurrence has its ledger entry: by the triggers, and no scheduler's arithmetic."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING

from domain.definition import OneOff
from domain.facts import (
    ExecutionQueued,
    ExecutionSkipped,
    ExecutionStarted,
    TaskCancelled,
    TaskCompleted,
    TaskCreated,
    TaskUpdated,
)
from domain.identity import execution_id
from domain.schedule import instant_of, occurrences_between

if TYPE_CHECKING:
    from uuid import UUID

    from application.ports import Recorded
    from domain.definition import Trigger
    from tests.support.books import Ledger

_MOMENT = timedelta(microseconds=1)
_FOREVER = datetime(2100, 1, 1, tzinfo=UTC)
_MORE_THAN_ANY = 10_000


@dataclass
class Stint:
    """A task's time with one trigger, from its first place to where it stood at the end of it."""

    task_id: UUID
    trigger: Trigger
    since: int
    first: datetime
    runs: int
    claimed: list[datetime] = field(default_factory=list)
    begun: int = 0
    last: datetime | None = None

    def nominal(self) -> list[datetime]:
        """Every occurrence that has to be accounted for."""
        if self.last is not None:
            until = self.last - _MOMENT
        else:
            until = max(self.claimed) if self.spent() else _FOREVER
        instants = occurrences_between(self.trigger, self.first - _MOMENT, until)
        found = list(islice(instants, _MORE_THAN_ANY))
        assert len(found) < _MORE_THAN_ANY, f"{self.trigger} goes on, but its task does not"
        return found

    def spent(self) -> bool:
        """Whether all runs that the trigger allows were begun."""
        return self.trigger.max_runs is not None and self.runs + self.begun >= self.trigger.max_runs


@dataclass
class Nominals:
    """The stints of all tasks."""

    stints: list[Stint] = field(default_factory=list)
    current: dict[UUID, Stint] = field(default_factory=dict)

    def read(self, event: Recorded, ledger: Ledger) -> None:
        """Follow one event, before the ledger does."""
        match event.fact:
            case TaskCreated(definition=definition, next_run_at=first) as fact:
                self._begin(event, definition.trigger, first, 0)
                assert first == _first(definition.trigger, fact.at)
            case TaskUpdated(next_run_at=datetime() as first, definition=definition, runs=runs) as fact:
                self._end(event.stream, ledger)
                if event.meta.actor.startswith("scheduler:"):
                    _check_passed_over(event.stream, definition.trigger, first, ledger)
                else:
                    assert first == _first(definition.trigger, fact.at)
                self._begin(event, definition.trigger, first, runs)
            case TaskCancelled():
                self._end(event.stream, ledger)
            case TaskCompleted():
                self._end(event.stream, ledger).last = None
            case ExecutionStarted() | ExecutionQueued() | ExecutionSkipped():
                self._claim(event, ledger)
            case _:
                pass

    def check(self, ended: set[UUID], out_of_turn: set[UUID]) -> None:
        """Each has one execution, which is over; and none was claimed that is not one of them."""
        for stint in self.stints:
            nominal = stint.nominal()
            assert len(set(stint.claimed)) == len(stint.claimed), f"claimed twice: {stint}"
            assert set(stint.claimed) <= set(nominal), f"claimed, but not due: {stint}"
            for due_at in nominal:
                execution = execution_id(stint.task_id, due_at, "scheduled")
                assert execution in ended, f"missing: {due_at} of {stint}"
                assert due_at in stint.claimed or execution in out_of_turn or stint.since > 1
            assert stint.trigger.max_runs is None or stint.runs + stint.begun <= stint.trigger.max_runs

    def _begin(self, event: Recorded, trigger: Trigger, first: datetime, runs: int) -> None:
        stint = Stint(event.stream, trigger, event.version, first, runs)
        self.current[event.stream] = stint
        self.stints.append(stint)

    def _end(self, task_id: UUID, ledger: Ledger) -> Stint:
        stint = self.current.pop(task_id)
        stint.last = ledger.places[task_id]
        return stint

    def _claim(self, event: Recorded, ledger: Ledger) -> None:
        fact = event.fact
        assert isinstance(fact, ExecutionStarted | ExecutionQueued | ExecutionSkipped)
        occurrence = fact.occurrence
        stint = self.current.get(occurrence.task_id)
        moved = isinstance(fact, ExecutionSkipped) and fact.by == "change"
        if stint is None or occurrence.kind != "scheduled" or moved:
            return
        if event.stream in ledger.overlaps.queued.get(occurrence.task_id, ()):
            return
        stint.claimed.append(occurrence.due_at)
        stint.begun += not isinstance(fact, ExecutionSkipped)


def _check_passed_over(task_id: UUID, trigger: Trigger, first: datetime, ledger: Ledger) -> None:
    """What a task leaves behind has its entry already: users have had it run, or it was claimed before."""
    place = ledger.places[task_id]
    assert place is not None
    assert place < first
    while place < first:
        assert execution_id(task_id, place, "scheduled") in ledger.entries, f"{place} was left out"
        place = _following(trigger, place)
    assert place == first


def _first(trigger: Trigger, now: datetime) -> datetime:
    if isinstance(trigger, OneOff):
        return instant_of(trigger)
    return _following(trigger, now)


def _following(trigger: Trigger, instant: datetime) -> datetime:
    return next(occurrences_between(trigger, instant, _FOREVER))
