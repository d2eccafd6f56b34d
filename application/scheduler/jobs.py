"""Jobs: the executions of this node from their claim to the fact that ends its part, and how they move on.

Claimed -> Ready -> Sent -> Answered -> Recorded. An answer that is to be tried again is recorded, and the job
waits as Retrying until it is Claimed again. A job is Abandoned when its execution went on without this node,
or ended meanwhile; or after an error, when its lease runs out and whoever looks goes on with it.
"""

from __future__ import annotations

import asyncio
import heapq
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING

from application.scheduler.timing import race, retry_on_outage
from application.streams import load_task
from domain import execution as executions
from domain import outcome as ending
from domain.execution import Running, Waiting
from domain.facts import ExecutionCancelled, ExecutionFailed, TaskCancelled, TaskUpdated
from domain.task import FinishedTask

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from application.ports import Call, Clock, Exchange, HttpCaller, Recorded
    from application.scheduler.context import Context
    from application.scheduler.outcomes import Outcomes
    from domain.definition import Definition
    from domain.facts import AttemptStarted, ExecutionTakenOver
    from domain.task import Task

SUPERSEDING = frozenset({TaskUpdated, TaskCancelled, ExecutionCancelled})
"""What `supersede` and `stop` look at: few of the facts that are followed."""


@dataclass(slots=True, eq=False)
class Job:
    """An execution of this node's: `Waiting` while it is Retrying, else `Running`.

    `superseded`: its task has changed since the version that it was claimed from; `cancelled`: for good;
    `task_over`: it was over by then.
    `stopped`: it was cancelled itself; `exchange` is its next call, or the one under way.
    """

    execution: Running | Waiting
    definition: Definition
    task_version: int
    send_at: datetime
    superseded: bool = False
    cancelled: bool = False
    task_over: bool = False
    stopped: bool = False
    exchange: Exchange | None = None

    @classmethod
    def abandoned_by_another(cls, execution: Running | Waiting, task: Task) -> Job:
        """One that another node left: nobody has watched whether its task is as it was at the claim."""
        job = cls(execution, task.definition, task.version, execution.occurrence.send_at)
        job.task_over = isinstance(task, FinishedTask)
        job.supersede(for_good=isinstance(task, FinishedTask) and task.status == "cancelled")
        return job

    @property
    def task_id(self) -> UUID:
        """The task that this executes."""
        return self.execution.occurrence.task_id

    def make_ready(self, caller: HttpCaller, call: Call) -> None:
        """Claimed, or sent in vain: from now on it is Ready."""
        self.exchange = caller.exchange(call)

    def send(self, over: Callable[[Exchange], None]) -> None:
        """Ready: from now on it is Sent, until `over` is called."""
        exchange = self.exchange
        assert exchange is not None, "only what is ready is sent"
        exchange.begin(lambda: over(exchange))

    def answered(self) -> None:
        """Sent: from now on it is Answered, until the outcome is recorded."""
        self.exchange = None

    def wait_for_retry(self, waiting: Waiting) -> None:
        """Answered, and that is recorded: from now on it is Retrying."""
        self.execution = waiting

    def claimed(self, running: Running) -> None:
        """The log has a new claim: of the next attempt, or of this one."""
        self.execution = running

    def supersede(self, *, for_good: bool) -> None:
        """Have it compared with its task before anything is sent: that has changed, or was cancelled."""
        self.superseded, self.cancelled = True, for_good

    def redefine(self, task: Task) -> None:
        """Have it execute the task as it is now."""
        self.definition, self.task_version, self.superseded = task.definition, task.version, False

    def stop(self) -> None:
        """Make no call for it any more, and break off the one that is being made; twice does no harm."""
        stopped_before, self.stopped = self.stopped, True
        if self.exchange is not None and not stopped_before:
            self.exchange.cancel()


class Jobs:
    """Every job of this node, findable by the numbers of execution and task, which are hashed the fastest."""

    def __init__(self) -> None:
        self._jobs: dict[int, Job] = {}
        self._by_task: dict[int, set[Job]] = {}

    def __contains__(self, execution_id: UUID) -> bool:
        return execution_id.int in self._jobs

    def jobs(self) -> list[Job]:
        """Those that are in hand."""
        return [job for jobs in self._by_task.values() for job in jobs]

    def holds(self, job: Job) -> bool:
        """Whether this very job is in hand; there may be a later one for the same execution."""
        return self._jobs.get(job.execution.id.int) is job

    def add(self, job: Job) -> None:
        """Take a job in hand; an earlier one for the same execution stays the one that is `held`."""
        self._jobs.setdefault(job.execution.id.int, job)
        self._by_task.setdefault(job.task_id.int, set()).add(job)

    def done(self, job: Job) -> None:
        """Let go of a job that is Recorded or Abandoned; twice does no harm."""
        if self.holds(job):
            del self._jobs[job.execution.id.int]
        task = job.task_id.int
        if siblings := self._by_task.get(task):
            siblings.discard(job)
            if not siblings:
                del self._by_task[task]

    def stop(self, event: Recorded) -> None:
        """Stop what a user, or another node, has cancelled."""
        if isinstance(event.fact, ExecutionCancelled):
            self.break_off(event.fact.task_id, event.stream)

    def break_off(self, task_id: UUID, execution_id: UUID) -> None:
        """Stop what has been cancelled."""
        for job in list(self._by_task.get(task_id.int, ())):
            if job.execution.id == execution_id:
                job.stop()
                if isinstance(job.execution, Waiting):
                    self.done(job)

    def supersede(self, event: Recorded) -> list[Job]:
        """Mark the jobs whose task has changed since they were claimed, and name them."""
        if not isinstance(event.fact, TaskUpdated | TaskCancelled):
            return []
        jobs = [job for job in self._by_task.get(event.stream.int, ()) if job.task_version < event.version]
        for job in jobs:
            job.supersede(for_good=isinstance(event.fact, TaskCancelled))
        return jobs


