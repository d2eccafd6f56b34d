"""What users ask of single executions: one now, some of the past, and the end of one that goes on."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, assert_never

from msgspec import Struct
from msgspec.structs import replace

from domain.definition import Definition
from domain.errors import ExecutionAlreadyOver, MonthArchived, TaskAlreadyOver
from domain.execution import Execution, FinishedExecution, Lease, Requested, Running, Waiting
from domain.facts import (
    ExecutionCancelled,
    ExecutionRequested,
    ExecutionSkipped,
    ExecutionStarted,
    Occurrence,
    OccurrenceKind,
    TaskCancelled,
)
from domain.identity import Month, due_at_of
from domain.overlap import ConcurrencyState, has_room
from domain.schedule import fires_at, includes, next_after
from domain.task import FinishedTask, Paused, Scheduled, Task, check_version, ends_with
from domain.task import FinishedTask as TaskOver

if TYPE_CHECKING:
    from collections.abc import Iterable, Set
    from uuid import UUID

type QueuedOutcome = ExecutionStarted | ExecutionSkipped | ExecutionCancelled


def moves(task: Task, open_runs: ConcurrencyState) -> bool:
    """Whether the first in the queue leaves it now: there is room, or its task was cancelled.

    A paused task keeps what it has queued.
    """
    match task:
        case Paused():
            return False
        case FinishedTask(status="cancelled"):
            return True
        case Scheduled() | FinishedTask():
            return has_room(task.definition, open_runs)
        case _:
            assert_never(task)


def start_queued(queued: Requested, task: Task, lease: Lease, now: datetime) -> QueuedOutcome:
    """Claim the queued execution that is to move.

    It ends with a cancelled task, and with a schedule that its instant is no longer part of, or has yet to
    come to. A schedule that is through takes nothing from what it has queued.
    """
    if isinstance(task, FinishedTask) and task.status == "cancelled":
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
    return isinstance(task, FinishedTask) or occurrence.task_version < task.placed_in


def _lies_ahead(occurrence: Occurrence, task: Task) -> bool:
    """Whether the task comes to it by its present schedule: by a clock that was set back, say.

    To start it now would take the task past all that is due before it.
    """
    return isinstance(task, Scheduled | Paused) and occurrence.due_at > task.placed_at


def _of_now(queued: Requested, task: Task) -> Requested:
    """An occurrence of both schedules: as a run of the present one it does not count."""
    if isinstance(task, FinishedTask):
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
        next_run_at=None if isinstance(task, FinishedTask) else task.placed_at,
        by="change",
    )


NOTED = "cancelled by a user: "
"""What stands before the note of a user who cancels an execution."""

_MILLISECOND = timedelta(milliseconds=1)


class Period(Struct, frozen=True, gc=False, kw_only=True):
    """Up to `limit` nominal instants from `start` on and before `end`."""

    start: datetime
    end: datetime
    limit: int


def trigger(task: Task, now: datetime, expected_version: int | None) -> ExecutionRequested:
    """Run a task out of turn; its schedule stays as it is, and a paused one may be run.

    Raises `TaskAlreadyOver` and `VersionMismatch`.
    """
    check_version(task, expected_version)
    whole = now.replace(microsecond=now.microsecond // 1000 * 1000)  # ids know milliseconds
    return _request(task, whole, "manual", now)


def backfill(
    task: Task, due_at: datetime, before: Execution | None, now: datetime
) -> ExecutionRequested | None:
    """Run an occurrence of the past; None when it has run, runs, or is wanted already.

    What was skipped, or cancelled before its first attempt, has not run. Raises `TaskAlreadyOver`.
    """
    match before:
        case None | FinishedExecution(status="skipped") | FinishedExecution(status="cancelled", attempts=0):
            return _request(task, due_at, "backfill", now)
        case _:
            return None


def check_months(wanted: Iterable[UUID], archived: Set[Month]) -> None:
    """Executions are wanted of months that are not archived. Raises `MonthArchived` for the first that is."""
    for run in wanted:
        if (month := Month.of(due_at_of(run))) in archived:
            raise MonthArchived(month)


def nominal(definition: Definition, period: Period) -> tuple[list[datetime], datetime | None]:
    """The instants of a period by the definition's schedule, and the first one that the limit left out."""
    instants: list[datetime] = []
    instant = next_after(definition.trigger, period.start - _MILLISECOND)
    while instant is not None and instant < period.end:
        if len(instants) == period.limit:
            return instants, instant
        instants.append(instant)
        instant = next_after(definition.trigger, instant)
    return instants, None


def start(
    execution: Requested, task: Task, lease: Lease, now: datetime
) -> ExecutionStarted | ExecutionCancelled:
    """Claim a requested execution from the task as it is now, or cancel it with a task that was cancelled.

    A schedule that is through by now takes nothing from what a user has asked for.
    """
    if isinstance(task, TaskOver) and task.status == "cancelled":
        reason = "the task was cancelled before a scheduler took it"
        return ExecutionCancelled(at=now, task_id=task.id, reason=reason)
    wanted = execution.occurrence
    return ExecutionStarted(
        at=now,
        occurrence=_occurrence(task, wanted.due_at, wanted.kind),
        node=lease.node,
        lease_until=lease.until,
        next_run_at=None,
    )


def cancel(execution: Execution, note: str | None, now: datetime) -> ExecutionCancelled | None:
    """End an execution: its call is broken off and not repeated; None when it is cancelled already.

    Raises `ExecutionAlreadyOver`.
    """
    match execution:
        case Requested() | Running() | Waiting():
            return ExecutionCancelled(
                at=now,
                task_id=execution.occurrence.task_id,
                reason=f"{NOTED}{note}" if note else "cancelled by a user",
                interrupted=isinstance(execution, Running),
            )
        case FinishedExecution(status="cancelled"):
            return None
        case FinishedExecution():
            raise ExecutionAlreadyOver(execution.id, execution.status)
        case _:
            assert_never(execution)


def cancel_with(execution: Execution, task: Task, now: datetime) -> TaskCancelled | None:
    """The end of a task whose last occurrence is cancelled; None: the task goes on, or is over."""
    match task:
        case Scheduled() | Paused():
            return TaskCancelled(at=now) if ends_with(task, execution.occurrence) else None
        case TaskOver():
            return None
        case _:
            assert_never(task)


def _request(task: Task, due_at: datetime, kind: OccurrenceKind, now: datetime) -> ExecutionRequested:
    if isinstance(task, TaskOver):
        raise TaskAlreadyOver(task.id, task.status)
    return ExecutionRequested(at=now, occurrence=_occurrence(task, due_at, kind))


def _occurrence(task: Task, due_at: datetime, kind: OccurrenceKind) -> Occurrence:
    return Occurrence(
        task_id=task.id,
        task_version=task.version,
        task_name=task.definition.name,
        namespace=task.namespace,
        due_at=due_at,
        kind=kind,
    )
