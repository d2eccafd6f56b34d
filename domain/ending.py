"""When an execution ends without an answer: its attempt is lost, too late, or its task has changed."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import assert_never

from domain import failing
from domain.definition import Definition, RetryPolicy
from domain.execution import Running, Waiting
from domain.facts import ExecutionCancelled, ExecutionFailed, ExecutionSkipped
from domain.schedule import includes
from domain.task import Over as TaskOver
from domain.task import Paused, Scheduled, Task

# A task whose calls take their scheduler down each time must come to an end.
MAX_LOST_ATTEMPTS = 5
# A retry that was planned in time is made in time, though its claim, or its turn to be sent, takes a moment.
RETRY_GRACE = timedelta(seconds=5)


def give_up(execution: Running, definition: Definition, now: datetime) -> ExecutionFailed | None:
    """Fail what its scheduler has left, when it may have no other attempt from now on; None while it may."""
    unknown = f"the outcome of attempt {execution.attempts} is unknown, as its scheduler stopped meanwhile"
    if definition.delivery == "at_most_once":
        reason = f"{unknown}, and at_most_once allows no second call"
    elif execution.lost >= MAX_LOST_ATTEMPTS:
        attempts = execution.lost + 1
        reason = f"the outcomes of {attempts} attempts are unknown: their schedulers stopped meanwhile"
    elif too_late := failing.why_too_late(definition.retry, execution.began_at, now):
        reason = f"{unknown}, and {too_late}"
    else:
        return None
    return ExecutionFailed(at=now, task_id=execution.occurrence.task_id, attempt=None, reason=reason)


def lapse(execution: Running | Waiting, definition: Definition, now: datetime) -> ExecutionFailed | None:
    """Fail what waits for an attempt, or claimed it and did not send it, that may not begin any more.

    None while it may. Its time has passed unclaimed, or the task was changed meanwhile.
    """
    reason = failing.why_not_twice(definition.delivery, sent=execution.sent)
    reason = reason or _why_too_late(execution, definition.retry, now)
    if reason is None:
        return None
    task_id = execution.occurrence.task_id
    return ExecutionFailed(at=now, task_id=task_id, attempt=None, reason=reason, lapsed=True)


def _why_too_late(execution: Running | Waiting, policy: RetryPolicy, now: datetime) -> str | None:
    """A first attempt never is, and others may begin a moment later than they were planned."""
    match execution:
        case Waiting(retry_at=planned) if now <= planned + RETRY_GRACE:
            return failing.why_too_late(policy, execution.began_at, planned)
        case Running(attempts=1):
            return None
        case Running() if not failing.why_too_late(policy, execution.began_at, now - RETRY_GRACE):
            return None
        case _:
            return failing.why_too_late(policy, execution.began_at, now)


def drop(
    execution: Running | Waiting, claimed_from: Definition, task: Task, now: datetime, *, unsent: bool
) -> ExecutionSkipped | ExecutionCancelled | None:
    """End an execution whose task is cancelled, or whose `unsent` call was rescheduled; None: it goes on.

    A rescheduled one goes on, too, when the new schedule includes its instant, or a user asked for it. What
    was claimed before a pause goes on, and so does what was claimed before the schedule came to its end.
    """
    occurrence = execution.occurrence
    never_sent = unsent and isinstance(execution, Running) and execution.attempts == 1
    match task:
        case TaskOver(status="cancelled") if never_sent:
            reason = "the task was cancelled before the call was sent"
            return ExecutionSkipped(
                at=now, occurrence=occurrence, reason=reason, next_run_at=None, by="change"
            )
        case TaskOver(status="cancelled"):
            reason = "the task was cancelled: no further attempt is made"
            interrupted = isinstance(execution, Running) and not unsent
            return ExecutionCancelled(
                at=now, task_id=occurrence.task_id, reason=reason, interrupted=interrupted
            )
        case Scheduled() | Paused() | TaskOver():
            kept = occurrence.kind != "scheduled" or task.definition.trigger == claimed_from.trigger
            if not never_sent or kept or includes(task.definition.trigger, occurrence.due_at):
                return None
            reason = "the task was rescheduled before the call was sent"
            place = None if isinstance(task, TaskOver) else task.placed_at
            return ExecutionSkipped(
                at=now, occurrence=occurrence, reason=reason, next_run_at=place, by="change"
            )
        case _:
            assert_never(task)
