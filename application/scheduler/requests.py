"""Claiming what users ask for out of turn: runs by hand, and occurrences of the past."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING
from uuid import UUID

from application.ports import Recorded
from application.scheduler.apart import apart
from application.scheduler.waiting import UNABLE_PAUSE, first_of, patiently, to_its_end
from application.scheduler.work import Job
from application.streams import load_execution, load_task
from domain import execution as executions
from domain import requesting
from domain.execution import Lease, Requested
from domain.facts import ExecutionCancelled, ExecutionRequested, ExecutionStarted

if TYPE_CHECKING:
    from collections.abc import Callable

    from application.scheduler.context import Context
    from domain.task import Task

# Like the claims of what is due: more than can start soon would only make leases grow old.
MAX_READY = 1_000
TOGETHER = 100


class Requests:
    """Requested executions that wait for a claim; shared like what is due, and the log decides."""

    def __init__(self, context: Context, start: Callable[[Job], None], ready: Callable[[], int]) -> None:
        """`ready` tells how many won claims wait for a free worker."""
        self._log = context.log
        self._clock = context.clock
        self._node = context.node
        self._work = context.work
        self._members = context.members
        self._observer = context.observer
        self._start = start
        self._ready = ready
        self._heard: dict[UUID, timedelta] = {}
        self._hopeless: set[UUID] = set()
        self._changed = asyncio.Event()
        context.members.tell(self._changed.set)

    def add(self, execution_id: UUID) -> None:
        """Claim a requested execution when it is this node's turn; what is known already changes nothing."""
        if execution_id not in self._work and execution_id not in self._hopeless:
            self._heard.setdefault(execution_id, self._clock.steady())
            self._changed.set()

    def follow(self, event: Recorded) -> None:
        """Follow one fact of the log."""
        match event.fact:
            case ExecutionRequested():
                self.add(event.stream)
            case ExecutionStarted() | ExecutionCancelled():
                self._heard.pop(event.stream, None)
            case _:
                pass

    async def run(self) -> None:
        """Claim for ever."""
        while True:
            await self._wait()
            if not self._members.able() or self._ready() >= MAX_READY:
                await self._clock.pause(UNABLE_PAUSE)
                continue
            won = await to_its_end(asyncio.gather(*map(self._claim_apart, self._due())))
            if won:
                self._observer.claimed(sum(won), len(won) - sum(won))

    async def _wait(self) -> None:
        """Until it is this node's turn with one of them."""
        self._changed.clear()
        turn = min(map(self._turn, self._heard), default=None)
        if turn is None:
            await self._changed.wait()
        elif turn > self._clock.steady():
            await first_of(self._clock.pause(turn - self._clock.steady()), self._changed.wait())

    def _turn(self, execution_id: UUID) -> timedelta:
        return self._heard[execution_id] + self._members.patience(execution_id)

    def _due(self) -> list[UUID]:
        now = self._clock.steady()
        due = (execution_id for execution_id in self._heard if self._turn(execution_id) <= now)
        return list(islice(due, TOGETHER))

    async def _claim_apart(self, execution_id: UUID) -> bool:
        """Whether this node has it now."""
        if not await apart("claiming requested execution", execution_id, self._claim(execution_id)):
            self._hopeless.add(execution_id)
        self._heard.pop(execution_id, None)
        return execution_id in self._work

    async def _claim(self, execution_id: UUID) -> None:
        """From the task as it is now, if the log still allows it; again when that changes meanwhile."""
        while execution := await self._requested(execution_id):
            task = await self._task(execution.occurrence.task_id)
            if task is None or await self._begun(execution, task):
                return

    async def _requested(self, execution_id: UUID) -> Requested | None:
        execution = await patiently(self._clock, lambda: load_execution(self._log, execution_id))
        return execution if isinstance(execution, Requested) else None

    async def _task(self, task_id: UUID) -> Task | None:
        return await patiently(self._clock, lambda: load_task(self._log, task_id))

    async def _begun(self, execution: Requested, task: Task) -> bool:
        now = self._clock.now()
        timeout = timedelta(seconds=task.definition.action.timeout_seconds)
        lease = Lease(
            node=self._node.name, task_version=task.version, until=now + timeout + self._node.margin
        )
        fact = requesting.start(execution, task, lease, now)
        version = execution.version + 1
        group = self._node.group((execution.id, version, fact), guard=(task.id, task.version))
        if isinstance(fact, ExecutionCancelled):
            return await self._log.append(group, patience="patient") is not None
        job = Job(executions.start(execution.id, fact, version), task.definition, task.version, now)
        # In hand before the log has it: a change that commits right after the claim is not overlooked.
        self._work.add(job)
        try:
            won = await self._log.append(group, patience="patient") is not None
        except BaseException:
            self._work.done(job)
            raise
        if won:
            self._start(job)
        else:
            self._work.done(job)
        return won
