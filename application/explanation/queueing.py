"""How an occurrence waited in the queue of its task, behind a run that was not over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from application.explanation import policies, wording
from application.explanation.account import Statement, decided_at
from application.explanation.lateness import beside
from application.explanation.runs import named
from application.ports import Recorded
from domain.facts import ExecutionQueued
from domain.task import Paused

if TYPE_CHECKING:
    from datetime import timedelta

    from application.explanation.history import History
    from application.explanation.runs import Runs
    from domain.facts import ExecutionStarted


class Queued(Struct, frozen=True):
    """An occurrence that waits, and the event that says so."""

    event: Recorded
    fact: ExecutionQueued

    def put(self, history: History, runs: Runs) -> Statement:
        """Why it waits."""
        behind = self.fact.behind
        claim = runs.claim(behind, self.event)
        rule = policies.overlap(history.definition(self.fact.occurrence.task_version))
        said = f"It was queued at {wording.instant(self.fact.at)}, behind {runs.told(behind, self.event)}."
        return Statement.of("queued", said, rule, self.event, *((claim,) if claim else ()))

    def taken(
        self, event: Recorded, fact: ExecutionStarted, late: timedelta, history: History, runs: Runs
    ) -> Statement:
        """Why it started when it did, so `late` after its instant."""
        end, pause = runs.end(self.fact.behind, event), history.pause_within(self.event, event)
        said = f"{fact.node} started it from the queue, {beside(late)}"
        if end is not None:
            said += f"; {named(self.fact.behind)} had ended at {wording.instant(decided_at(end))}"
        if pause:
            said += f"; the task was paused until {wording.instant(decided_at(pause[-1]))}"
        rule = policies.overlap(history.definition(fact.occurrence.task_version))
        events = (event, self.event, *((end,) if end else ()), *pause)
        return Statement.of("started_from_queue", f"{said}.", rule, *events)

    def held_up(self, history: History) -> list[Statement]:
        """Why it waits on although there may be room."""
        task = history.task
        if not isinstance(task, Paused):
            return []
        at = wording.instant(task.since)
        said = f"The task is paused since {at}: what waits in its queue starts once it is resumed."
        return [Statement.of("paused", said, policies.paused(task.definition), *history.pause_of(task.since))]
