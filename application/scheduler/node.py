"""This scheduler among others: its name, its leases, and the marks it leaves on what it appends."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from msgspec import Struct
from uuid_utils.compat import uuid4

from application.ports import Group, Guard, Meta, NewFact
from domain.execution import Lease, Running
from domain.facts import ExecutionFact, TaskFact

if TYPE_CHECKING:
    from datetime import datetime

    from application.scheduler.work import Job


# A lease must outlive the attempt that it covers by this much, or it is renewed before the call is sent.
SPARE = timedelta(seconds=2)


class Node(Struct, frozen=True, kw_only=True):
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
