"""Who hears of the scheduler's work: the metrics and the task log."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog

from domain.attempt import Answered
from domain.facts import ExecutionSucceeded, TaskPaused

if TYPE_CHECKING:
    from domain.facts import ExecutionFailed, Occurrence, TaskCancelled
    from infrastructure.metrics import Instruments
    from infrastructure.task_log import TaskLog


log = structlog.get_logger(__name__)


class ObservedScheduler:
    """`application.scheduler.context.SchedulerObserver`."""

    def __init__(self, instruments: Instruments, task_log: TaskLog) -> None:
        self._task_log = task_log
        self._task_stopped = instruments.task_stopped
        self.claimed = instruments.claimed
        self.in_flight = instruments.in_flight
        self.held_back = instruments.held_back
        self.claim_lead = instruments.claim_lead
        self.indexed = instruments.indexed
        self.clock_offset = instruments.clock_offset

    def draining(self, calls: int, until: datetime) -> None:
        """The one line between "stopping" and the end, which may be far apart."""
        at_most = max(0.0, (until - datetime.now(UTC)).total_seconds())
        log.info("waiting for running calls", calls=calls, at_most_seconds=round(at_most, 1))

    def finished(self, occurrence: Occurrence, outcome: ExecutionSucceeded | ExecutionFailed) -> None:
        """One line in the task log; it tells of the last attempt, where its outcome is known."""
        attempt = outcome.attempt
        answer = attempt.answer if attempt else None
        self._task_log.record(
            at=outcome.at,
            task_id=occurrence.task_id,
            task_name=occurrence.task_name,
            execution_time=attempt.started_at if attempt else occurrence.due_at,
            duration_ms=attempt.duration_ms if attempt else None,
            status_code=answer.status_code if isinstance(answer, Answered) else None,
            success=isinstance(outcome, ExecutionSucceeded),
        )

    def stopped(self, occurrence: Occurrence, change: TaskPaused | TaskCancelled) -> None:
        """One line for whoever wonders why nothing is called any more; resuming is up to them."""
        failing = isinstance(change, TaskPaused)
        self._task_stopped("failures" if failing else "gone")
        log.warning(
            "task paused after failures" if failing else "task cancelled as its target is gone",
            task_id=str(occurrence.task_id),
            task_name=occurrence.task_name,
            reason=change.note if isinstance(change, TaskPaused) else change.reason,
        )


class ObservedProjector:
    """`infrastructure.projector.ports.ProjectorObserver`."""

    def __init__(self, instruments: Instruments) -> None:
        self.projected = instruments.projected

    def parked(self, projection: str, events: int) -> None:
        """Nothing to count: parked events are reported from where they are stored."""
