"""What this node has in hand: attempts that the log gave to it, and the changes that overtake them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from domain.facts import TaskCancelled, TaskUpdated

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from application.ports import Recorded
    from domain.definition import Definition
    from domain.execution import Running, Waiting


@dataclass(slots=True, eq=False)
class Job:
    """An execution of this node's: running (or claimed and not yet sent), or waiting for its next attempt.

    `overtaken` is the newest change of its task that the log holds after the version it was claimed from.
    """

    execution: Running | Waiting
    definition: Definition
    task_version: int
    send_at: datetime
    overtaken: Recorded | None = field(default=None)

    @property
    def task_id(self) -> UUID:
        """The task that this executes."""
        return self.execution.occurrence.task_id


class Work:
    """Every job of this node, findable by execution and by task."""

    def __init__(self) -> None:
        self._jobs: dict[UUID, Job] = {}
        self._by_task: dict[UUID, set[Job]] = {}

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, execution_id: UUID) -> bool:
        return execution_id in self._jobs

    def add(self, job: Job) -> None:
        """Take a job in hand."""
        self._jobs[job.execution.id] = job
        self._by_task.setdefault(job.task_id, set()).add(job)

    def done(self, job: Job) -> None:
        """Let go of a job; twice does no harm."""
        self._jobs.pop(job.execution.id, None)
        siblings = self._by_task.get(job.task_id)
        if siblings is not None:
            siblings.discard(job)
            if not siblings:
                del self._by_task[job.task_id]

    def overtake(self, event: Recorded) -> list[Job]:
        """Mark the jobs whose task has changed since they were claimed, and name them."""
        if not isinstance(event.fact, TaskUpdated | TaskCancelled):
            return []
        jobs = [job for job in self._by_task.get(event.stream, ()) if job.task_version < event.version]
        for job in jobs:
            job.overtaken = event
        return jobs
