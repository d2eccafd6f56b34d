"""Folding streams of the log into the states that decisions need."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from application.ports import LogUnavailable, Undecodable
from domain import execution as executions
from domain import task as tasks
from domain.facts import ExecutionFact, ExecutionSkipped, ExecutionStarted, TaskCreated, TaskFact

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from application.ports import EventLog, Recorded
    from domain.execution import Execution
    from domain.task import Task

_TASK_FACTS = get_args(TaskFact.__value__)
_EXECUTION_FACTS = get_args(ExecutionFact.__value__)


async def load_task(log: EventLog, task_id: UUID) -> Task | None:
    """The task as the log tells it now; None when there is none. Raises `LogUnavailable`."""
    return fold_task(task_id, await log.read_stream(task_id))


async def load_execution(log: EventLog, execution_id: UUID) -> Execution | None:
    """The execution as the log tells it now; None when there is none. Raises `LogUnavailable`."""
    return fold_execution(execution_id, await log.read_stream(execution_id))


def fold_task(task_id: UUID, events: Sequence[Recorded]) -> Task | None:
    """The task that a stream tells of; None when it tells of none.

    Raises `LogUnavailable` for an event that this release cannot read: deciding without it would be wrong.
    """
    task: Task | None = None
    for event in events:
        fact = _readable(event)
        if task is None:
            task = tasks.begin(task_id, fact) if isinstance(fact, TaskCreated) else None
        elif isinstance(fact, _TASK_FACTS):
            task = tasks.evolve(task, fact)
    return task


def fold_execution(execution_id: UUID, events: Sequence[Recorded]) -> Execution | None:
    """The execution that a stream tells of; None when it tells of none. Raises `LogUnavailable` as above."""
    execution: Execution | None = None
    for event in events:
        fact = _readable(event)
        if execution is None:
            if isinstance(fact, ExecutionStarted | ExecutionSkipped):
                execution = executions.begin(execution_id, fact)
        elif isinstance(fact, _EXECUTION_FACTS):
            execution = executions.evolve(execution, fact)
    return execution


def _readable(event: Recorded) -> object:
    if isinstance(event.fact, Undecodable):
        raise LogUnavailable(f"event {event.position} cannot be read: {event.fact.error}")
    return event.fact
