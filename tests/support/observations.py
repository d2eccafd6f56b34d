"""What a scheduler says that it does."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from domain.facts import ExecutionFailed, ExecutionSucceeded, Occurrence, TaskCancelled, TaskPaused


@dataclass
class Observations:
    """`SchedulerObserver` that keeps what it hears."""

    claims: list[tuple[int, int]] = field(default_factory=list)
    calls: list[int] = field(default_factory=list)
    held: list[int] = field(default_factory=list)
    leads: list[float] = field(default_factory=list)
    entries: list[int] = field(default_factory=list)
    offsets: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    drains: list[tuple[int, datetime]] = field(default_factory=list)
    ends: list[tuple[Occurrence, ExecutionSucceeded | ExecutionFailed]] = field(default_factory=list)
    stops: list[tuple[Occurrence, TaskPaused | TaskCancelled]] = field(default_factory=list)

    def claimed(self, won: int, refused: int) -> None:
        """See `application.scheduler.context.SchedulerObserver`."""
        self.claims.append((won, refused))

    def in_flight(self, calls: int) -> None:
        """See `application.scheduler.context.SchedulerObserver`."""
        self.calls.append(calls)

    def held_back(self, calls: int) -> None:
        """See `application.scheduler.context.SchedulerObserver`."""
        self.held.append(calls)

    def claim_lead(self, seconds: float) -> None:
        """See `application.scheduler.context.SchedulerObserver`."""
        self.leads.append(seconds)

    def indexed(self, entries: int) -> None:
        """See `application.scheduler.context.SchedulerObserver`."""
        self.entries.append(entries)

    def clock_offset(self, seconds: float) -> None:
        """See `application.scheduler.context.SchedulerObserver`."""
        self.offsets.append(seconds)

    def failed(self, what: str) -> None:
        """See `application.scheduler.context.SchedulerObserver`."""
        self.errors.append(what)

    def draining(self, calls: int, until: datetime) -> None:
        """See `application.scheduler.context.SchedulerObserver`."""
        self.drains.append((calls, until))

    def finished(self, occurrence: Occurrence, outcome: ExecutionSucceeded | ExecutionFailed) -> None:
        """See `application.scheduler.context.SchedulerObserver`."""
        self.ends.append((occurrence, outcome))

    def stopped(self, occurrence: Occurrence, change: TaskPaused | TaskCancelled) -> None:
        """See `application.scheduler.context.SchedulerObserver`."""
        self.stops.append((occurrence, change))
