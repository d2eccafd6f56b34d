"""Claiming an execution that the log holds already: one that a user has requested, or a queued one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from application.scheduler.work import Job
from domain import execution as executions
from domain.execution import Lease
from domain.facts import ExecutionStarted
from domain.task import Over

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from application.scheduler.context import Context
    from domain.execution import Requested
    from domain.queueing import Turned
    from domain.task import Task


class Starts:
    """Appends what such an execution comes to, guarded by its task, and begins it if it was started."""

    def __init__(self, context: Context, start: Callable[[Job], None]) -> None:
        self._log = context.log
        self._node = context.node
        self._work = context.work
        self._ongoing = context.ongoing
        self._start = start

    def lease(self, task: Task, send_at: datetime) -> Lease:
        """A lease on the first attempt."""
        until = send_at + task.definition.action.timeout + self._node.margin
        return Lease(node=self._node.name, task_version=task.version, until=until)

    async def append(self, execution: Requested, fact: Turned, task: Task, send_at: datetime) -> bool:
        """Whether the log accepts it: not when task or execution have moved on. Waits through any outage."""
        if not isinstance(fact, ExecutionStarted):
            return await self._end(execution, fact, task)
        running = executions.start(execution.id, fact, execution.version + 1)
        job = Job(running, task.definition, task.version, send_at, task_over=isinstance(task, Over))
        # In hand before the log has it: a change that commits right after the claim is not overlooked.
        self._work.add(job)
        position = None
        try:
            position = await self._append(execution, fact, task)
        finally:
            if position is None:
                self._work.done(job)
        if position is not None:
            self._ongoing.begun(position, running.id, running.version, fact)
            self._start(job)
        return position is not None

    async def _end(self, execution: Requested, fact: Turned, task: Task) -> bool:
        if await self._append(execution, fact, task) is None:
            return False
        self._ongoing.ended(task.id, execution.id, execution.version + 1)
        return True

    async def _append(self, execution: Requested, fact: Turned, task: Task) -> int | None:
        group = self._node.group((execution.id, execution.version + 1, fact), guard=(task.id, task.version))
        return await self._log.append(group, patience="patient")
