"""Recording what an attempt brought, and closing a one-off with its last one."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, assert_never

from application.ports import LogUnavailable
from application.streams import load_execution, load_task
from domain import execution as executions
from domain import task as tasks
from domain.execution import Running, Waiting
from domain.facts import AttemptFailed, ExecutionFailed, ExecutionSucceeded, TaskCompleted

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from application.scheduler.context import Context
    from application.scheduler.work import Job
    from domain.facts import Attempt, Outcome

OUTAGE_PAUSE = timedelta(milliseconds=500)

type Final = ExecutionSucceeded | ExecutionFailed
type Completion = tuple[UUID, int, TaskCompleted]


class Outcomes:
    """Appends outcomes, waiting through any outage: a call that was made is never forgotten."""

    def __init__(self, context: Context, retry: Callable[[Job], None]) -> None:
        """`retry` takes a job whose next attempt has to wait."""
        self._log = context.log
        self._clock = context.clock
        self._node = context.node
        self._work = context.work
        self._observer = context.observer
        self._chance = context.chance
        self._retry = retry

    async def settle(self, job: Job, attempt: Attempt) -> None:
        """Record one attempt; the job then waits for a retry or is done."""
        running = job.execution
        assert isinstance(running, Running)
        fact = executions.conclude(running, attempt, job.definition.retry, self._clock.now(), self._chance())
        match fact:
            case AttemptFailed():
                await self._wait_for_retry(job, running, fact)
            case ExecutionSucceeded() | ExecutionFailed():
                await self.close(job, fact)
            case _:
                assert_never(fact)

    async def _wait_for_retry(self, job: Job, running: Running, fact: AttemptFailed) -> None:
        group = self._node.group((running.id, running.version + 1, fact))
        if await self._log.append(group, patience="gathered") is None:
            self._work.done(job)
            return
        waiting = executions.evolve(running, fact)
        assert isinstance(waiting, Waiting)
        job.execution = waiting
        self._retry(job)

    async def close(self, job: Job, fact: Final) -> bool:
        """Record the end of an execution and, with it, of a one-off.

        False: the log went on without us, because another node took the execution over.
        """
        try:
            completion = self._expected_completion(job, fact)
            while not await self._append(job, fact, completion):
                execution, task = await self._reload(job)
                if execution is None or execution.version != job.execution.version:
                    return False
                completion = _completion(task, job, fact)
            self._observer.finished(job.execution.occurrence, fact)
            return True
        finally:
            self._work.done(job)

    async def _append(self, job: Job, fact: Final, completion: Completion | None) -> bool:
        outcome = (job.execution.id, job.execution.version + 1, fact)
        group = self._node.group(outcome, *([completion] if completion else []))
        return await self._log.append(group, patience="gathered") is not None

    def _expected_completion(self, job: Job, fact: Final) -> Completion | None:
        """The task's end if nothing has changed since the claim: the log refuses it otherwise."""
        if not tasks.completes(job.definition, job.execution.occurrence.due_at):
            return None
        completed = TaskCompleted(at=fact.at, outcome=_outcome(fact), execution_id=job.execution.id)
        return job.task_id, job.task_version + 1, completed

    async def _reload(self, job: Job) -> tuple[executions.Execution | None, tasks.Task | None]:
        while True:
            try:
                return await load_execution(self._log, job.execution.id), await load_task(
                    self._log, job.task_id
                )
            except LogUnavailable:
                await self._clock.sleep_until(self._clock.now() + OUTAGE_PAUSE)


def _completion(task: tasks.Task | None, job: Job, fact: Final) -> Completion | None:
    if task is None:
        return None
    due_at = job.execution.occurrence.due_at
    completed = tasks.complete(task, _outcome(fact), due_at, job.execution.id, fact.at)
    return (job.task_id, task.version + 1, completed) if completed else None


def _outcome(fact: Final) -> Outcome:
    return "succeeded" if isinstance(fact, ExecutionSucceeded) else "failed"
