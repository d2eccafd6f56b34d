"""Waiting for the next attempt of what has failed, and claiming it when its time has come."""

from __future__ import annotations

import asyncio
import heapq
from itertools import count
from typing import TYPE_CHECKING

from application.scheduler.timing import (
    UNABLE_PAUSE,
    isolate_errors,
    race,
    retry_on_outage,
    shield_until_done,
)
from application.streams import load_task
from domain import execution as executions
from domain import outcome as ending
from domain.execution import Waiting

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from application.scheduler.context import Context, Job
    from domain.facts import AttemptStarted, ExecutionFailed, ExecutionTakenOver
    from domain.task import Task


class AttemptsExhausted(Exception):
    """There may be no further attempt: the execution ends."""

    def __init__(self, end: ExecutionFailed) -> None:
        super().__init__(end.reason)
        self.end = end


class LeaseRenewal:
    """Appends a claim guarded by the task's version; reads both streams again when the log refuses it."""

    def __init__(self, context: Context) -> None:
        self._log = context.log
        self._clock = context.clock
        self._node = context.node
        self._open_executions = context.open_executions

    async def __call__(
        self, job: Job, decide: Callable[[Job], AttemptStarted | ExecutionTakenOver], *, unsent: bool = False
    ) -> bool:
        """Whether the job is claimed again; False: somebody else has it, or it has been ended here.

        `unsent`: the claim that is being replaced was certainly not sent. Waits through any outage; raises
        `Unreadable`, and `AttemptsExhausted` when `decide` does so for the task as it is now.
        """
        outdated = job.superseded
        while True:
            if outdated and not await self._review(job, unsent=unsent):
                return False
            try:
                fact = decide(job)
            except AttemptsExhausted:
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
        events = await retry_on_outage(self._clock, lambda: self._log.read_stream(job.execution.id))
        task = await retry_on_outage(self._clock, lambda: load_task(self._log, job.task_id))
        if task is None or len(events) != job.execution.version:
            return False
        return await self._redefine(job, task, unsent=unsent)

    async def _redefine(self, job: Job, task: Task, *, unsent: bool) -> bool:
        end = ending.drop(job.execution, job.definition, task, self._clock.now(), unsent=unsent)
        if end is None:
            job.definition, job.task_version, job.superseded = task.definition, task.version, False
            return True
        # Refused only when somebody else has gone on with the execution, which ends our part just as well.
        version = job.execution.version + 1
        group = self._node.group((job.execution.id, version, end))
        if await self._log.append(group, patience="patient") is not None:
            self._open_executions.ended(job.task_id, job.execution.id, version)
        return False


# Retries that fall due together are claimed together, up to this many at a time.
MAX_TOGETHER = 500


class Retries:
    """A heap of waiting jobs; each is claimed at its `retry_at` and handed to `start`."""

    def __init__(
        self,
        context: Context,
        lease_renewal: LeaseRenewal,
        start: Callable[[Job], None],
        close: Callable[[Job, ExecutionFailed], Awaitable[None]],
    ) -> None:
        """`close` takes a job whose next attempt may not begin any more."""
        self._clock = context.clock
        self._node = context.node
        self._observer = context.observer
        self._jobs = context.jobs
        self._members = context.members
        self._lease_renewal = lease_renewal
        self._start = start
        self._close = close
        self._heap: list[tuple[datetime, int, Job]] = []
        self._serial = count()
        self._changed = asyncio.Event()

    def add(self, job: Job) -> None:
        """Claim the job's next attempt at its `retry_at`, or, when its task is cancelled, look at it now.

        The log should say at once that it is over. To be called again for a job that is cancelled later.
        """
        if isinstance(job.execution, Waiting):
            instant = self._clock.now() if job.cancelled else job.execution.retry_at
            heapq.heappush(self._heap, (instant, next(self._serial), job))
            self._changed.set()

    async def run(self) -> None:
        """Claim retries for ever."""
        while True:
            await self._wait()
            if not self._members.able():
                await self._clock.pause(UNABLE_PAUSE)
                continue
            due = self._pop()
            await shield_until_done(asyncio.gather(*map(self._claim, due)))

    async def _wait(self) -> None:
        self._changed.clear()
        if not self._heap:
            await self._changed.wait()
        else:
            await race(self._clock.sleep_until(self._heap[0][0]), self._changed.wait())

    def _pop(self) -> list[Job]:
        now = self._clock.now()
        due: dict[int, Job] = {}
        while self._heap and self._heap[0][0] <= now and len(due) < MAX_TOGETHER:
            job = heapq.heappop(self._heap)[2]
            # A job that was cancelled while it waited stands in the heap twice.
            if isinstance(job.execution, Waiting) and self._jobs.holds(job):
                due[id(job)] = job
        return list(due.values())

    async def _claim(self, job: Job) -> None:
        what = "claiming a retry of execution"
        if not await isolate_errors(what, job.execution.id, self._start_again(job), self._observer.failed):
            self._jobs.done(job)

    async def _start_again(self, job: Job) -> None:
        try:
            claimed = await self._lease_renewal(job, self._next_attempt)
        except AttemptsExhausted as given_up:
            await self._close(job, given_up.end)
            return
        if claimed:
            job.send_at = self._clock.now()
            self._start(job)
        else:
            self._jobs.done(job)

    def _next_attempt(self, job: Job) -> AttemptStarted:
        assert isinstance(job.execution, Waiting)
        now = self._clock.now()
        if end := ending.lapse(job.execution, job.definition, now):
            raise AttemptsExhausted(end)
        return executions.start_attempt(job.execution, self._node.lease(job, now), now)
