"""Making the calls: each claim is made ready as it comes, and sent at its instant."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from application.ports import Call
from application.scheduler.timing import NEAR, UNABLE_PAUSE, isolate_errors, shield_until_done
from domain import execution as executions
from domain import outcome as ending
from domain.overlap import bound

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from application.ports import Exchange
    from application.scheduler.context import Context
    from application.scheduler.dispatcher import Dispatcher, ReadyAttempt, TargetHost
    from application.scheduler.jobs import Job, LeaseRenewal
    from application.scheduler.outcomes import Outcomes
    from domain.facts import AttemptStarted, ExecutionFailed


class FlushPriority:
    """Knows what waits for an outcome: another run of its task, somebody, or nothing."""

    def __init__(self, context: Context) -> None:
        self._clock = context.clock
        self._index = context.index
        self._open_executions = context.open_executions
        # A run is in the way of the next one until its outcome is in the log.
        self._soon = context.linger + NEAR

    def of(self, job: Job) -> bool:
        """Whether a next run or somebody waits for its outcome, or a node that dies would leave it open."""
        definition = job.definition
        if definition.delivery == "at_most_once" or job.execution.occurrence.kind != "scheduled":
            return True
        return bound(definition) is not None and self._is_in_the_way(job)

    def _is_in_the_way(self, job: Job) -> bool:
        following = self._index.get(job.task_id)
        if following is not None and following.fire_at <= self._clock.now() + self._soon:
            return True
        return bool(self._open_executions.open_runs(job.task_id).queued)


# Beyond this many outcomes that the log has yet to take, each keeps the room of another call.
MAX_UNRECORDED = 2_000
# What is left of a lease that no longer covers an attempt: its timeout, and twice as long as this.
LOOK_AT_LEASES = timedelta(seconds=1)
# More outcomes than these hardly make an append any cheaper for each.
MANY = 250
NO_ROOM = "sending a call: this machine had no room for it"

log = logging.getLogger(__name__)


class Attempts:
    """Sends what the dispatcher has, and has what came back recorded."""

    def __init__(
        self, context: Context, dispatcher: Dispatcher, lease_renewal: LeaseRenewal, outcomes: Outcomes
    ) -> None:
        self._clock = context.clock
        self._node = context.node
        self._jobs = context.jobs
        self._caller = context.caller
        self._observer = context.observer
        self._dispatcher = dispatcher
        self._lease_renewal = lease_renewal
        self._outcomes = outcomes
        self._gather = context.linger
        self._short_gather = context.short_linger
        self._urgency = FlushPriority(context)
        self._gathered: list[tuple[Job, Exchange]] = []
        self._hurries = False
        self._unrecorded = 0
        self._kept: list[ReadyAttempt] = []
        self._group = asyncio.TaskGroup()
        self._running = False

    def unfinished(self) -> int:
        """How many attempts are claimed, in flight or unrecorded."""
        return self._dispatcher.unsent() + self._dispatcher.under_way() + self._unrecorded

    async def run(self) -> None:
        """Send for ever."""
        try:
            async with self._group:
                self._running = True
                self._dispatcher.start(self._send)
                try:
                    await self._keep_leases()
                finally:  # before the group ends, whose tasks leave their room to others
                    self._running = False
                    self._dispatcher.close()
        finally:
            for job in self._jobs.jobs():
                if job.exchange is not None:
                    job.exchange.cancel()

    def dispatch(self, job: Job) -> None:
        """Have a claimed attempt sent at its instant, or as soon as there is room."""
        job.make_ready(self._caller, call_of(job))
        self._dispatcher.add(job)

    def review(self, superseded: Sequence[Job]) -> None:
        """Claim anew what waits and whose task has changed: it may go elsewhere, or first, or nowhere."""
        if superseded:
            self._claim_anew(set(superseded).__contains__)

    async def _keep_leases(self) -> None:
        """Claim anew what waits for long, before its lease lapses and another node takes it for abandoned.

        And what was superseded, or stopped, before it came to wait.
        """
        while True:
            await self._dispatcher.congested()
            await self._clock.pause(LOOK_AT_LEASES)
            self._claim_anew(self._is_outdated)

    def _claim_anew(self, which: Callable[[Job], bool]) -> None:
        for host, job in self._dispatcher.withdraw(which):
            self._group.create_task(self._renew(host, job))

    def _is_outdated(self, job: Job) -> bool:
        return job.superseded or job.stopped or not self._node.covered(job, self._clock.now())

    async def _renew(self, host: TargetHost, job: Job) -> None:
        try:
            if not await isolate_errors(
                "renewing the lease of execution", job.execution.id, self._line_up_anew(job)
            ):
                self._jobs.done(job)
        finally:
            self._dispatcher.let_go(host)

    async def _line_up_anew(self, job: Job) -> None:
        if await self._still_ours(job):
            self.dispatch(job)

    def _send(self, ready: ReadyAttempt) -> None:
        job = ready.job
        if not self._is_plain(job):
            self._group.create_task(self._look_and_send(ready))
            return
        try:
            job.send(partial(self._finished, ready))
        except Exception:  # whatever one of them holds, the others are sent
            log.exception("an attempt of execution %s", job.execution.id)
            self._jobs.done(job)
            asyncio.get_running_loop().call_soon(
                self._dispatcher.finished, ready
            )  # not deeper and deeper in here

    def _is_plain(self, job: Job) -> bool:
        """Whether nothing has to be looked into before it is sent as it was made ready."""
        return not (
            job.superseded
            or job.stopped
            or job.execution.attempts > 1
            or not self._node.covered(job, self._clock.now())
        )

    async def _look_and_send(self, ready: ReadyAttempt) -> None:
        job = ready.job
        sending: list[ReadyAttempt] = []
        try:
            if not await isolate_errors(
                "an attempt of execution", job.execution.id, self._look(ready, sending)
            ):
                # Its lease runs out, and then whoever looks goes on with it.
                self._jobs.done(job)
        finally:
            if not sending:
                self._dispatcher.finished(ready)

    async def _look(self, ready: ReadyAttempt, sending: list[ReadyAttempt]) -> None:
        job, definition = ready.job, ready.job.definition
        if not await self._still_ours(job):
            return
        if job.definition is not definition:  # it may call another host
            self.dispatch(job)
        else:
            job.make_ready(self._caller, call_of(job))  # it may be the next attempt by now
            job.send(partial(self._finished, ready))
            sending.append(ready)

    def _finished(self, ready: ReadyAttempt, exchange: Exchange) -> None:
        job = ready.job
        job.answered()
        if not self._running:
            return
        error = exchange.exhausted
        if job.stopped and (error is not None or exchange.attempt() is None):
            self._jobs.done(job)
            self._dispatcher.finished(ready)
            return
        if error is not None:
            job.make_ready(self._caller, call_of(job))
            self._observer.failed(NO_ROOM)
            self._dispatcher.send_again(ready, error)
            return
        self._gather_up(job, exchange)
        if self._unrecorded > MAX_UNRECORDED:
            self._kept.append(ready)
        else:
            self._dispatcher.finished(ready)

    def _gather_up(self, job: Job, exchange: Exchange) -> None:
        self._gathered.append((job, exchange))
        self._unrecorded += 1
        urgent = self._urgency.of(job)
        if len(self._gathered) >= MANY:
            self._record_now()
        elif len(self._gathered) == 1 or (urgent and not self._hurries):
            self._hurries = urgent
            wait = self._short_gather if urgent else self._gather
            self._group.create_task(self._record_after(wait, self._gathered))

    async def flush(self) -> None:
        """Have the log take what was gathered along with what it is given next."""
        if self._gathered and self._running:
            await self._record_now().wait()

    async def _record_after(self, wait: timedelta, gathered: list[tuple[Job, Exchange]]) -> None:
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

    async def _record(self, gathered: list[tuple[Job, Exchange]], handed: Callable[[], None]) -> None:
        try:
            await self._outcomes.settle(gathered, handed)
        finally:
            self._unrecorded -= len(gathered)
            while self._kept and self._unrecorded <= MAX_UNRECORDED:
                self._dispatcher.finished(self._kept.pop())

    async def _still_ours(self, job: Job) -> bool:
        """Whether to send now; a claim that its task or the clock overtook is renewed, or the job let go."""
        while job.superseded or not self._node.covered(job, self._clock.now()):
            if not await self._lease_renewal(job, self._renewal, unsent=True):
                return False
        if job.execution.attempts > 1 and (end := self._lapse(job)):
            await self._outcomes.close(job, end)
            return False
        if job.stopped:
            self._jobs.done(job)
        return not job.stopped

    def _renewal(self, job: Job) -> AttemptStarted | ExecutionFailed:
        now = self._clock.now()
        return self._lapse(job) or executions.start_attempt(job.execution, self._node.lease(job, now), now)

    def _lapse(self, job: Job) -> ExecutionFailed | None:
        return ending.lapse(job.execution, job.definition, self._clock.now())


# Retries that fall due together are claimed together, up to this many at a time.
MAX_TOGETHER = 500


class Retries:
    """Claims the next attempt of each job that waits for one, at its `retry_at`."""

    def __init__(self, context: Context, lease_renewal: LeaseRenewal, attempts: Attempts) -> None:
        self._clock = context.clock
        self._node = context.node
        self._observer = context.observer
        self._jobs = context.jobs
        self._members = context.members
        self._queue = context.retries
        self._lease_renewal = lease_renewal
        self._attempts = attempts

    async def run(self) -> None:
        """Claim retries for ever."""
        while True:
            await self._queue.wait(self._clock)
            if not self._members.able():
                await self._clock.pause(UNABLE_PAUSE)
                continue
            due = self._queue.pop(self._clock.now(), MAX_TOGETHER, self._jobs)
            await shield_until_done(asyncio.gather(*map(self._claim, due)))

    async def _claim(self, job: Job) -> None:
        what = "claiming a retry of execution"
        if not await isolate_errors(what, job.execution.id, self._start_again(job), self._observer.failed):
            self._jobs.done(job)

    async def _start_again(self, job: Job) -> None:
        if await self._lease_renewal(job, self._next_attempt):
            job.send_at = self._clock.now()
            self._attempts.dispatch(job)

    def _next_attempt(self, job: Job) -> AttemptStarted | ExecutionFailed:
        now = self._clock.now()
        if end := ending.lapse(job.execution, job.definition, now):
            return end
        return executions.start_attempt(job.execution, self._node.lease(job, now), now)


def call_of(job: Job) -> Call:
    """The call that a claimed attempt makes."""
    return Call(
        action=job.definition.action,
        execution_id=job.execution.id,
        number=job.execution.attempts,
        due_at=job.execution.occurrence.due_at,
        once=job.definition.delivery == "at_most_once",
    )
