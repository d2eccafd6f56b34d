"""What happened, planted in a log and explained."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from application.explanation.explainer import Explainer
from application.ports import Group, Meta, NewFact
from domain.facts import ExecutionSkipped, ExecutionStarted, Occurrence
from domain.identity import execution_id
from tests.support.fake_clock import FakeClock
from tests.support.given import MINUTE, NOON, TASK
from tests.support.log import MemoryLog

if TYPE_CHECKING:
    from application.explanation.account import Explanation
    from domain.facts import AnyFact, OccurrenceKind


def run_of(due_at: datetime = NOON) -> UUID:
    """The execution of an occurrence of the task."""
    return execution_id(TASK, due_at, "scheduled")


def occurrence(
    due_at: datetime = NOON,
    *,
    kind: OccurrenceKind = "scheduled",
    version: int = 1,
    fire_at: datetime | None = None,
) -> Occurrence:
    """An occurrence of the task."""
    return Occurrence(
        task_id=TASK,
        task_version=version,
        task_name="report",
        namespace="default",
        due_at=due_at,
        kind=kind,
        fire_at=fire_at,
    )


def claimed(
    due_at: datetime = NOON, *, at: datetime | None = None, of: Occurrence | None = None
) -> ExecutionStarted:
    """A claim by node-1, at its instant unless told."""
    return ExecutionStarted(
        at=at or due_at,
        occurrence=of or occurrence(due_at),
        node="node-1",
        lease_until=due_at + MINUTE,
        next_run_at=due_at + MINUTE,
    )


def skipped(due_at: datetime, reason: str, *, at: datetime) -> ExecutionSkipped:
    """An occurrence that was not run."""
    return ExecutionSkipped(
        at=at, occurrence=occurrence(due_at), reason=reason, next_run_at=due_at + timedelta(minutes=1)
    )


@dataclass
class Telling:
    """A log of the task, written by `actor`, and its explainer at an instant that a test chooses."""

    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        self.log = MemoryLog(self.clock.now)
        self.explainer = Explainer(self.log, self.clock)

    async def happened(self, stream: UUID, *facts: AnyFact, actor: str = "api") -> None:
        """Append facts to a stream."""
        version = len(self.log.facts(stream)) + 1
        new = tuple(NewFact(stream, place, fact) for place, fact in enumerate(facts, start=version))
        meta = Meta(actor=actor, correlation_id="", command_id=uuid4())
        assert await self.log.append(Group(facts=new, meta=meta)) is not None

    async def at(self, instant: datetime | None, *, now: datetime | None = None) -> Explanation:
        """The explanation of an instant."""
        await self.clock.reach(now or self.clock.now())
        return await self.explainer.task("default", TASK, instant)


def codes(explanation: Explanation) -> list[str]:
    """What is said, in order."""
    return [statement.code for statement in explanation.statements]


def named(explanation: Explanation, code: str) -> list[tuple[str, int]]:
    """The topics and positions that the statement of a code rests on."""
    [found] = [statement for statement in explanation.statements if statement.code == code]
    return [(event.topic, event.position) for event in found.events]


def rule(explanation: Explanation, code: str) -> str:
    """The rule of the statement of a code."""
    [found] = [statement for statement in explanation.statements if statement.code == code]
    return found.rule.name
