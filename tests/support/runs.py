"""Executions of tasks without a database."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from application.past import Moment
from application.streams import fold_execution
from domain.execution import FinishedExecution
from domain.facts import ExecutionSucceeded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from application.ports import Recorded
    from domain.execution import Execution
    from tests.support.log import MemoryLog


class MemoryMoments:
    """`application.what_if.question.Moments` over a log in memory."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log

    async def at(self, instant: datetime) -> Moment:
        """See `Moments`."""
        return Moment(sum(event.recorded_at <= instant for event in self._log.recorded), instant)


class MemoryRuns:
    """`application.what_if.question.Runs` over a log in memory."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log

    async def of_task(
        self, task_id: UUID, since: datetime, until: datetime, position: int, limit: int
    ) -> Sequence[UUID]:
        """See `Runs`."""
        found = []
        for run, events in self._streams(task_id).items():
            execution = fold_execution(run, events)
            assert execution is not None
            if execution.occurrence.due_at < until and _counts(execution, events, since, position):
                found.append(run)
        return found[:limit]

    async def streams(self, runs: Sequence[UUID]) -> Sequence[Recorded]:
        """See `Runs`."""
        wanted = set(runs)
        events = [event for event in self._log.recorded if event.stream in wanted]
        return sorted(events, key=lambda event: (event.stream, event.version))

    async def durations_ms(self, task_id: UUID) -> Sequence[int]:
        """See `Runs`."""
        return [
            event.fact.attempt.duration_ms
            for event in reversed(self._log.recorded)
            if isinstance(event.fact, ExecutionSucceeded) and event.fact.task_id == task_id
        ][:101]

    def _streams(self, task_id: UUID) -> dict[UUID, list[Recorded]]:
        streams: dict[UUID, list[Recorded]] = {}
        for event in self._log.recorded:
            fact: Any = event.fact
            if (
                event.stream in streams
                or getattr(getattr(fact, "occurrence", None), "task_id", None) == task_id
            ):
                streams.setdefault(event.stream, []).append(event)
        return streams


def _counts(execution: Execution, events: Sequence[Recorded], since: datetime, position: int) -> bool:
    return (
        execution.occurrence.due_at >= since
        or events[-1].position > position
        or not isinstance(execution, FinishedExecution)
    )
