"""Making the calls: each claim is sent at its instant by one of a fixed number of workers."""

from __future__ import annotations

import asyncio
import heapq
from itertools import count
from typing import TYPE_CHECKING

from application.ports import Call
from application.scheduler.apart import apart
from application.scheduler.reclaim import GivenUp
from domain import ending
from domain import execution as executions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import datetime

    from application.scheduler.context import Context
    from application.scheduler.reclaim import Reclaim
    from application.scheduler.work import Job
    from domain.attempt import Attempt
    from domain.facts import AttemptStarted, ExecutionFailed


# Who waits for the log to take an outcome makes no call meanwhile; beyond this many, workers do wait for it.
MAX_UNRECORDED = 1_000
# More outcomes than these hardly make an append any cheaper for each.
MANY = 250


class Attempts:
    """Sends claimed attempts and passes what came back to `settle`, with a bound on the calls in flight.

    A worker goes on with the next call while an outcome is on its way to the log. Of those whose instant has
    come, the lowest priority number goes first, then the earliest instant.
    """

    def __init__(
        self,
        context: Context,
        reclaim: Reclaim,
        settle: Callable[[Sequence[tuple[Job, Attempt]]], Awaitable[None]],
        close: Callable[[Job, ExecutionFailed], Awaitable[None]],
        concurrency: int,
    ) -> None:
        """`close` takes a job whose claimed attempt may not be made any more."""
        self._clock = context.clock
        self._node = context.node
        self._work = context.work
        self._caller = context.caller
        self._reclaim = reclaim
        self._settle = settle
        self._close = close
        self._gather = context.gather
        self._concurrency = concurrency
        self._timed: list[tuple[datetime, int, Job]] = []
        self._serial = count()
        self._ready: list[tuple[int, datetime, int, Job]] = []
        self._arrived = asyncio.Event()
        self._sleep: asyncio.Future[None] | None = None
        self._free = asyncio.Semaphore(0)
        self._in_flight = 0
        self._gathered: list[tuple[Job, Attempt]] = []
        self._unrecorded = 0
        self._room = asyncio.Event()
        self._group = asyncio.TaskGroup()

    def start(self, job: Job) -> None:
        """Send a claimed attempt at its instant, or as soon as a worker is free."""
        heapq.heappush(self._timed, (job.send_at, next(self._serial), job))
        self._arrived.set()
        if self._sleep is not None and self._timed[0][2] is job:
            sleep, self._sleep = self._sleep, None
            sleep.cancel()

    def ready(self) -> int:
        """How many claimed attempts wait for their instant or for a worker."""
        return len(self._timed) + len(self._ready)

    def in_flight(self) -> int:
        """How many calls are being made."""
        return self._in_flight

    def unfinished(self) -> int:
        """How many attempts are claimed, in flight or unrecorded."""
        return self.ready() + self._in_flight + self._unrecorded

    async def run(self) -> None:
        """Send for ever."""
        async with self._group:
            for number in range(self._concurrency):
                self._group.create_task(self._worker(), name=f"worker-{number}")
            await self._dispatch()

    async def _dispatch(self) -> None:
        while True:
            if self._timed:
                await self._alarm(self._timed[0][0])
            else:
                self._arrived.clear()
                await self._arrived.wait()
            now = self._clock.now()
            while self._timed and self._timed[0][0] <= now:
                instant, serial, job = heapq.heappop(self._timed)
                heapq.heappush(self._ready, (job.definition.priority, instant, serial, job))
                self._free.release()

    async def _alarm(self, instant: datetime) -> None:
        """Return at the instant, or when something is to be sent before it."""
        self._sleep = sleep = asyncio.ensure_future(self._clock.sleep_until(instant))
        try:
            await sleep
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._sleep is sleep or (task and task.cancelling()):
                raise  # not cut short by `start`, or not by that alone: the scheduler stops

    async def _worker(self) -> None:
        while True:
            await self._free.acquire()
            job = heapq.heappop(self._ready)[3]
            self._in_flight += 1
            try:
                if not await apart("an attempt of execution", job.execution.id, self._attempt(job)):
                    # Its lease runs out, and then whoever looks goes on with it.
                    self._work.done(job)
            finally:
                self._in_flight -= 1

    async def _attempt(self, job: Job) -> None:
        try:
            attempt = await self._call(job) if await self._still_ours(job) else None
        except GivenUp as given_up:
            await self._close(job, given_up.end)
            return
        if attempt is None:
            self._work.done(job)
            return
        self._gathered.append((job, attempt))
        self._unrecorded += 1
        if len(self._gathered) == 1:
            self._group.create_task(self._record_soon(self._gathered))
        elif len(self._gathered) >= MANY:
            self._record_now()
        while self._unrecorded > MAX_UNRECORDED:
            self._room.clear()
            await self._room.wait()

    async def flush(self) -> None:
        """Have the log take what was gathered along with what it is given next."""
        if self._gathered:
            self._record_now()
            await asyncio.sleep(0)  # which sees it on its way

    async def _record_soon(self, gathered: list[tuple[Job, Attempt]]) -> None:
        await self._clock.pause(self._gather)
        if self._gathered is gathered:
            self._record_now()

    def _record_now(self) -> None:
        gathered, self._gathered = self._gathered, []
        self._group.create_task(self._record(gathered))

    async def _record(self, gathered: list[tuple[Job, Attempt]]) -> None:
        try:
            await self._settle(gathered)
        finally:
            self._unrecorded -= len(gathered)
            self._room.set()

    async def _call(self, job: Job) -> Attempt | None:
        """What the call brought; None when the job was stopped meanwhile."""
        job.worker = worker = asyncio.current_task()
        assert worker is not None
        try:
            return await self._caller.call(call_of(job))
        except asyncio.CancelledError:
            if job.stopped and worker.cancelling() == 1:
                return None
            raise  # the scheduler stops, whether or not the job does too
        finally:
            job.worker = None
            if job.stopped:
                worker.uncancel()

    async def _still_ours(self, job: Job) -> bool:
        """Whether to send now; a claim that its task or the clock overtook is renewed or dropped first."""
        while job.overtaken or not self._node.covered(job, self._clock.now()):
            if not await self._reclaim(job, self._renewal, unsent=True):
                return False
        if job.execution.attempts > 1:
            self._refuse_what_lapsed(job)
        return not job.stopped

    def _renewal(self, job: Job) -> AttemptStarted:
        self._refuse_what_lapsed(job)
        now = self._clock.now()
        return executions.start_attempt(job.execution, self._node.lease(job, now), now)

    def _refuse_what_lapsed(self, job: Job) -> None:
        """Raises `GivenUp`."""
        if end := ending.lapse(job.execution, job.definition, self._clock.now()):
            raise GivenUp(end)


def call_of(job: Job) -> Call:
    """The call that a claimed attempt makes."""
    return Call(
        action=job.definition.action,
        execution_id=job.execution.id,
        number=job.execution.attempts,
        due_at=job.execution.occurrence.due_at,
        once=job.definition.delivery == "at_most_once",
    )
