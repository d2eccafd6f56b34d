"""Claiming a further attempt of an execution: from the task as it is now, if the log still allows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from application.scheduler.waiting import patiently
from application.streams import load_task
from domain import ending
from domain import execution as executions

if TYPE_CHECKING:
    from collections.abc import Callable

    from application.scheduler.context import Context
    from application.scheduler.work import Job
    from domain.facts import AttemptStarted, ExecutionFailed, ExecutionTakenOver
    from domain.task import Task


class GivenUp(Exception):
    """There may be no further attempt: the execution ends."""

    def __init__(self, end: ExecutionFailed) -> None:
        super().__init__(end.reason)
        self.end = end


class Reclaim:
    """Appends a claim guarded by the task's version; reads both streams again when the log refuses it."""

    def __init__(self, context: Context) -> None:
        self._log = context.log
        self._clock = context.clock
        self._node = context.node
        self._ongoing = context.ongoing

    async def __call__(
        self, job: Job, decide: Callable[[Job], AttemptStarted | ExecutionTakenOver], *, unsent: bool = False
    ) -> bool:
        """Whether the job is claimed again; False: somebody else has it, or it has been ended here.

        `unsent`: the claim that is being replaced was certainly not sent. Waits through any outage; raises
        `Unreadable`, and `GivenUp` when `decide` does so for the task as it is now.
        """
        outdated = job.overtaken
        while True:
            if outdated and not await self._review(job, unsent=unsent):
                return False
            try:
                fact = decide(job)
            except GivenUp:
                if outdated:
                    raise
                outdated = True
                continue
            group = self._node.group(
                (job.execution.id, job.execution.version + 1, fact), guard=(job.task_id, job.task_version)
            )
            if await self._log.append(group, patience="patient") is not None:
                claimed = executions.evolve(job.execution, fact)
                assert isinstance(claimed, executions.Running)
                job.execution = claimed
                return True
            outdated = True

    async def _review(self, job: Job, *, unsent: bool) -> bool:
        """Compare with the log; False when the execution went on without us or has to end."""
        events = await patiently(self._clock, lambda: self._log.read_stream(job.execution.id))
        task = await patiently(self._clock, lambda: load_task(self._log, job.task_id))
        if task is None or len(events) != job.execution.version:
            return False
        return await self._redefine(job, task, unsent=unsent)

    async def _redefine(self, job: Job, task: Task, *, unsent: bool) -> bool:
        end = ending.drop(job.execution, job.definition, task, self._clock.now(), unsent=unsent)
        if end is None:
            job.definition, job.task_version, job.overtaken = task.definition, task.version, False
            return True
        # Refused only when somebody else has gone on with the execution, which ends our part just as well.
        version = job.execution.version + 1
        group = self._node.group((job.execution.id, version, end))
        if await self._log.append(group, patience="patient") is not None:
            self._ongoing.ended(job.task_id, job.execution.id, version)
        return False
