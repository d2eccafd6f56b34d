"""What to do with a task that is due: start its latest occurrence, skip those that were missed before it."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from domain.definition import Definition
from domain.facts import ExecutionSkipped, ExecutionStarted, Occurrence
from domain.identity import execution_id
from domain.schedule import fires_at, next_after, spent
from domain.task import Pause

# A minute's schedule that was down for a week has missed 10,080 occurrences: they are recorded in portions.
MAX_SKIPPED = 500


class Due(Struct, frozen=True, kw_only=True):
    """A task at the occurrence where it stands, after so many `runs`; `pause` is its last one."""

    task_id: UUID
    version: int
    namespace: str
    definition: Definition
    due_at: datetime
    runs: int = 0
    pause: Pause | None = None

    def occurrence(self, due_at: datetime, run: int) -> Occurrence:
        """One of the task's scheduled occurrences."""
        return Occurrence(
            task_id=self.task_id,
            task_version=self.version,
            task_name=self.definition.name,
            namespace=self.namespace,
            due_at=due_at,
            fire_at=self.delayed(due_at),
            run=run,
        )

    def fires_at(self, due_at: datetime) -> datetime:
        """When the call of an occurrence is to be sent."""
        return fires_at(self.definition.trigger, self.task_id, due_at)

    def delayed(self, due_at: datetime | None) -> datetime | None:
        """The same, unless it is the instant of the occurrence itself."""
        fire_at = None if due_at is None else self.fires_at(due_at)
        return None if fire_at == due_at else fire_at


class Claim(Struct, frozen=True, kw_only=True):
    """The facts to append together, each the first of its execution; `started` None: only skipped ones yet.

    `next_run_at` is the task's place afterwards, None: it has none; `runs` is how many runs count there.
    """

    skipped: tuple[tuple[UUID, ExecutionSkipped], ...]
    started: tuple[UUID, ExecutionStarted] | None
    next_run_at: datetime | None
    runs: int

    def facts(self) -> list[tuple[UUID, ExecutionSkipped | ExecutionStarted]]:
        """All of them with their executions, oldest first."""
        return [*self.skipped, *((self.started,) if self.started else ())]

    def without(self, taken: Collection[UUID], due: Due) -> Claim:
        """What is left of the claim of `due` when users have had some of its executions run out of turn."""
        skipped = tuple(one for one in self.skipped if one[0] not in taken)
        if self.started is None or self.started[0] not in taken:
            return replace(self, skipped=skipped)
        following = next_after(due.definition.trigger, self.started[1].occurrence.due_at)
        return Claim(skipped=skipped, started=None, next_run_at=following, runs=due.runs)


def claim(due: Due, node: str, lease: timedelta, now: datetime) -> Claim:
    """Claim the latest occurrence that is due; one is missed once the call of the next is due as well.

    The lease lasts `lease` beyond the time that the attempt may take.
    """
    trigger = due.definition.trigger
    skipped: list[tuple[UUID, ExecutionSkipped]] = []
    due_at = due.due_at
    following = next_after(trigger, due_at)
    while following is not None and due.fires_at(following) <= now:
        if len(skipped) == MAX_SKIPPED:
            return Claim(skipped=tuple(skipped), started=None, next_run_at=due_at, runs=due.runs)
        skipped.append((execution_id(due.task_id, due_at, "scheduled"), _missed(due, due_at, following, now)))
        due_at, following = following, next_after(trigger, following)
    run = due.runs + 1
    if spent(trigger, run):
        following = None
    occurrence = due.occurrence(due_at, run)
    started = ExecutionStarted(
        at=now,
        occurrence=occurrence,
        node=node,
        lease_until=max(now, occurrence.send_at)
        + timedelta(seconds=due.definition.action.timeout_seconds)
        + lease,
        next_run_at=following,
        next_fire_at=due.delayed(following),
    )
    return Claim(
        skipped=tuple(skipped),
        started=(execution_id(due.task_id, due_at, "scheduled"), started),
        next_run_at=following,
        runs=run,
    )


def _missed(due: Due, due_at: datetime, following: datetime, now: datetime) -> ExecutionSkipped:
    return ExecutionSkipped(
        at=now,
        occurrence=due.occurrence(due_at, due.runs),
        reason=_why_missed(due, due_at, following),
        next_run_at=following,
        next_fire_at=due.delayed(following),
    )


def _why_missed(due: Due, due_at: datetime, following: datetime) -> str:
    pause = due.pause
    if pause is not None and pause.since <= due_at < pause.until:
        return f"the task was paused (from {pause.since.isoformat()} to {pause.until.isoformat()})"
    return f"missed: not started before the next occurrence was due ({following.isoformat()})"