AT_ONCE = datetime.min.replace(tzinfo=UTC)


class RetryQueue:
    """Jobs that wait for their next attempt, in the order of their `retry_at`."""

    def __init__(self) -> None:
        self._heap: list[tuple[datetime, int, Job]] = []
        self._serial = count()
        self._changed = asyncio.Event()

    def add(self, job: Job) -> None:
        """Have the next attempt claimed at its `retry_at`, or at once when the task is cancelled.

        The log should say at once that it is over. To be called again for a job that is cancelled later.
        """
        if isinstance(job.execution, Waiting):
            instant = AT_ONCE if job.cancelled else job.execution.retry_at
            heapq.heappush(self._heap, (instant, next(self._serial), job))
            self._changed.set()

    async def wait(self, clock: Clock) -> None:
        """Return when one may be due."""
        self._changed.clear()
        if not self._heap:
            await self._changed.wait()
        else:
            await race(clock.sleep_until(self._heap[0][0]), self._changed.wait())

    def pop(self, now: datetime, limit: int, jobs: Jobs) -> list[Job]:
        """Those that are due and still in hand, each once: one that was cancelled meanwhile is here twice."""
        due: dict[int, Job] = {}
        while self._heap and self._heap[0][0] <= now and len(due) < limit:
            job = heapq.heappop(self._heap)[2]
            if isinstance(job.execution, Waiting) and jobs.holds(job):
                due[id(job)] = job
        return list(due.values())


class LeaseRenewal:
    """Appends a claim guarded by the task's version; reads both streams again when the log refuses it."""

    def __init__(self, context: Context, outcomes: Outcomes) -> None:
        self._log = context.log
        self._clock = context.clock
        self._node = context.node
        self._jobs = context.jobs
        self._open_executions = context.open_executions
        self._outcomes = outcomes

    async def __call__(
        self,
        job: Job,
        decide: Callable[[Job], AttemptStarted | ExecutionTakenOver | ExecutionFailed],
        *,
        unsent: bool = False,
    ) -> bool:
        """Whether the job is claimed again; False: it has ended, or somebody else has it, and is let go of.

        `decide` says what is claimed, or that the execution fails. `unsent`: the claim that is being replaced
        was certainly not sent. Waits through any outage; raises `Unreadable`.
        """
        outdated = job.superseded
        while True:
            if outdated and not await self._review(job, unsent=unsent):
                self._jobs.done(job)
                return False
            fact = decide(job)
            if isinstance(fact, ExecutionFailed):
                if outdated:
                    await self._outcomes.close(job, fact)
                    return False
            elif await self._append(job, fact):
                return True
            outdated = True

    async def _append(self, job: Job, fact: AttemptStarted | ExecutionTakenOver) -> bool:
        group = self._node.group(
            (job.execution.id, job.execution.version + 1, fact), guard=(job.task_id, job.task_version)
        )
        if await self._log.append(group, patience="patient") is None:
            return False
        running = executions.evolve(job.execution, fact)
        assert isinstance(running, Running)
        job.claimed(running)
        return True

    async def _review(self, job: Job, *, unsent: bool) -> bool:
        """Compare with the log; False when the execution went on without us or has to end."""
        events = await retry_on_outage(self._clock, lambda: self._log.read_stream(job.execution.id))
        task = await retry_on_outage(self._clock, lambda: load_task(self._log, job.task_id))
        if task is None or len(events) != job.execution.version:
            return False
        end = ending.drop(job.execution, job.definition, task, self._clock.now(), unsent=unsent)
        if end is None:
            job.redefine(task)
            return True
        # Refused only when somebody else has gone on with the execution, which ends our part just as well.
        version = job.execution.version + 1
        group = self._node.group((job.execution.id, version, end))
        if await self._log.append(group, patience="patient") is not None:
            self._open_executions.ended(job.task_id, job.execution.id, version)
        return False
