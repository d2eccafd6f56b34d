"""Logs of a busy and unlucky month: plausible in order, nasty in their values, and repeatable."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from msgspec import Struct

from application.ports import NewFact
from domain.definition import Cron, Definition, OneOff
from domain.facts import (
    AnyFact,
    AttemptFailed,
    AttemptStarted,
    EventsRedacted,
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionQueued,
    ExecutionRequested,
    ExecutionSkipped,
    ExecutionStarted,
    ExecutionSucceeded,
    ExecutionTakenOver,
    IdempotencyKeyUsed,
    Occurrence,
    OccurrenceKind,
    Outcome,
    Rewritten,
    TaskCancelled,
    TaskCompleted,
    TaskCreated,
    TaskFailuresCounted,
    TaskPaused,
    TaskRedacted,
    TaskResumed,
    TaskUpdated,
)
from domain.identity import redaction_stream
from tests.support.entries import NOON
from tests.support.random_values import RandomValues

_LIVE = frozenset({"scheduled", "paused"})


class _Task(Struct):
    id: UUID
    version: int
    status: str
    definition: Definition
    next_run: datetime | None


class _Run(Struct):
    id: UUID
    task: _Task
    occurrence: Occurrence
    version: int
    attempts: int
    waiting: bool = False
    requested: bool = False


class RandomLog:
    """Makes facts one after the other; the same seed makes the same log."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._values = RandomValues(self._random, NOON)
        self._tasks: list[_Task] = []
        self._runs: list[_Run] = []
        self._skipped: list[_Run] = []
        self.facts: list[NewFact] = []

    def grow(self, events: int) -> list[NewFact]:
        """At least so many further facts."""
        start = len(self.facts)
        while len(self.facts) - start < events:
            self._values.now += timedelta(
                microseconds=self._random.choice((0, 1, 999, 1_000_000, 47_000_000))
            )
            self._step()
        return self.facts[start:]

    def _step(self) -> None:
        live = [task for task in self._tasks if task.status in _LIVE]
        firing = [task for task in live if task.status == "scheduled"]
        roll = self._random.random()
        if not firing or roll < 0.15:
            self._create()
        elif roll < 0.155 and len(live) < len(self._tasks):
            self._redact(self._random.choice([task for task in self._tasks if task.status not in _LIVE]))
        elif roll < 0.2:
            self._update(self._random.choice(live))
        elif roll < 0.22:
            self._cancel(self._random.choice(live))
        elif roll < 0.26:
            self._pause_or_resume(self._random.choice(live))
        elif roll < 0.55 or not self._runs:
            self._occur(self._random.choice(firing))
        else:
            self._progress(self._random.choice(self._runs))

    def _add(self, stream: UUID, version: int, fact: AnyFact) -> None:
        self.facts.append(NewFact(stream, version, fact))

    def _create(self) -> None:
        task = _Task(self._values.uuid(), 1, "scheduled", self._values.definition(), self._values.later(1e5))
        self._tasks.append(task)
        namespace = self._random.choice(("default", "other"))
        assert task.next_run is not None
        fact = TaskCreated(
            at=self._values.now, namespace=namespace, definition=task.definition, next_run_at=task.next_run
        )
        self._add(task.id, 1, fact)
        if self._random.random() < 0.2:
            key = IdempotencyKeyUsed(
                at=self._values.now, key=self._values.text(), namespace=namespace, task_id=task.id, digest="d"
            )
            self._add(self._values.uuid(), 1, key)

    def _update(self, task: _Task) -> None:
        task.version += 1
        task.definition = self._values.definition()
        place = self._random.choice((None, self._values.later(1e5)))
        self._add(
            task.id,
            task.version,
            TaskUpdated(at=self._values.now, definition=task.definition, next_run_at=place),
        )

    def _cancel(self, task: _Task) -> None:
        task.version += 1
        task.status = "cancelled"
        self._add(task.id, task.version, TaskCancelled(at=self._values.now))

    def _redact(self, task: _Task) -> None:
        """Nothing is rewritten here: what follows for read models is the same."""
        runs = {new.stream for new in self.facts if getattr(new.fact, "task_id", None) == task.id}
        streams = [task.id, *sorted(runs)] if self._random.random() < 0.8 else sorted(runs)
        rewritten = tuple(Rewritten(place, stream, "00" * 32) for place, stream in enumerate(streams, 1))
        stream, task.version = redaction_stream(task.id), task.version + 1
        before = sum(new.stream == stream for new in self.facts)
        self._add(
            stream, before + 1, EventsRedacted(at=self._values.now, task_id=task.id, rewritten=rewritten)
        )
        self._add(task.id, task.version, TaskRedacted(at=self._values.now))

    def _pause_or_resume(self, task: _Task) -> None:
        task.version += 1
        note = self._random.choice((None, self._values.text()))
        paused = task.status == "paused"
        task.status = "scheduled" if paused else "paused"
        self._add(
            task.id,
            task.version,
            TaskResumed(at=self._values.now) if paused else TaskPaused(at=self._values.now, note=note),
        )

    def _occur(self, task: _Task) -> None:
        kinds: tuple[OccurrenceKind, ...] = ("scheduled", "scheduled", "scheduled", "manual", "backfill")
        occurrence = Occurrence(
            task_id=task.id,
            task_version=task.version,
            task_name=task.definition.name,
            namespace="default",
            due_at=self._values.now - timedelta(milliseconds=self._random.randrange(-1, 90_000)),
            kind=self._random.choice(kinds),
        )
        if self._skipped and self._random.random() < 0.1:
            # Skipped, and started after all: its task was moved away and came back to the same instant.
            run = self._skipped.pop(self._random.randrange(len(self._skipped)))
            run.version, run.attempts, run.waiting = run.version + 1, 1, False
            task, occurrence = run.task, run.occurrence
        else:
            run = _Run(self._values.uuid(), task, occurrence, 1, 1)
        following = self._values.later(1e4) if isinstance(task.definition.trigger, Cron) else None
        if self._random.random() < 0.15:
            skipped = ExecutionSkipped(
                at=self._values.now, occurrence=occurrence, reason="missed", next_run_at=following
            )
            self._add(run.id, run.version, skipped)
            self._skipped.append(run)
            return
        self._runs.append(run)
        if occurrence.kind == "scheduled" and run.version == 1 and self._random.random() < 0.1:
            run.requested, run.attempts = True, 0
            queued = ExecutionQueued(
                at=self._values.now, occurrence=occurrence, behind=self._values.uuid(), next_run_at=following
            )
            self._add(run.id, 1, queued)
            return
        if occurrence.kind != "scheduled":
            run.requested, run.attempts = True, 0
            self._add(run.id, run.version, ExecutionRequested(at=self._values.now, occurrence=occurrence))
            return
        self._start(run, following)

    def _start(self, run: _Run, following: datetime | None) -> None:
        run.requested, run.attempts = False, 1
        started = ExecutionStarted(
            at=self._values.now,
            occurrence=run.occurrence,
            node="node-1",
            lease_until=self._values.now + timedelta(seconds=60),
            next_run_at=following,
        )
        self._add(run.id, run.version, started)

    def _progress(self, run: _Run) -> None:
        run.version += 1
        common: dict[str, Any] = {"at": self._values.now, "task_id": run.task.id}
        claim: dict[str, Any] = {
            "task_version": run.task.version,
            "node": "node-2",
            "lease_until": self._values.now + timedelta(seconds=60),
        }
        roll = self._random.random()
        if run.requested and roll < 0.8:
            self._start(run, None)
        elif run.requested:
            self._end(run, ExecutionCancelled(**common, reason=f"cancelled by a user: {self._values.text()}"))
        elif run.waiting and roll < 0.8:
            run.attempts, run.waiting = run.attempts + 1, False
            self._add(run.id, run.version, AttemptStarted(**common, **claim, number=run.attempts))
        elif run.waiting or roll < 0.05:
            interrupted = not run.waiting
            self._end(run, ExecutionCancelled(**common, reason="enough", interrupted=interrupted))
        elif roll < 0.1:
            self._add(run.id, run.version, AttemptStarted(**common, **claim, number=run.attempts))
        elif roll < 0.2:
            run.attempts += 1
            lost = ExecutionTakenOver(**common, **claim, number=run.attempts, lost_by="node-1")
            self._add(run.id, run.version, lost)
        elif roll < 0.4:
            run.waiting = True
            failed = AttemptFailed(
                **common,
                **self._values.failure(run.attempts, run.occurrence.due_at),
                retry_at=self._values.later(60),
            )
            self._add(run.id, run.version, failed)
        elif roll < 0.5:
            skipped = ExecutionSkipped(
                at=self._values.now, occurrence=run.occurrence, reason="overtaken", next_run_at=None
            )
            self._end(run, skipped)
            if run.attempts == 1:
                self._skipped.append(run)
        elif roll < 0.65:
            failure = (
                self._values.failure(run.attempts, run.occurrence.due_at) if roll < 0.6 else {"attempt": None}
            )
            self._end(run, ExecutionFailed(**common, **failure, reason="no attempt is left"))
        else:
            self._end(
                run,
                ExecutionSucceeded(
                    **common, attempt=self._values.attempt(run.attempts, run.occurrence.due_at, ok=True)
                ),
            )

    def _end(self, run: _Run, fact: AnyFact) -> None:
        self._runs.remove(run)
        self._add(run.id, run.version, fact)
        task = run.task
        over = isinstance(fact, ExecutionSucceeded | ExecutionFailed)
        if over and task.status in {"scheduled", "paused"} and self._random.random() < 0.05:
            task.version += 1
            counted = TaskFailuresCounted(at=self._values.now, failures=1, execution_id=run.id)
            self._add(task.id, task.version, counted)
        if over and task.status in {"scheduled", "paused"} and isinstance(task.definition.trigger, OneOff):
            task.version += 1
            task.status = "completed"
            outcome: Outcome = "succeeded" if isinstance(fact, ExecutionSucceeded) else "failed"
            self._add(
                task.id,
                task.version,
                TaskCompleted(at=self._values.now, outcome=outcome, execution_id=run.id),
            )
