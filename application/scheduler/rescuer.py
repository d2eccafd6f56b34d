"""Going on with what dead nodes left: attempts without an outcome, and retries that nobody waits for."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from itertools import batched
from typing import TYPE_CHECKING

from application.ports import LogUnavailable, Unfinished
from application.scheduler.jobs import Job
from application.scheduler.timing import isolate_errors, race, retry_pause, shield_until_done
from application.streams import load_execution, load_task
from domain import execution as executions
from domain import outcome as ending
from domain.execution import Running, Waiting

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from application.ports import DueTasks, Nodes
    from application.scheduler.attempts import Attempts
    from application.scheduler.context import Context
    from application.scheduler.jobs import LeaseRenewal
    from application.scheduler.requests import RequestedExecutions
    from domain.facts import ExecutionFailed, ExecutionTakenOver

EVERY = timedelta(seconds=1)
# What nobody looks after begins with a fact that was followed, or with the end of a node, which is told.
EVERY_IN_PEACE = timedelta(seconds=5)
# A live node claims its retries at their instant; one that is this late has been forgotten.
FORGOTTEN_AFTER = timedelta(seconds=30)
AT_ONCE = 500
TOGETHER = 20


class Rescuer:
    """Looks every second, every five while nothing is under way, and at once when a node comes or goes.

    What is abandoned is shared like what is due; the log decides when several take the same.
    """

    def __init__(
        self,
        context: Context,
        due_tasks: DueTasks,
        nodes: Nodes,
        lease_renewal: LeaseRenewal,
        attempts: Attempts,
        requests: RequestedExecutions,
    ) -> None:
        self._log = context.log
        self._clock = context.clock
        self._node = context.node
        self._jobs = context.jobs
        self._due_tasks = due_tasks
        self._nodes = nodes
        self._lease_renewal = lease_renewal
        self._attempts = attempts
        self._requests = requests
        self._retries = context.retries
        self._members = context.members
        self._open_executions = context.open_executions
        self._looked_at = -1
        self._peace = False
        self._observer = context.observer
        self._errors: dict[UUID, int] = {}
        self._not_before: dict[UUID, timedelta] = {}
        self._waiting_since: dict[UUID, timedelta] = {}
        self._changed = asyncio.Event()
        context.members.tell(self._changed.set)

    async def run(self) -> None:
        """Look for ever."""
        while True:
            self._changed.clear()
            try:
                await self.look()
            except LogUnavailable:
                self._peace = False
                self._members.liveness.lose_sight()
            pause = EVERY_IN_PEACE if self._peace else EVERY
            await race(self._clock.pause(pause), self._changed.wait())

    async def look(self) -> None:
        """Take over what is abandoned now. Raises `LogUnavailable`."""
        position = self._open_executions.position
        rows = await self._due_tasks.unfinished(AT_ONCE)
        # The read model may lag behind what has been followed: a second look tells.
        self._peace, self._looked_at = not rows and position == self._looked_at, position
        if not rows:
            self._waiting_since, self._errors, self._not_before = {}, {}, {}
            return
        # Beats come after rows: whoever claimed one of these had beaten before.
        await self._members.look(self._nodes)
        for row in rows:
            if row.node is None:
                self._requests.add(row.execution_id)
        abandoned = [row.execution_id for row in rows if self._abandoned(row)]
        now = self._clock.steady()
        self._forget_errors(rows)
        self._waiting_since = {each: self._waiting_since.get(each, now) for each in abandoned}
        for some in batched(filter(self._is_for_us, abandoned), TOGETHER):
            # None is forgotten because of another's error.
            for error in await shield_until_done(
                asyncio.gather(*map(self._adopt_isolated, some), return_exceptions=True)
            ):
                if error is not None:
                    raise error

    def _is_for_us(self, execution_id: UUID) -> bool:
        """The owner's turn is at once, the others' when it has done nothing for some seconds."""
        waited = self._clock.steady() - self._waiting_since[execution_id]
        return self._members.able() and waited >= self._members.takeover_delay(execution_id)

    def _abandoned(self, row: Unfinished) -> bool:
        now, liveness = self._clock.now(), self._members.liveness
        if row.node is None or row.execution_id in self._jobs:
            return False
        if self._clock.steady() < self._not_before.get(row.execution_id, timedelta()):
            return False
        if row.node != self._node.name and liveness.dead(row.node):
            return True
        if not liveness.settled(self._clock.steady()):
            return False
        if row.retry_at is not None:
            return row.retry_at + FORGOTTEN_AFTER < now
        return row.lease_until is not None and row.lease_until < now

    def _still_abandoned(self, execution: Running | Waiting) -> bool:
        """Not when another node has just taken it over. Who waits for a retry may do so beside others."""
        return isinstance(execution, Waiting) or self._abandoned(
            Unfinished(
                execution_id=execution.id,
                node=execution.node,
                lease_until=execution.lease_until,
                retry_at=None,
            )
        )

    async def _adopt_isolated(self, execution_id: UUID) -> None:
        if await isolate_errors(
            "taking over execution", execution_id, self._adopt(execution_id), self._observer.failed
        ):
            return
        errors = self._errors.get(execution_id, 0)
        self._errors[execution_id] = errors + 1
        self._not_before[execution_id] = self._clock.steady() + retry_pause(errors)

    def _forget_errors(self, rows: Sequence[Unfinished]) -> None:
        """Of executions that nobody has to go on with any more."""
        listed = {row.execution_id for row in rows}
        for execution_id in self._errors.keys() - listed:
            del self._errors[execution_id], self._not_before[execution_id]

    async def _adopt(self, execution_id: UUID) -> None:
        """Read the truth from the log: the row may be older than what happened since."""
        execution = await load_execution(self._log, execution_id)
        if not isinstance(execution, Running | Waiting) or not self._still_abandoned(execution):
            return
        task = await load_task(self._log, execution.occurrence.task_id)
        if task is None:
            return
        job = Job.abandoned_by_another(execution, task)
        self._jobs.add(job)
        try:
            await self._go_on(job, execution)
        except BaseException:
            self._jobs.done(job)
            raise

    async def _go_on(self, job: Job, execution: Running | Waiting) -> None:
        if isinstance(execution, Waiting):
            self._retries.add(job)
        elif await self._lease_renewal(job, self._further_attempt):
            self._attempts.dispatch(job)

    def _further_attempt(self, job: Job) -> ExecutionTakenOver | ExecutionFailed:
        running, now = job.execution, self._clock.now()
        assert isinstance(running, Running)
        # Not before: the delivery may have become another one since the attempt was left.
        if end := ending.give_up(running, job.definition, now):
            return end
        return executions.take_over(running, self._node.lease(job, now), now)
