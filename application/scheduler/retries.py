"""Waiting for the next attempt of what has failed, and claiming it when its time has come."""

from __future__ import annotations

import asyncio
import heapq
from itertools import count
from typing import TYPE_CHECKING

from application.scheduler.apart import apart
from application.scheduler.reclaim import GivenUp
from application.scheduler.waiting import UNABLE_PAUSE, first_of, to_its_end
from domain import ending
from domain import execution as executions
from domain.execution import Waiting

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from application.scheduler.context import Context
    from application.scheduler.reclaim import Reclaim
    from application.scheduler.work import Job
    from domain.facts import AttemptStarted, ExecutionFailed

# Retries that fall due together are claimed together, up to this many at a time.
MAX_TOGETHER = 500


class Retries:
    """A heap of waiting jobs; each is claimed at its `retry_at` and handed to `start`."""

    def __init__(
        self,
        context: Context,
        reclaim: Reclaim,
        start: Callable[[Job], None],
        close: Callable[[Job, ExecutionFailed], Awaitable[None]],
    ) -> None:
        """`close` takes a job whose next attempt may not begin any more."""
        self._clock = context.clock
        self._node = context.node
        self._work = context.work
        self._members = context.members
        self._reclaim = reclaim
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
            await to_its_end(asyncio.gather(*map(self._claim, due)))

    async def _wait(self) -> None:
        self._changed.clear()
        if not self._heap:
            await self._changed.wait()
        else:
            await first_of(self._clock.sleep_until(self._heap[0][0]), self._changed.wait())

    def _pop(self) -> list[Job]:
        now = self._clock.now()
        due: dict[int, Job] = {}
        while self._heap and self._heap[0][0] <= now and len(due) < MAX_TOGETHER:
            job = heapq.heappop(self._heap)[2]
            # A job that was cancelled while it waited stands in the heap twice.
            if isinstance(job.execution, Waiting) and self._work.holds(job):
                due[id(job)] = job
        return list(due.values())

    async def _claim(self, job: Job) -> None:
        if not await apart("claiming a retry of execution", job.execution.id, self._start_again(job)):
            self._work.done(job)

    async def _start_again(self, job: Job) -> None:
        try:
            claimed = await self._reclaim(job, self._next_attempt)
        except GivenUp as given_up:
            await self._close(job, given_up.end)
            return
        if claimed:
            job.send_at = self._clock.now()
            self._start(job)
        else:
            self._work.done(job)

    def _next_attempt(self, job: Job) -> AttemptStarted:
        assert isinstance(job.execution, Waiting)
        now = self._clock.now()
        if end := ending.lapse(job.execution, job.definition, now):
            raise GivenUp(end)
        return executions.start_attempt(job.execution, self._node.lease(job, now), now)
