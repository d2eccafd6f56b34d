"""Given what has happened, when something is decided, then these are the facts: for tasks and executions.

given(created(cron="* * * * *"), cancelled()).when(update(name="other")).refused(TaskAlreadyOver)
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from domain import execution as executions
from domain import task as tasks
from domain.definition import Action, Cron, Definition, Interval, OneOff
from domain.execution import Execution, Lease
from domain.facts import (
    Answer,
    Answered,
    Attempt,
    AttemptFailed,
    AttemptStarted,
    ExecutionFact,
    ExecutionFailed,
    ExecutionQueued,
    ExecutionSkipped,
    ExecutionStarted,
    ExecutionSucceeded,
    ExecutionTakenOver,
    Fact,
    Occurrence,
    Outcome,
    TaskCancelled,
    TaskCompleted,
    TaskCreated,
    TaskFact,
    TaskUpdated,
    Unanswered,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from domain.execution import FirstFact
    from domain.task import Task

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
TASK = UUID(int=1)
RUN = UUID(int=2)
MINUTE = timedelta(minutes=1)

type State = Task | Execution


@dataclass(frozen=True)
class Decided:
    """What a decision came to: facts, nothing, or a refusal."""

    fact: Fact | None
    refusal: Exception | None

    def decides(self, expected: Fact | type[Fact]) -> Fact:
        """It is this fact, or one of this kind; the fact."""
        assert self.refusal is None, f"refused: {self.refusal}"
        if isinstance(expected, type):
            assert isinstance(self.fact, expected), self.fact
        else:
            assert self.fact == expected
        assert self.fact is not None
        return self.fact

    def decides_nothing(self) -> None:
        """Neither a fact nor a refusal."""
        assert (self.fact, self.refusal) == (None, None)

    def refused(self, kind: type[Exception]) -> Exception:
        """Refused in this way; the refusal."""
        if not isinstance(self.refusal, kind):
            pytest.fail(f"not refused as {kind.__name__}: {self.refusal or self.fact}")
        return self.refusal


@dataclass(frozen=True)
class Given[S: (Task, Execution)]:
    """What has happened so far, and the state that it comes to."""

    state: S

    def when(self, decision: Callable[[S], Fact | None]) -> Decided:
        """Decide upon the state."""
        try:
            return Decided(decision(self.state), None)
        except Exception as refusal:
            return Decided(None, refusal)


def given(first: TaskCreated, *later: TaskFact) -> Given[Task]:
    """The task that these facts tell of."""
    task: Task = tasks.begin(TASK, first)
    for fact in later:
        task = tasks.evolve(task, fact)
    return Given(task)


def given_execution(first: FirstFact, *later: ExecutionFact) -> Given[Execution]:
    """The execution that these facts tell of."""
    execution: Execution = executions.begin(RUN, first)
    for fact in later:
        execution = executions.evolve(execution, fact)
    return Given(execution)


def after(seconds: float) -> datetime:
    """An instant after noon."""
    return NOON + timedelta(seconds=seconds)


def definition(
    *, cron: str | None = None, at: datetime | None = None, name: str = "report", **rest: Any
) -> Definition:
    """A definition; every minute unless `cron` or `at` says otherwise. `rest` are its policies."""
    usual = OneOff(datetime=at) if at else Cron(cron=cron or "* * * * *")
    trigger = rest.pop("trigger", usual)
    action = Action(method="GET", url=rest.pop("url", "http://target/"), timeout_seconds=10)
    return Definition(name=name, trigger=trigger, action=action, **rest)


def every(seconds: int, **bounds: Any) -> Interval:
    """A trigger that is due at noon, and every so many seconds."""
    return Interval(every_seconds=seconds, anchor=NOON, **bounds)


def created(**words: Any) -> TaskCreated:
    """A task, defined by the words of `definition`, from noon on."""
    return tasks.create("default", definition(**words), NOON)


def updated(*, next_run_at: datetime | None = None, now: datetime = NOON, **words: Any) -> TaskUpdated:
    """Another definition."""
    return TaskUpdated(at=now, definition=definition(**words), next_run_at=next_run_at)


def cancelled(at: datetime = NOON) -> TaskCancelled:
    """The user's end of a task."""
    return TaskCancelled(at=at)


