"""What users did, done again in a simulation: as far as it still makes sense there."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from msgspec.structs import replace

from domain import requesting
from domain import task as tasks
from domain.errors import Refused
from domain.execution import Over
from domain.facts import (
    ExecutionCancelled,
    ExecutionRequested,
    TaskCancelled,
    TaskPaused,
    TaskResumed,
    TaskUpdated,
)
from domain.schedule import NothingAhead, includes

if TYPE_CHECKING:
    from uuid import UUID

    from application.ports import Recorded
    from application.what_if.simulation import Change, Simulation


def repeat(simulation: Simulation, event: Recorded, change: Change) -> None:
    """Decide again upon what a user asked for; what is refused by now is left out."""
    with contextlib.suppress(Refused, NothingAhead):
        _repeat(simulation, event, change)


def _repeat(simulation: Simulation, event: Recorded, change: Change) -> None:
    task = simulation.state.task
    match event.fact:
        case TaskUpdated(at=at, definition=definition):
            simulation.tell_task(tasks.update(task, change(definition), at, None))
        case TaskPaused(at=at, note=note):
            simulation.tell_task(tasks.pause(task, note, at, None))
        case TaskResumed(at=at):
            simulation.tell_task(tasks.resume(task, at, None))
        case TaskCancelled(at=at):
            simulation.tell_task(tasks.cancel(task, at, None))
        case ExecutionRequested() as fact:
            _request(simulation, event.stream, fact)
        case fact:
            assert isinstance(fact, ExecutionCancelled), "nothing else is a command"
            _break_off(simulation, event.stream, fact)


def _request(simulation: Simulation, run: UUID, fact: ExecutionRequested) -> None:
    """A backfill asks for instants of the schedule as it is."""
    task, due_at = simulation.state.task, fact.occurrence.due_at
    if fact.occurrence.kind == "manual":
        simulation.tell(run, requesting.trigger(task, fact.at, None))
    elif includes(task.definition.trigger, due_at):
        before = simulation.state.executions.get(run)
        wanted = requesting.backfill(task, due_at, before, fact.at)
        if wanted is not None:
            simulation.tell(run, wanted)


def _break_off(simulation: Simulation, run: UUID, fact: ExecutionCancelled) -> None:
    execution = simulation.state.executions.get(run)
    if execution is None or isinstance(execution, Over):
        return
    cancelled = requesting.cancel(execution, None, fact.at)
    assert cancelled is not None, "what is not over can be cancelled"
    end = requesting.cancel_with(execution, simulation.state.task, fact.at)
    simulation.tell(run, replace(cancelled, reason=fact.reason))
    simulation.tell_task(end)
