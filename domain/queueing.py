"""What becomes of a queued occurrence when there is room for it: from the task as it is by then."""

from __future__ import annotations

from datetime import datetime
from typing import assert_never

from msgspec.structs import replace

from domain.execution import Lease, Requested
from domain.facts import ExecutionCancelled, ExecutionSkipped, ExecutionStarted, Occurrence
from domain.overlap import Going, has_room
from domain.schedule import fires_at, includes, next_after
from domain.task import Over, Paused, Scheduled, Task

type Turned = ExecutionStarted | ExecutionSkipped | ExecutionCancelled


def moves(task: Task, going: Going) -> bool:
    """Whether the first in the queue leaves it now: there is room, or its task was cancelled.

    A paused task keeps what it has queued.
    """
    match task:
        case Paused():
            return False
        case Over(status="cancelled"):
            return True
        case Scheduled() | Over():
            return has_room(task.definition, going)
        case _:
            assert_never(task)


def start(queued: Requested, task: Task, lease: Lease, now: datetime) -> Turned:
    """Claim the queued execution that is to move.

    It ends with a cancelled task, and with a schedule that its instant is no longer part of, or has yet to
    come to. A schedule that is through takes nothing from what it has queued.
    """
    if isinstance(task, Over) and task.status == "cancelled":
        reason = "the task was cancelled while this occurrence was queued"
        return ExecutionCancelled(at=now, task_id=task.id, reason=reason)
    if not _replaced(queued.occurrence, task):
        return _started(queued, task, lease, now)
    if includes(task.definition.trigger, queued.occurrence.due_at) and not _lies_ahead(
        queued.occurrence, task
    ):
        return _started(_of_now(queued, task), task, lease, now)
    return _dropped(queued, task, now)


def _replaced(occurrence: Occurrence, task: Task) -> bool:
    """Whether the schedule may be another one since; of a task that is over it is not known."""
    return isinstance(task, Over) or occurrence.task_version < task.placed_in


def _lies_ahead(occurrence: Occurrence, task: Task) -> bool:
    """Whether the task comes to it by its present schedule: by a clock that was set back, say.

    To start it now would take the task past all that is due before it.
    """
    return isinstance(task, Scheduled | Paused) and occurrence.due_at > task.placed_at


def _of_now(queued: Requested, task: Task) -> Requested:
    """An occurrence of both schedules: as a run of the present one it does not count."""
    if isinstance(task, Over):
        return queued
    occurrence, trigger = replace(queued.occurrence, run=0), task.definition.trigger
    following = next_after(trigger, occurrence.due_at)
    fire_at = None if following is None else fires_at(trigger, task.id, following)
    delayed = None if fire_at == following else fire_at
    return replace(queued, occurrence=occurrence, next_run_at=following, next_fire_at=delayed)


def _started(queued: Requested, task: Task, lease: Lease, now: datetime) -> ExecutionStarted:
    return ExecutionStarted(
        at=now,
        occurrence=replace(queued.occurrence, task_version=task.version, task_name=task.definition.name),
        node=lease.node,
        lease_until=lease.until,
        next_run_at=queued.next_run_at,
        next_fire_at=queued.next_fire_at,
    )


def _dropped(queued: Requested, task: Task, now: datetime) -> ExecutionSkipped:
    return ExecutionSkipped(
        at=now,
        occurrence=queued.occurrence,
        reason="the task was rescheduled while this occurrence was queued",
        next_run_at=None if isinstance(task, Over) else task.placed_at,
        by="change",
    )