def completed(outcome: Outcome = "succeeded") -> TaskCompleted:
    """A one-off's own end."""
    return TaskCompleted(at=NOON, outcome=outcome, execution_id=RUN)


def occurrence(due_at: datetime = NOON, task_version: int = 1, **rest: Any) -> Occurrence:
    """The task's occurrence at an instant."""
    return Occurrence(
        task_id=TASK,
        task_version=task_version,
        task_name="report",
        namespace="default",
        due_at=due_at,
        **rest,
    )


def started(due_at: datetime = NOON) -> ExecutionStarted:
    """A claim by node-1 for a minute."""
    return ExecutionStarted(
        at=due_at,
        occurrence=occurrence(due_at),
        node="node-1",
        lease_until=due_at + MINUTE,
        next_run_at=due_at + MINUTE,
    )


def skipped() -> ExecutionSkipped:
    """An occurrence that does not run."""
    return ExecutionSkipped(at=NOON, occurrence=occurrence(), reason="missed", next_run_at=None)


def queued(due_at: datetime = NOON, behind: UUID = RUN, **rest: Any) -> ExecutionQueued:
    """An occurrence that waits for a run of its task."""
    return ExecutionQueued(
        at=due_at, occurrence=occurrence(due_at, **rest), behind=behind, next_run_at=due_at + MINUTE
    )


def attempt(number: int = 1, answer: Answer | int = 200) -> Attempt:
    """One call; a number stands for the status of an answer."""
    made = Answered(status_code=answer) if isinstance(answer, int) else answer
    return Attempt(number=number, started_at=NOON, duration_ms=5, answer=made)


def failed_attempt(number: int = 1, answer: Answer | int = 503) -> AttemptFailed:
    """A call that is followed by another one, a minute past noon."""
    return AttemptFailed(at=NOON, task_id=TASK, attempt=attempt(number, answer), retry_at=NOON + MINUTE)


def started_again(number: int = 2) -> AttemptStarted:
    """The claim of a retry by node-2."""
    return AttemptStarted(
        at=NOON + MINUTE,
        task_id=TASK,
        task_version=1,
        number=number,
        node="node-2",
        lease_until=NOON + 2 * MINUTE,
    )


def taken_over(number: int = 2) -> ExecutionTakenOver:
    """node-3 goes on where another node left."""
    return ExecutionTakenOver(
        at=NOON,
        task_id=TASK,
        task_version=1,
        number=number,
        node="node-3",
        lost_by="node-1",
        lease_until=NOON + MINUTE,
    )


def succeeded(number: int = 1) -> ExecutionSucceeded:
    """The good end."""
    return ExecutionSucceeded(at=NOON, task_id=TASK, attempt=attempt(number))


def failed(number: int = 1) -> ExecutionFailed:
    """The bad end."""
    return ExecutionFailed(at=NOON, task_id=TASK, attempt=attempt(number, 404), reason="final")


def lease(node: str = "node-9", task_version: int = 4) -> Lease:
    """A minute from noon."""
    return Lease(node=node, task_version=task_version, until=NOON + MINUTE)


def no_answer(*, retryable: bool = True, sent: bool = True) -> Unanswered:
    """A call that brought nothing."""
    return Unanswered(error="connection refused", retryable=retryable, sent=sent)


def answered(status: int = 200, body: str = "", *, truncated: bool = False, **headers: str) -> Answered:
    """An answer; an underscore in the name of a header stands for a hyphen."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answered(status_code=status, headers=named, body=body, truncated=truncated)
