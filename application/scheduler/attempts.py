"""Making the calls: each claim is sent at its instant by one of a fixed number of workers."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from application.ports import Call
from application.scheduler.apart import apart
from application.scheduler.reclaim import GivenUp
from domain import ending
from domain import execution as executions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from application.scheduler.context import Context
    from application.scheduler.lineup import Lineup
    from application.scheduler.reclaim import Reclaim
    from application.scheduler.sites import Site
    from application.scheduler.work import Job
    from domain.attempt import Attempt
    from domain.facts import AttemptStarted, ExecutionFailed


# Who waits for the log to take an outcome makes no call meanwhile; beyond this many, workers do wait for it.
MAX_UNRECORDED = 2_000
# What is left of a lease that no longer covers an attempt: its timeout, and twice as long as this.
LOOK_AT_LEASES = timedelta(seconds=1)
# More outcomes than these hardly make an append any cheaper for each.
MANY = 250


class Attempts:
    """Sends what the lineup has and passes what came back to `settle`, with a bound on the calls in flight.

    A worker goes on with the next call while an outcome is on its way to the log.
    """

    def __init__(
        self,
        context: Context,
        lineup: Lineup,
        reclaim: Reclaim,
        settle: Callable[[Sequence[tuple[Job, Attempt]], Callable[[], None]], Awaitable[None]],
        close: Callable[[Job, ExecutionFailed], Awaitable[None]],
        concurrency: int,
    ) -> None:
        """`settle` says when the log is given outcomes; `close` takes a job whose attempt may not be made."""
        self._clock = context.clock
        self._node = context.node
        self._work = context.work
        self._caller = context.caller
        self._lineup = lineup
        self._reclaim = reclaim
        self._settle = settle
        self._close = close
        self._gather = context.gather
        self._short_gather = context.short_gather
        self._concurrency = concurrency
        self._gathered: list[tuple[Job, Attempt]] = []
        self._hurries = False
        self._unrecorded = 0
        self._room = asyncio.Event()
        self._group = asyncio.TaskGroup()
        self._running = False

    def unfinished(self) -> int:
        """How many attempts are claimed, in flight or unrecorded."""
        return self._lineup.unsent() + self._lineup.under_way() + self._unrecorded

    async def run(self) -> None:
        """Send for ever."""
        try:
            async with self._group:
                self._running = True
                for number in range(self._concurrency):
                    self._group.create_task(self._worker(), name=f"worker-{number}")
                await self._keep_leases()
        finally:
            self._running = False
            self._lineup.close()

    async def _worker(self) -> None:
        while True:
            turn = await self._lineup.take()
            job = turn.job
            try:
                if not await apart("an attempt of execution", job.execution.id, self._attempt(job)):
                    # Its lease runs out, and then whoever looks goes on with it.
                    self._work.done(job)
            finally:
                self._lineup.over(turn)

    def review(self, overtaken: Sequence[Job]) -> None:
        """Claim anew what waits and whose task has changed: it may go elsewhere, or first, or nowhere."""
        if overtaken:
            self._claim_anew(set(overtaken).__contains__)

    async def _keep_leases(self) -> None:
        """Claim anew what waits for long, before its lease lapses and another node takes it for abandoned.

        And what was overtaken, or stopped, before it came to wait.
        """
        while True:
            await self._lineup.congested()
            await self._clock.pause(LOOK_AT_LEASES)
            self._claim_anew(self._is_outdated)

    def _claim_anew(self, which: Callable[[Job], bool]) -> None:
        for site, job in self._lineup.withdraw(which):
            self._group.create_task(self._renew(site, job))

    def _is_outdated(self, job: Job) -> bool:
        return job.overtaken or job.stopped or not self._node.covered(job, self._clock.now())

    async def _renew(self, site: Site, job: Job) -> None:
        try:
            if not await apart("renewing the lease of execution", job.execution.id, self._line_up(job)):
                self._work.done(job)
        finally:
            self._lineup.let_go(site)

    async def _line_up(self, job: Job) -> None:
        try:
            ours = await self._still_ours(job)
        except GivenUp as given_up:
            await self._close(job, given_up.end)
            return
        if ours:
            self._lineup.add(job)
        else:
            self._work.done(job)

    async def _attempt(self, job: Job) -> None:
        definition = job.definition
        try:
            ours = await self._still_ours(job)
            if ours and job.definition is not definition:  # it may call another host
                self._lineup.add(job)
                return
            attempt = await self._call(job) if ours else None
        except GivenUp as given_up:
            await self._close(job, given_up.end)
            return
        if attempt is None:
            self._work.done(job)
            return
        self._gathered.append((job, attempt))
        self._unrecorded += 1
        urgent = _is_urgent(job)
        if len(self._gathered) >= MANY:
            self._record_now()
        elif len(self._gathered) == 1 or (urgent and not self._hurries):
            self._hurries = urgent
            wait = self._short_gather if urgent else self._gather
            self._group.create_task(self._record_after(wait, self._gathered))
        while self._unrecorded > MAX_UNRECORDED:
            self._room.clear()
            await self._room.wait()

    async def flush(self) -> None:
        """Have the log take what was gathered along with what it is given next."""
        if self._gathered and self._running:
            await self._record_now().wait()

    async def _record_after(self, wait: timedelta, gathered: list[tuple[Job, Attempt]]) -> None:
        await self._clock.pause(wait)
        if self._gathered is gathered:
            self._record_now()

    def _record_now(self) -> asyncio.Event:
        """It is set once the log has been given what was gathered."""
        gathered, self._gathered = self._gathered, []
        handed = asyncio.Event()
        recording = self._group.create_task(self._record(gathered, handed.set))
        recording.add_done_callback(lambda _: handed.set())  # even if it is cancelled before it begins
        return handed

    async def _record(self, gathered: list[tuple[Job, Attempt]], handed: Callable[[], None]) -> None:
        try:
            await self._settle(gathered, handed)
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


def _is_urgent(job: Job) -> bool:
    """Whether a next run or somebody waits for its outcome, or a node that dies would leave it open."""
    definition = job.definition
    return (
        definition.overlap.mode != "allow"
        or definition.delivery == "at_most_once"
        or job.execution.occurrence.kind != "scheduled"
    )


def call_of(job: Job) -> Call:
    """The call that a claimed attempt makes."""
    return Call(
        action=job.definition.action,
        execution_id=job.execution.id,
        number=job.execution.attempts,
        due_at=job.execution.occurrence.due_at,
        once=job.definition.delivery == "at_most_once",
    )
