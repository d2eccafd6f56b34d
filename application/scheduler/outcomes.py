"""Recording what an attempt brought, and what the end of an execution means for its task."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from application.ports import Unreadable
from application.scheduler.waiting import patiently
from application.streams import claimed_version, fold_task, task_states
from domain import execution as executions
from domain import task as tasks
from domain.consequences import consequences, outcome_of, possible
from domain.execution import Running, Waiting
from domain.facts import (
    AttemptFailed,
    ExecutionFailed,
    ExecutionSucceeded,
    TaskCancelled,
    TaskCompleted,
    TaskPaused,
)
from domain.schedule import ends

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from application.ports import Group, Recorded
    from application.scheduler.context import Context
    from application.scheduler.work import Job
    from domain.attempt import Attempt
    from domain.consequences import Final
    from domain.definition import Definition


class Outcomes:
    """Appends outcomes, waiting through any outage: a call that was made is never forgotten."""

    def __init__(self, context: Context, retry: Callable[[Job], None]) -> None:
        """`retry` takes a job whose next attempt has to wait."""
        self._log = context.log
        self._clock = context.clock
        self._node = context.node
        self._work = context.work
        self._ongoing = context.ongoing
        self._observer = context.observer
        self._chance = context.chance
        self._retry = retry

    async def settle(self, job: Job, attempt: Attempt) -> None:
        """Record one attempt; the job then waits for a retry or is done."""
        running = job.execution
        assert isinstance(running, Running)
        fact = executions.conclude(running, attempt, job.definition, self._clock.now(), self._chance())
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
        """Record the end of an execution and what follows from it for its task.

        Nothing is recorded when the log went on without us: another node took the execution over.
        """
        try:
            if recorded := await self._closed(job, fact):
                self._ongoing.ended(job.task_id, job.execution.id, job.execution.version + 1)
                self._tell(job, fact, recorded)
        finally:
            self._work.done(job)

    def _tell(self, job: Job, fact: Final, recorded: Group) -> None:
        self._observer.finished(job.execution.occurrence, fact)
        for new in recorded.facts:
            if isinstance(new.fact, TaskPaused | TaskCancelled):
                self._observer.stopped(job.execution.occurrence, new.fact)

    async def _closed(self, job: Job, fact: Final) -> Group | None:
        """What the log has accepted; None: it went on without us."""
        group = (
            await self._end_now(job, fact) if _depends_on_task(job, fact) else self._expected_end(job, fact)
        )
        while await self._log.append(group, patience="gathered") is None:
            events = await patiently(self._clock, lambda: self._log.read_stream(job.execution.id))
            if len(events) != job.execution.version:
                return None
            group = await self._end_now(job, fact)
        return group

    def _expected_end(self, job: Job, fact: Final) -> Group:
        """With the task's end if nothing has changed since the claim: the log refuses it otherwise."""
        outcome = (job.execution.id, job.execution.version + 1, fact)
        if not tasks.completes(job.definition, job.execution.occurrence):
            return self._node.group(outcome)
        end = TaskCompleted(at=fact.at, outcome=outcome_of(fact), execution_id=job.execution.id)
        return self._node.group(outcome, (job.task_id, job.task_version + 1, end))

    async def _end_now(self, job: Job, fact: Final) -> Group:
        """With what follows for the task as it is now; the log refuses it when that changes again."""
        outcome = (job.execution.id, job.execution.version + 1, fact)
        try:
            history = await patiently(self._clock, lambda: self._log.read_stream(job.task_id))
            task = fold_task(job.task_id, history)
            called = await self._called(job, fact, history)
        except Unreadable:
            task = None  # what follows is for others to decide; what the call brought is known
        if task is None:
            return self._node.group(outcome)
        following = consequences(task, job.execution, called, fact)
        if not following:
            return self._node.group(outcome, guard=(job.task_id, task.version))
        changes = enumerate(following, start=task.version + 1)
        return self._node.group(outcome, *((job.task_id, version, change) for version, change in changes))

    async def _called(self, job: Job, fact: Final, history: Sequence[Recorded]) -> Definition:
        """What was executed. A job that ends without making a call has the task's present definition."""
        if fact.attempt is not None:
            return job.definition
        events = await patiently(self._clock, lambda: self._log.read_stream(job.execution.id))
        version = claimed_version(events)
        states = task_states(job.task_id, history)
        return next(task.definition for event, task in states if event.version == version)


def _depends_on_task(job: Job, fact: Final) -> bool:
    """Whether the claim does not tell what follows for the task, so that this has to be read."""
    changed = job.task_over or job.task_version != job.execution.occurrence.task_version
    return possible(job.definition, fact) or (changed and ends(job.definition.trigger))
