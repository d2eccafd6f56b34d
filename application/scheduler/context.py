"""What the parts of one scheduler share."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from application.scheduler.due_index import DueIndex
from application.scheduler.lead import Lead
from application.scheduler.members import Members
from application.scheduler.ongoing import Ongoing
from application.scheduler.work import Work

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from application.calling import HttpCaller
    from application.ports import Clock, EventLog
    from application.scheduler.node import Node
    from domain.facts import ExecutionFailed, ExecutionSucceeded, Occurrence, TaskCancelled, TaskPaused

# Longer than lies between two claims: at a steady rate, outcomes go into the call of the next ones.
GATHER = timedelta(milliseconds=100)
# For outcomes that a next run or somebody waits for, or that a crash should leave open as rarely as can be.
SHORT_GATHER = timedelta(milliseconds=40)


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

    def draining(self, calls: int, until: datetime) -> None:
        """It stops: nothing more is claimed, and so many calls have until then to end."""

    def finished(self, occurrence: Occurrence, outcome: ExecutionSucceeded | ExecutionFailed) -> None:
        """An execution is over and its outcome is in the log."""

    def stopped(self, occurrence: Occurrence, change: TaskPaused | TaskCancelled) -> None:
        """With that the task was taken out of service, as its own policies ask for."""


@dataclass(frozen=True, slots=True)
class Context:
    """`chance` draws from 0…1: it spreads retries.

    An outcome may wait for others for as long as `gather`, an urgent one for `short_gather`.
    """

    log: EventLog
    clock: Clock
    caller: HttpCaller
    observer: SchedulerObserver
    node: Node
    chance: Callable[[], float]
    gather: timedelta = GATHER
    short_gather: timedelta = SHORT_GATHER
    index: DueIndex = field(default_factory=DueIndex)
    work: Work = field(default_factory=Work)
    ongoing: Ongoing = field(default_factory=Ongoing)
    members: Members = field(init=False)
    lead: Lead = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "members", Members(self.node, self.clock))
        object.__setattr__(self, "lead", Lead(self.clock))
