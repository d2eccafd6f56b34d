"""What the end of an execution means for its task: completed, cancelled as gone, or paused after failures."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from domain import retry
from domain import task as tasks
from domain.attempt import Answered
from domain.facts import ExecutionFailed, ExecutionSucceeded, TaskCancelled, TaskFailuresCounted, TaskPaused
from domain.schedule import ends
from domain.task import Over, Paused, Scheduled, Task

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from domain.definition import Definition
    from domain.execution import Known
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


def consequences(task: Task, execution: Known, called: Definition, fact: Final) -> list[TaskFact]:
    """What follows for the task as it is now from the end of one of its executions; often nothing.

    Completion wins over the rest, which follows only for a task that still calls what was called: what came
    of a call that an update has replaced says nothing about the new one.
    """
    match task:
        case Over():
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
