"""What the end of an execution means for its task: completed, cancelled as gone, or paused after failures."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import assert_never
from uuid import UUID

from domain import retry
from domain import task as tasks
from domain.definition import Definition, RetryPolicy
from domain.execution import ExecutionBase, Running, Waiting
from domain.facts import (
    Answered,
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionSkipped,
    ExecutionSucceeded,
    Outcome,
    TaskCancelled,
    TaskFact,
    TaskFailuresCounted,
    TaskPaused,
)
from domain.schedule import ends, includes
from domain.task import FinishedTask, Paused, Scheduled, Task

type Final = ExecutionSucceeded | ExecutionFailed


def outcome_of(fact: Final) -> Outcome:
    """The outcome that the end of an execution stands for."""
    return "succeeded" if isinstance(fact, ExecutionSucceeded) else "failed"


def possible(called: Definition, fact: Final, *, changed: bool = False) -> bool:
    """Whether an end may have consequences for the task besides completing it; `called` is what was executed.

    `changed`: the definition has changed since the claim, so the end may or may not complete the task.
    """
    watched = called.retry.disable_after_failures is not None
    return watched or _gone(called, fact) or (changed and ends(called.trigger))


def consequences(task: Task, execution: ExecutionBase, called: Definition, fact: Final) -> list[TaskFact]:
    """The facts that the end of an execution adds to its task as it is now; often none.

    A task that is completed is not cancelled or paused as well. Failures count only while the task still
    calls what was called: the outcome of a replaced action says nothing about the new one.
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
    """Whether the target answered that it is gone; a failed condition on the body is no such answer."""
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


# An execution whose calls crash the scheduler each time must come to an end.
MAX_LOST_ATTEMPTS = 5
# A retry that was planned in time may begin a little later: claiming and sending it take a moment.
RETRY_GRACE = timedelta(seconds=5)


def give_up(execution: Running, definition: Definition, now: datetime) -> ExecutionFailed | None:
    """Fail an execution that a dead node left running, if it may make no other attempt; None while it may."""
    unknown = f"the outcome of attempt {execution.attempts} is unknown, as its scheduler stopped meanwhile"
    if definition.delivery == "at_most_once":
        reason = f"{unknown}, and at_most_once allows no second call"
    elif execution.lost >= MAX_LOST_ATTEMPTS:
        attempts = execution.lost + 1
        reason = f"the outcomes of {attempts} attempts are unknown: their schedulers stopped meanwhile"
    elif too_late := retry.why_too_late(definition.retry, execution.began_at, now):
        reason = f"{unknown}, and {too_late}"
    else:
        return None
    return ExecutionFailed(at=now, task_id=execution.occurrence.task_id, attempt=None, reason=reason)


def lapse(execution: Running | Waiting, definition: Definition, now: datetime) -> ExecutionFailed | None:
    """Fail an execution whose next attempt may not be sent any more; None while it may.

    Either it would begin later than `max_elapsed_seconds`, or the task has changed since.
    """
    reason = retry.why_not_twice(definition.delivery, sent=execution.sent)
    reason = reason or _why_too_late(execution, definition.retry, now)
    if reason is None:
        return None
    task_id = execution.occurrence.task_id
    return ExecutionFailed(at=now, task_id=task_id, attempt=None, reason=reason, lapsed=True)


def _why_too_late(execution: Running | Waiting, policy: RetryPolicy, now: datetime) -> str | None:
    """Why the attempt would begin too late. First attempts never do; retries have `RETRY_GRACE`."""
    match execution:
        case Waiting(retry_at=planned) if now <= planned + RETRY_GRACE:
            return retry.why_too_late(policy, execution.began_at, planned)
        case Running(attempts=1):
            return None
        case Running() if not retry.why_too_late(policy, execution.began_at, now - RETRY_GRACE):
            return None
        case _:
            return retry.why_too_late(policy, execution.began_at, now)


def drop(
    execution: Running | Waiting, claimed_from: Definition, task: Task, now: datetime, *, unsent: bool
) -> ExecutionSkipped | ExecutionCancelled | None:
    """End an execution whose task was cancelled, or rescheduled before the call was sent; None: it goes on.

    It also goes on when the new schedule includes its instant, when a user requested it, and when it was
    claimed before the task was paused or completed.
    """
    occurrence = execution.occurrence
    never_sent = unsent and isinstance(execution, Running) and execution.attempts == 1
    match task:
        case FinishedTask(status="cancelled") if never_sent:
            reason = "the task was cancelled before the call was sent"
            return ExecutionSkipped(
                at=now, occurrence=occurrence, reason=reason, next_run_at=None, by="change"
            )
        case FinishedTask(status="cancelled"):
            reason = "the task was cancelled: no further attempt is made"
            interrupted = isinstance(execution, Running) and not unsent
            return ExecutionCancelled(
                at=now, task_id=occurrence.task_id, reason=reason, interrupted=interrupted
            )
        case Scheduled() | Paused() | FinishedTask():
            kept = occurrence.kind != "scheduled" or task.definition.trigger == claimed_from.trigger
            if not never_sent or kept or includes(task.definition.trigger, occurrence.due_at):
                return None
            reason = "the task was rescheduled before the call was sent"
            place = None if isinstance(task, FinishedTask) else task.placed_at
            return ExecutionSkipped(
                at=now, occurrence=occurrence, reason=reason, next_run_at=place, by="change"
            )
        case _:
            assert_never(task)
