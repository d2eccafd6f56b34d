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
from application.scheduler.jobs import Jobs, RetryQueue
from application.scheduler.membership import Members
from application.scheduler.timing import ClaimAheadWindow
from domain.execution import Lease, Running
from domain.facts import ExecutionFact, TaskFact

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from application.ports import Clock, EventLog, HttpCaller
    from application.scheduler.jobs import Job
    from domain.facts import ExecutionFailed, ExecutionSucceeded, Occurrence, TaskCancelled, TaskPaused

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
    retries: RetryQueue = field(default_factory=RetryQueue)
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
