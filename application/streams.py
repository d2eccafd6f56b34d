"""Folding streams of the log into the states that decisions need."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import get_args
from uuid import UUID

from application.ports import EventLog, LogUnavailable, Recorded, Snapshot, Undecodable, Unreadable
from domain import execution as executions
from domain import task as tasks
from domain.execution import Execution
from domain.facts import (
    AnyFact,
    AttemptStarted,
    ExecutionFact,
    ExecutionSkipped,
    ExecutionStarted,
    ExecutionTakenOver,
    IdempotencyKeyUsed,
    PlacingFact,
    TaskCreated,
    TaskFact,
)
from domain.task import FinishedTask, Task

# Folding so many costs about as much as one more round trip.
SNAPSHOT_EVENTS = 200

_TASK_FACTS = get_args(TaskFact.__value__)
_EXECUTION_FACTS = get_args(ExecutionFact.__value__)
_FIRST_FACTS = get_args(executions.FirstFact.__value__)
_PLACING_FACTS = get_args(PlacingFact.__value__)


async def load_task(log: EventLog, task_id: UUID) -> Task | None:
    """The task as the log tells it now; None when there is none. Raises `LogUnavailable`."""
    latest = await load_latest(log, task_id)
    return latest.task if latest else None


async def load_latest(log: EventLog, task_id: UUID) -> Snapshot | None:
    """As `load_task`, with the position of the task's last event.

    What was long to fold is kept, so that the next one who asks need not.
    """
    history = await log.read_task(task_id)
    kept, events = history.snapshot, history.events
    task = _evolved(kept.task, events) if kept else fold_task(task_id, events)
    if task is None or not events:
        return kept
    latest = Snapshot(events[-1].position, task)
    # What is over is seldom asked for, and may be redacted: nothing is to bring back what was erased.
    if len(events) >= SNAPSHOT_EVENTS and not isinstance(task, FinishedTask):
        with contextlib.suppress(LogUnavailable):  # what was asked for is known without
            await log.keep(latest)
    return latest


async def load_execution(log: EventLog, execution_id: UUID) -> Execution | None:
    """The execution as the log tells it now; None when there is none. Raises `LogUnavailable`."""
    return fold_execution(execution_id, await log.read_stream(execution_id))


async def load_key_use(log: EventLog, stream: UUID) -> IdempotencyKeyUsed | None:
    """What an idempotency key stands for; None when it is free. Raises `LogUnavailable`."""
    uses = map(readable, await log.read_stream(stream))
    return next((fact for fact in uses if isinstance(fact, IdempotencyKeyUsed)), None)


def fold_task(task_id: UUID, events: Sequence[Recorded]) -> Task | None:
    """The task that a stream tells of; None when it tells of none. Raises `Unreadable`."""
    task: Task | None = None
    for _, state in task_states(task_id, events):
        task = state
    return task


def _evolved(task: Task, events: Sequence[Recorded]) -> Task:
    for fact in map(readable, events):
        if isinstance(fact, _TASK_FACTS):
            task = tasks.evolve(task, fact)
    return task


def task_states(task_id: UUID, events: Sequence[Recorded]) -> Iterator[tuple[Recorded, Task]]:
    """Each event of a task's stream with the state that it led to. Raises `Unreadable`."""
    task: Task | None = None
    for event in events:
        fact = readable(event)
        if task is not None and isinstance(fact, _TASK_FACTS):
            task = tasks.evolve(task, fact)
        elif isinstance(fact, TaskCreated):
            task = tasks.begin(task_id, fact)
        if task is not None:
            yield event, task


def fold_execution(execution_id: UUID, events: Sequence[Recorded]) -> Execution | None:
    """The execution that a stream tells of; None when it tells of none. Raises `Unreadable`."""
    execution: Execution | None = None
    for fact in map(readable, events):
        if execution is not None and isinstance(fact, _EXECUTION_FACTS):
            execution = executions.evolve(execution, fact)
        elif isinstance(fact, _FIRST_FACTS):
            execution = executions.begin(execution_id, fact)
    return execution


def last_claim(events: Sequence[Recorded]) -> PlacingFact | None:
    """The fact of an execution's stream that gave its task the next place.

    None when there is none: nothing has happened, or only what a user asked for out of turn.
    """
    claim: PlacingFact | None = None
    for event in events:
        fact = event.fact
        if not isinstance(fact, _PLACING_FACTS) or fact.occurrence.kind != "scheduled":
            continue
        if claim is None or not isinstance(fact, ExecutionSkipped):
            claim = fact
    return claim


def claimed_version(events: Sequence[Recorded]) -> int:
    """The version of its task that the last attempt of an execution was claimed from; 0: none was claimed."""
    version = 0
    for event in events:
        match event.fact:
            case ExecutionStarted(occurrence=occurrence):
                version = occurrence.task_version
            case AttemptStarted(task_version=claimed) | ExecutionTakenOver(task_version=claimed):
                version = claimed
            case _:
                pass
    return version


def readable(event: Recorded) -> AnyFact:
    """The fact of an event. Raises `Unreadable` when this release cannot read it."""
    if isinstance(event.fact, Undecodable):
        raise Unreadable(event.position, event.fact.error)
    return event.fact
