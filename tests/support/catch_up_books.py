"""Whether what was begun late, or not at all, follows from the catch-up policy of its task."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING

from domain.facts import (
    ExecutionQueued,
    ExecutionSkipped,
    ExecutionStarted,
    TaskPaused,
    TaskResumed,
)
from domain.schedule import fires_at, occurrences_between

if TYPE_CHECKING:
    from uuid import UUID

    from application.ports import Recorded
    from domain.definition import Definition
    from domain.facts import PlacingFact
    from tests.support.books import Ledger

LATE = timedelta(seconds=60)


@dataclass
class CatchUps:
    """The pauses of every task, and what they and downtimes have made of its occurrences."""

    since: dict[UUID, datetime] = field(default_factory=dict)
    pauses: dict[UUID, tuple[datetime, datetime]] = field(default_factory=dict)

    def read(self, event: Recorded, ledger: Ledger) -> None:
        """Follow one event, before the ledger does."""
        fact = event.fact
        match fact:
            case TaskPaused():
                self.since[event.stream] = fact.at
            case TaskResumed():
                self.pauses[event.stream] = (self.since[event.stream], fact.at)
            case ExecutionStarted() | ExecutionQueued():
                task_id = fact.occurrence.task_id
                waited = event.stream in ledger.overlaps.queued.get(task_id, ())
                if fact.occurrence.kind == "scheduled" and not waited:
                    assert not self._why_not(fact, ledger), f"was not to run: {fact}"
            case ExecutionSkipped(by="catch_up" | "pause"):
                assert self._why_not(fact, ledger), f"was to run: {fact}"
                assert (fact.by == "pause") == self._in_pause(fact)
            case _:
                pass

    def _why_not(self, fact: PlacingFact, ledger: Ledger) -> str | None:
        """The rule of the policy by which an occurrence does not run when it is claimed at an instant."""
        occurrence = fact.occurrence
        definition = ledger.definitions[occurrence.task_id, occurrence.task_version]
        policy, late = definition.catch_up, fact.at - occurrence.send_at
        most = 1 if policy.max_runs is None else policy.max_runs
        if policy.window_seconds is not None and late > timedelta(seconds=policy.window_seconds):
            return "window"
        if policy.mode == "skip" and (late > LATE or self._in_pause(fact)):
            return "late"
        bounded = policy.mode != "all" or policy.max_runs is not None
        return "newer" if bounded and _newer(definition, fact, most) >= most else None

    def _in_pause(self, fact: PlacingFact) -> bool:
        pause = self.pauses.get(fact.occurrence.task_id)
        return pause is not None and pause[0] <= fact.occurrence.due_at < pause[1]


def _newer(definition: Definition, fact: PlacingFact, most: int) -> int:
    """How many further occurrences are due at the instant of a fact, up to so many."""
    task_id, due_at = fact.occurrence.task_id, fact.occurrence.due_at
    later = islice(occurrences_between(definition.trigger, due_at, max(fact.at, due_at)), most)
    return sum(fires_at(definition.trigger, task_id, instant) <= fact.at for instant in later)
