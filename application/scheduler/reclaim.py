"""Claiming a further attempt of an execution: from the task as it is now, if the log still allows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from application.scheduler.waiting import patiently
from application.streams import load_task
from domain import execution as executions

if TYPE_CHECKING:
    from collections.abc import Callable

    from application.scheduler.context import Context
    from application.scheduler.work import Job
    from domain.facts import AttemptStarted, ExecutionTakenOver
    from domain.task import Task


class Reclaim:
    """Appends a claim guarded by the task's version; reads both streams again when the log refuses it."""

    def __init__(self, context: Context) -> None:
        self._log = context.log
        self._clock = context.clock
        self._node = context.node

    async def __call__(
        self, job: Job, decide: Callable[[Job], AttemptStarted | ExecutionTakenOver], *, unsent: bool = False
    ) -> bool:
        """Whether the job is claimed again; False: somebody else has it, or it has been ended here.

        `unsent`: the claim that is being replaced was certainly not sent. Waits through any outage; raises
        `Unreadable`.
        """
        refused = False
        while True:
            if (refused or job.overtaken) and not await self._review(job, unsent=unsent):
                return False
            fact = decide(job)
            group = self._node.group(
                (job.execution.id, job.execution.version + 1, fact), guard=(job.task_id, job.task_version)
            )
            if await self._log.append(group, patience="patient") is not None:
                claimed = executions.evolve(job.execution, fact)
                assert isinstance(claimed, executions.Running)
                job.execution = claimed
                return True
            refused = True

    async def _review(self, job: Job, *, unsent: bool) -> bool:
        """Compare with the log; False when the execution went on without us or has to end."""
        events = await patiently(self._clock, lambda: self._log.read_stream(job.execution.id))
        task = await patiently(self._clock, lambda: load_task(self._log, job.task_id))
        if task is None or len(events) != job.execution.version:
            return False
        return await self._redefine(job, task, unsent=unsent)

    async def _redefine(self, job: Job, task: Task, *, unsent: bool) -> bool:
        end = executions.drop(job.execution, job.definition, task, self._clock.now(), unsent=unsent)
        if end is None:
            job.definition, job.task_version, job.overtaken = task.definition, task.version, False
            return True
        # Refused only when somebody else has gone on with the execution, which ends our part just as well.
        await self._log.append(
            self._node.group((job.execution.id, job.execution.version + 1, end)), patience="patient"
        )
        return False
