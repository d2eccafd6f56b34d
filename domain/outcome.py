"""What the end of an execution means for its task: completed, cancelled as gone, or paused after failures."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, assert_never

from domain import retry
from domain import retry as failing
from domain import task as tasks
from domain.definition import Definition, RetryPolicy
from domain.execution import Running, Waiting
from domain.facts import (
    Answered,
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionSkipped,
    ExecutionSucceeded,
    TaskCancelled,
    TaskFailuresCounted,
    TaskPaused,
)
from domain.schedule import ends, includes
from domain.task import FinishedTask, Paused, Scheduled, Task
from domain.task import FinishedTask as TaskOver

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from domain.execution import ExecutionBase
    from domain.facts import Outcome, TaskFact

type Final = ExecutionSucceeded | ExecutionFailed


def outcome_of(fact: Final) -> Outcome:
    """How it ended, in a word."""
    return "succeeded" if isinstance(fact, ExecutionSucceeded) else "failed"


def possible(called: Definition, fact: Final, *, changed: bool = False) -> bool:
    """Whether an end may mean more to the task than its completion; `called` is what was executed.

    `changed`: the occurrence was another definition's at first, so what its end completes is open as well.
    """
    watched = called.retry.disable_after_failures is not None
    return watched or _gone(called, fact) or (changed and ends(called.trigger))


def consequences(task: Task, execution: ExecutionBase, called: Definition, fact: Final) -> list[TaskFact]:
    """What follows for the task as it is now from the end of one of its executions; often nothing.

    Completion wins over the rest, which follows only for a task that still calls what was called: what came
    of a call that an update has replaced says nothing about the new one.
    """
    match task:
        case FinishedTask():
            return []
        case Scheduled() | Paused():
            end = tasks.complete(task, outcome_of(fact), execution.occurrence, execution.id, fact.at)
            if end is not None:
                return [end]
            if task.definition.action != called.action:
                return []
            if _gone(called, fact) and task.definition.retry.on_gone == "stop":
                return [TaskCancelled(at=fact.at, reason=_answered_gone(execution.id))]
            return list(_counted(task, execution.id, fact))
        case _:
            assert_never(task)


def _gone(called: Definition, fact: Final) -> bool:
    """Whether it was a status that counts, and not a condition on the body, which made it a failure."""
    if isinstance(fact, ExecutionSucceeded) or fact.attempt is None or fact.unmet is not None:
        return False
    answer = fact.attempt.answer
    return isinstance(answer, Answered) and retry.gone(called.retry, answer.status_code)


def _answered_gone(execution_id: UUID) -> str:
    return f'execution {execution_id} was answered with status 410 (Gone), and retry.on_gone is "stop"'


def _counted(task: Scheduled | Paused, execution_id: UUID, fact: Final) -> Iterator[TaskFact]:
    most = task.definition.retry.disable_after_failures
    failures = 0 if isinstance(fact, ExecutionSucceeded) else task.failures + 1
    if most is None or failures == task.failures:
        return
    yield TaskFailuresCounted(at=fact.at, failures=failures, execution_id=execution_id)
    if failures >= most and isinstance(task, Scheduled):
        yield TaskPaused(at=fact.at, note=_failing(failures, most))


def _failing(failures: int, most: int) -> str:
    executions = "execution has" if failures == 1 else "executions in a row have"
    return (
        f"{failures} {executions} failed, and retry.disable_after_failures is {most}: "
        "resume the task once the cause is removed"
    )


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
