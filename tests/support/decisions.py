"""Decisions upon tasks and executions, for `given(…).when(…)`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from domain import execution as executions
from domain import outcome as ending
from domain import task as tasks
from domain.definition import Definition, Delivery, RetryPolicy, SuccessPolicy
from domain.execution import Execution, Running, Waiting
from domain.facts import (
    Answer,
    ExecutionFailed,
    Fact,
    Outcome,
    TaskCancelled,
    TaskCompleted,
    TaskUpdated,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from domain.task import Task
from tests.support.given import NOON, RUN, Given, attempt, definition, occurrence


def update(
    *, if_match: int | None = None, now: datetime = NOON, **words: Any
) -> Callable[[Task], TaskUpdated | None]:
    """The decision to replace a definition."""
    return lambda task: tasks.update(task, definition(**words), now, if_match)


def cancel(if_match: int | None = None) -> Callable[[Task], TaskCancelled | None]:
    """The decision to stop a task."""
    return lambda task: tasks.cancel(task, NOON, if_match)


def complete(due_at: datetime, outcome: Outcome = "succeeded") -> Callable[[Task], TaskCompleted | None]:
    """The decision to close a one-off whose occurrence at an instant is over."""
    return lambda task: tasks.complete(task, outcome, occurrence(due_at), RUN, NOON)


def conclude(
    answer: Answer | int,
    *,
    number: int | None = None,
    chance: float = 0.5,
    now: datetime = NOON,
    delivery: Delivery = "at_least_once",
    success: SuccessPolicy | None = None,
    **policy: Any,
) -> Callable[[Execution], Fact]:
    """The decision about what an answer means; `policy` is when to retry."""
    called = definition(retry=RetryPolicy(**policy), success=success or SuccessPolicy(), delivery=delivery)

    def decide(execution: Execution) -> Fact:
        assert isinstance(execution, Running)
        made = attempt(number or execution.attempts, answer)
        return executions.conclude(execution, made, called, now, chance)

    return decide


def give_up(*, now: datetime = NOON, **words: Any) -> Callable[[Execution], ExecutionFailed | None]:
    """The decision whether what a dead node left is over, by the words of `definition`."""

    def decide(execution: Execution) -> ExecutionFailed | None:
        assert isinstance(execution, Running)
        return ending.give_up(execution, definition(**words), now)

    return decide


def lapse(*, now: datetime = NOON, **words: Any) -> Callable[[Execution], ExecutionFailed | None]:
    """The decision whether an attempt that was not sent may begin no more, by the words of `definition`."""

    def decide(execution: Execution) -> ExecutionFailed | None:
        assert isinstance(execution, Running | Waiting)
        return ending.lapse(execution, definition(**words), now)

    return decide


def drop(task: Given[Task], *, claimed_from: Definition | None = None, unsent: bool) -> Callable[..., Any]:
    """The decision whether an execution still goes on when its task has changed."""

    def decide(execution: Execution) -> Fact | None:
        assert isinstance(execution, Running | Waiting)
        return ending.drop(execution, claimed_from or definition(), task.state, NOON, unsent=unsent)

    return decide
