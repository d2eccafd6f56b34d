"""Claiming a further attempt of an execution: from the task as it is now, if the log still allows it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from application.ports import LogUnavailable
from application.streams import load_execution, load_task
from domain import execution as executions

if TYPE_CHECKING:
    from collections.abc import Callable

    from application.scheduler.context import Context
    from application.scheduler.work import Job
    from domain.facts import AttemptStarted, ExecutionTakenOver
    from domain.task import Task

OUTAGE_PAUSE = timedelta(milliseconds=500)


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

        `unsent`: the claim that is being replaced was certainly not sent.
        """
        while True:
            if job.overtaken is not None and not await self._review(job, unsent=unsent):
                return False
            fact = decide(job)
            group = self._node.group(
                (job.execution.id, job.execution.version + 1, fact), guard=(job.task_id, job.task_version)
            )
            if await self._log.append(group, patience="patient") is not None:
                claimed = executions.evolve(job.execution, fact)
                assert not isinstance(claimed, executions.Over)
                job.execution = claimed
                return True
            if not await self._review(job, unsent=unsent):
                return False

    async def _review(self, job: Job, *, unsent: bool) -> bool:
        """Compare with the log; False when the execution went on without us or has to end."""
        while True:
            try:
                execution = await load_execution(self._log, job.execution.id)
                task = await load_task(self._log, job.task_id)
            except LogUnavailable:
                await self._clock.sleep_until(self._clock.now() + OUTAGE_PAUSE)
                continue
            if execution is None or task is None or execution.version != job.execution.version:
                return False
            return await self._redefine(job, task, unsent=unsent)

    async def _redefine(self, job: Job, task: Task, *, unsent: bool) -> bool:
        end = executions.drop(job.execution, job.definition, task, self._clock.now(), unsent=unsent)
        job.overtaken = None
        if end is None:
            job.definition, job.task_version = task.definition, task.version
            return True
        # Refused only when somebody else has gone on with the execution, which ends our part just as well.
        await self._log.append(
            self._node.group((job.execution.id, job.execution.version + 1, end)), patience="patient"
        )
        return False
