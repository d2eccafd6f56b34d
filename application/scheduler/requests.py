"""Claiming what users ask for out of turn: runs by hand, and occurrences of the past."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from application.scheduler.apart import apart
from application.scheduler.starts import Starts
from application.scheduler.turns import Turns
from application.scheduler.waiting import patiently
from application.streams import load_execution, load_task
from domain import requesting
from domain.execution import Requested
from domain.facts import ExecutionCancelled, ExecutionRequested, ExecutionStarted

if TYPE_CHECKING:
    from collections.abc import Callable

    from application.ports import Recorded
    from application.scheduler.context import Context
    from application.scheduler.work import Job
    from domain.task import Task


class Requests:
    """Requested executions that wait for a claim; shared like what is due, and the log decides."""

    def __init__(self, context: Context, start: Callable[[Job], None], waiting: Callable[[], int]) -> None:
        """`waiting` tells how many won claims wait to be sent, but for those of full hosts."""
        self._log = context.log
        self._clock = context.clock
        self._work = context.work
        self._starts = Starts(context, start)
        self._turns = Turns(context, waiting)
        self._hopeless: set[UUID] = set()

    def add(self, execution_id: UUID) -> None:
        """Claim a requested execution when it is this node's turn; what is known already changes nothing."""
        if execution_id not in self._work and execution_id not in self._hopeless:
            self._turns.add(execution_id)

    def follow(self, event: Recorded) -> None:
        """Follow one fact of the log."""
        match event.fact:
            case ExecutionRequested():
                self.add(event.stream)
            case ExecutionStarted() | ExecutionCancelled():
                self._turns.discard(event.stream)
            case _:
                pass

    async def run(self) -> None:
        """Claim for ever."""
        await self._turns.take(self._claim_apart)

    async def _claim_apart(self, execution_id: UUID) -> bool:
        """Whether this node has it now."""
        if not await apart("claiming requested execution", execution_id, self._claim(execution_id)):
            self._hopeless.add(execution_id)
        self._turns.discard(execution_id)
        return execution_id in self._work

    async def _claim(self, execution_id: UUID) -> None:
        """From the task as it is now, if the log still allows it; again when that changes meanwhile."""
        while execution := await self._requested(execution_id):
            task = await self._task(execution.occurrence.task_id)
            if task is None or await self._begun(execution, task):
                return

    async def _task(self, task_id: UUID) -> Task | None:
        return await patiently(self._clock, lambda: load_task(self._log, task_id))

    async def _requested(self, execution_id: UUID) -> Requested | None:
        execution = await patiently(self._clock, lambda: load_execution(self._log, execution_id))
        return execution if isinstance(execution, Requested) else None

    async def _begun(self, execution: Requested, task: Task) -> bool:
        now = self._clock.now()
        fact = requesting.start(execution, task, self._starts.lease(task, now), now)
        return await self._starts.append(execution, fact, task, now)
