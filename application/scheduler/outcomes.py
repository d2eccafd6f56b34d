"""Recording what an attempt brought, and closing a task with its last execution."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from application.ports import Unreadable
from application.scheduler.waiting import patiently
from application.streams import load_task
from domain import execution as executions
from domain import task as tasks
from domain.execution import Running, Waiting
from domain.facts import AttemptFailed, ExecutionFailed, ExecutionSucceeded, TaskCompleted
from domain.schedule import ends

if TYPE_CHECKING:
    from collections.abc import Callable

    from application.ports import Group
    from application.scheduler.context import Context
    from application.scheduler.work import Job
    from domain.facts import Attempt, Outcome

type Final = ExecutionSucceeded | ExecutionFailed


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

    async def close(self, job: Job, fact: Final) -> None:
        """Record the end of an execution and, with the last one, of its task.

        Nothing is recorded when the log went on without us: another node took the execution over.
        """
        try:
            if await self._closed(job, fact):
                self._observer.finished(job.execution.occurrence, fact)
        finally:
            self._work.done(job)

    async def _closed(self, job: Job, fact: Final) -> bool:
        unchanged = job.task_version == job.execution.occurrence.task_version
        expected = unchanged or not ends(job.definition.trigger)
        group = self._expected_end(job, fact) if expected else await self._end_now(job, fact)
        while await self._log.append(group, patience="gathered") is None:
            events = await patiently(self._clock, lambda: self._log.read_stream(job.execution.id))
            if len(events) != job.execution.version:
                return False
            group = await self._end_now(job, fact)
        return True

    def _expected_end(self, job: Job, fact: Final) -> Group:
        """With the task's end if nothing has changed since the claim: the log refuses it otherwise."""
        outcome = (job.execution.id, job.execution.version + 1, fact)
        if not tasks.completes(job.definition, job.execution.occurrence):
            return self._node.group(outcome)
        end = TaskCompleted(at=fact.at, outcome=_outcome(fact), execution_id=job.execution.id)
        return self._node.group(outcome, (job.task_id, job.task_version + 1, end))

    async def _end_now(self, job: Job, fact: Final) -> Group:
        """With the task's end if it ends here as it is now; the log refuses it when that changes again."""
        outcome = (job.execution.id, job.execution.version + 1, fact)
        try:
            task = await patiently(self._clock, lambda: load_task(self._log, job.task_id))
        except Unreadable:
            task = None  # whether it ends is for others to decide; what the call brought is known
        if task is None:
            return self._node.group(outcome)
        occurrence = job.execution.occurrence
        end = tasks.complete(task, _outcome(fact), occurrence, job.execution.id, fact.at)
        if end is None:
            return self._node.group(outcome, guard=(job.task_id, task.version))
        return self._node.group(outcome, (job.task_id, task.version + 1, end))


def _outcome(fact: Final) -> Outcome:
    return "succeeded" if isinstance(fact, ExecutionSucceeded) else "failed"
