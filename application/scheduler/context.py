"""What the parts of one scheduler share."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

from msgspec import Struct
from uuid_utils.compat import uuid4

from application.ports import Group, Guard, Meta, NewFact
from application.scheduler.index import DueIndex, OpenExecutions
from application.scheduler.membership import Members
from application.scheduler.timing import ClaimAheadWindow
from domain.execution import Lease, Running, Waiting
from domain.facts import ExecutionCancelled, ExecutionFact, TaskCancelled, TaskFact, TaskUpdated

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from application.ports import Clock, EventLog, Exchange, HttpCaller, Recorded
    from domain.definition import Definition
    from domain.facts import ExecutionFailed, ExecutionSucceeded, Occurrence, TaskPaused

SUPERSEDING = frozenset({TaskUpdated, TaskCancelled, ExecutionCancelled})
"""What `supersede` and `stop` look at: few of the facts that are followed."""


@dataclass(slots=True, eq=False)
class Job:
    """An execution of this node's: running (or claimed and not yet sent), or waiting for its next attempt.

    `superseded`: its task has changed since the version that it was claimed from; `cancelled`: for good;
    `task_over`: it was over by then.
    `stopped`: it was cancelled itself; `exchange` is its next call, or the one under way. `place` is that in
    the line of those that are sent as soon as there is room.
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
    place: int | None = None

    def stop(self) -> None:
        """Make no call for it any more, and break off the one that is being made; twice does no harm."""
        stopped_before, self.stopped = self.stopped, True
        if self.exchange is not None and not stopped_before:
            self.exchange.cancel()

    @property
    def task_id(self) -> UUID:
        """The task that this executes."""
        return self.execution.occurrence.task_id


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
        """Let go of a job; twice does no harm."""
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
            job.superseded = True
            job.cancelled = isinstance(event.fact, TaskCancelled)
        return jobs


# Longer than lies between two claims: at a steady rate, outcomes go into the call of the next ones.
LINGER = timedelta(milliseconds=100)
# For outcomes that a next run or somebody waits for, or that a crash should leave open as rarely as can be.
SHORT_LINGER = timedelta(milliseconds=40)


class SchedulerObserver(Protocol):
    """Hears what the scheduler does: for logs and metrics. Must neither block nor raise."""

    def claimed(self, won: int, refused: int) -> None:
        """A batch of claims came back."""

    def in_flight(self, calls: int) -> None:
        """How many calls are being made now; told every second."""

    def held_back(self, calls: int) -> None:
        """How many calls wait for room at their host; told every second."""

    def claim_lead(self, seconds: float) -> None:
        """How far ahead claims are made; told every second."""

    def indexed(self, entries: int) -> None:
        """How many tasks the due index holds."""

    def clock_offset(self, seconds: float) -> None:
        """How far this machine's clock is ahead of the database's."""

    def failed(self, what: str) -> None:
        """`what` ended in an error that nobody expected; it is tried again."""

    def draining(self, calls: int, until: datetime) -> None:
        """It stops: nothing more is claimed, and so many calls have until then to end."""

    def finished(self, occurrence: Occurrence, outcome: ExecutionSucceeded | ExecutionFailed) -> None:
        """An execution is over and its outcome is in the log."""

    def stopped(self, occurrence: Occurrence, change: TaskPaused | TaskCancelled) -> None:
        """With that the task was taken out of service, as its own policies ask for."""


@dataclass(frozen=True, slots=True)
class Context:
    """`chance` draws from 0…1: it spreads retries.

    An outcome may wait for others for as long as `linger`, an urgent one for `short_linger`.
    """

    log: EventLog
    clock: Clock
    caller: HttpCaller
    observer: SchedulerObserver
    node: SchedulerNode
    chance: Callable[[], float]
    linger: timedelta = LINGER
    short_linger: timedelta = SHORT_LINGER
    index: DueIndex = field(default_factory=DueIndex)
    jobs: Jobs = field(default_factory=Jobs)
    open_executions: OpenExecutions = field(default_factory=OpenExecutions)
    members: Members = field(init=False)
    claim_ahead: ClaimAheadWindow = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "members", Members(self.node, self.clock))
        object.__setattr__(self, "claim_ahead", ClaimAheadWindow(self.clock))


# A lease must outlive the attempt that it covers by this much, or it is renewed before the call is sent.
SPARE = timedelta(seconds=2)


class SchedulerNode(Struct, frozen=True, kw_only=True):
    """`margin` is how long beyond an attempt's own timeout nobody else may take it over.

    A node whose beat stands still for `expiry` is dead; one whose clock is further than `max_clock_offset`
    from the database's claims nothing.
    """

    name: str
    margin: timedelta
    expiry: timedelta = timedelta(seconds=6)
    max_clock_offset: timedelta = timedelta(seconds=5)

    def lease(self, job: Job, now: datetime) -> Lease:
        """A lease on one attempt of a job, from now."""
        until = now + job.definition.action.timeout + self.margin
        return Lease(node=self.name, task_version=job.task_version, until=until)

    def covered(self, job: Job, now: datetime) -> bool:
        """Whether the job's lease outlives an attempt that starts now; a new one always does."""
        assert isinstance(job.execution, Running)
        spare = job.execution.lease_until - now - job.definition.action.timeout
        return spare > SPARE or spare > self.margin / 2

    def group(
        self,
        *facts: tuple[UUID, int, ExecutionFact | TaskFact],
        guard: tuple[UUID, int] | None = None,
    ) -> Group:
        """Facts (stream, version, fact) to append together if `guard` (stream, version) is still the head."""
        return Group(
            facts=tuple([NewFact(*fact) for fact in facts]),
            guards=() if guard is None else (Guard(*guard),),
            meta=Meta(actor=f"scheduler:{self.name}", correlation_id=str(facts[0][0]), command_id=uuid4()),
        )
