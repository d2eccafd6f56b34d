"""What this node has in hand: attempts that the log gave to it, and the changes that overtake them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from domain.execution import Waiting
from domain.facts import ExecutionCancelled, TaskCancelled, TaskUpdated

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from application.calling import Exchange
    from application.ports import Recorded
    from domain.definition import Definition
    from domain.execution import Running


OVERTAKING = frozenset({TaskUpdated, TaskCancelled, ExecutionCancelled})
"""What `overtake` and `stop` look at: few of the facts that are followed."""


@dataclass(slots=True, eq=False)
class Job:
    """An execution of this node's: running (or claimed and not yet sent), or waiting for its next attempt.

    `overtaken`: its task has changed since the version that it was claimed from; `cancelled`: for good;
    `task_over`: it was over by then.
    `stopped`: it was cancelled itself; `exchange` is its next call, or the one under way. `place` is that in
    the line of those that are sent as soon as there is room.
    """

    execution: Running | Waiting
    definition: Definition
    task_version: int
    send_at: datetime
    overtaken: bool = False
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


class Work:
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

    def overtake(self, event: Recorded) -> list[Job]:
        """Mark the jobs whose task has changed since they were claimed, and name them."""
        if not isinstance(event.fact, TaskUpdated | TaskCancelled):
            return []
        jobs = [job for job in self._by_task.get(event.stream.int, ()) if job.task_version < event.version]
        for job in jobs:
            job.overtaken = True
            job.cancelled = isinstance(event.fact, TaskCancelled)
        return jobs
