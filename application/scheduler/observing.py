"""What a scheduler lets others hear of its work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from datetime import datetime

    from domain.facts import ExecutionFailed, ExecutionSucceeded, Occurrence, TaskCancelled, TaskPaused


class SchedulerObserver(Protocol):
    """Hears what the scheduler does: for logs and metrics. Must neither block nor raise."""

    def claimed(self, won: int, refused: int) -> None:
        """A batch of claims came back."""

    def in_flight(self, calls: int) -> None:
        """How many calls are being made now."""

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
