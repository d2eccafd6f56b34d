"""What to do with a task that is due: start its latest occurrence, skip those that were missed before it."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from msgspec import Struct

from domain.definition import Definition
from domain.facts import ExecutionSkipped, ExecutionStarted, Occurrence
from domain.identity import execution_id
from domain.schedule import next_after

# A minute's schedule that was down for a week has missed 10,080 occurrences: they are recorded in portions.
MAX_SKIPPED = 500


class Due(Struct, frozen=True, kw_only=True):
    """A task at the occurrence where it stands."""

    task_id: UUID
    version: int
    namespace: str
    definition: Definition
    due_at: datetime

    def occurrence(self, due_at: datetime) -> Occurrence:
        """One of the task's scheduled occurrences."""
        return Occurrence(
            task_id=self.task_id,
            task_version=self.version,
            task_name=self.definition.name,
            namespace=self.namespace,
            due_at=due_at,
        )


class Claim(Struct, frozen=True, kw_only=True):
    """The facts to append together, each the first of its execution; `started` None: only skipped ones yet.

    `next_run_at` is the task's place afterwards; None: it has none.
    """

    skipped: tuple[tuple[UUID, ExecutionSkipped], ...]
    started: tuple[UUID, ExecutionStarted] | None
    next_run_at: datetime | None

    def facts(self) -> list[tuple[UUID, ExecutionSkipped | ExecutionStarted]]:
        """All of them with their executions, oldest first."""
        return [*self.skipped, *((self.started,) if self.started else ())]


def claim(due: Due, node: str, lease: timedelta, now: datetime) -> Claim:
    """Claim the latest occurrence that is due; an occurrence is missed once the one after it is due as well.

    The lease lasts `lease` beyond the time that the attempt may take.
    """
    skipped: list[tuple[UUID, ExecutionSkipped]] = []
    due_at = due.due_at
    following = next_after(due.definition.trigger, due_at)
    while following is not None and following <= now:
        if len(skipped) == MAX_SKIPPED:
            return Claim(skipped=tuple(skipped), started=None, next_run_at=due_at)
        skipped.append((execution_id(due.task_id, due_at, "scheduled"), _missed(due, due_at, following, now)))
        due_at, following = following, next_after(due.definition.trigger, following)
    started = ExecutionStarted(
        at=now,
        occurrence=due.occurrence(due_at),
        node=node,
        lease_until=max(now, due_at) + timedelta(seconds=due.definition.action.timeout_seconds) + lease,
        next_run_at=following,
    )
    return Claim(
        skipped=tuple(skipped),
        started=(execution_id(due.task_id, due_at, "scheduled"), started),
        next_run_at=following,
    )


def _missed(due: Due, due_at: datetime, following: datetime, now: datetime) -> ExecutionSkipped:
    return ExecutionSkipped(
        at=now,
        occurrence=due.occurrence(due_at),
        reason=f"missed: not started before the next occurrence was due ({following.isoformat()})",
        next_run_at=following,
    )
