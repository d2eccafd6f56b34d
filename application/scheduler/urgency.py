"""Which outcomes cannot wait long for others to be recorded along with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from application.scheduler.lead import NEAR
from domain.overlap import bound

if TYPE_CHECKING:
    from application.scheduler.context import Context
    from application.scheduler.work import Job


class Urgency:
    """Knows what waits for an outcome: another run of its task, somebody, or nothing."""

    def __init__(self, context: Context) -> None:
        self._clock = context.clock
        self._index = context.index
        self._ongoing = context.ongoing
        # A run is in the way of the next one until its outcome is in the log.
        self._soon = context.gather + NEAR

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
        return bool(self._ongoing.going(job.task_id).queued)
