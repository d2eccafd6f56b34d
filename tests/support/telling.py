"""What happened, planted in a log and explained."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from msgspec.structs import replace

from application.explanation.explainer import Explainer
from application.ports import Group, Meta, NewFact
from domain.facts import Attempt, ExecutionFailed, ExecutionSkipped, ExecutionStarted, Occurrence
from domain.identity import execution_id
from tests.support.fake_clock import FakeClock
from tests.support.given import MINUTE, NOON, TASK, attempt, created
from tests.support.log import MemoryLog

if TYPE_CHECKING:
    from collections.abc import Sequence

    from application.explanation.wording import Explanation
    from domain.facts import Answer, AnyFact, ExecutionFact, OccurrenceKind, TaskFact


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


def sent(at: datetime, answer: Answer | int = 200, *, number: int = 1) -> Attempt:
    """A call that was sent at an instant."""
    return replace(attempt(number, answer), started_at=at)


def failed(at: datetime, answer: Answer | int = 404, reason: str = "it is final") -> ExecutionFailed:
    """The bad end of an execution by its first attempt."""
    return ExecutionFailed(at=at, task_id=TASK, attempt=sent(at, answer), reason=reason)


@dataclass
class Telling:
    """A log of the task, written by `actor`, and its explainer at an instant that a test chooses."""

    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        self.log = MemoryLog(self.clock.now)
        self.explainer = Explainer(self.log, self.clock)

    async def happened(self, stream: UUID, *facts: AnyFact, actor: str = "api") -> None:
        """Append facts to a stream."""
        await self.together(*((stream, fact) for fact in facts), actor=actor)

    async def together(self, *facts: tuple[UUID, AnyFact], actor: str = "scheduler:node-1") -> None:
        """Append facts to several streams at once."""
        heads = {stream: len(self.log.facts(stream)) for stream, _ in facts}
        new: list[NewFact] = []
        for stream, fact in facts:
            heads[stream] += 1
            new.append(NewFact(stream, heads[stream], fact))
        meta = Meta(actor=actor, correlation_id="", command_id=uuid4())
        assert await self.log.append(Group(facts=tuple(new), meta=meta)) is not None

    async def at(self, instant: datetime | None, *, now: datetime | None = None) -> Explanation:
        """The explanation of an instant."""
        await self.clock.reach(now or self.clock.now())
        return await self.explainer.task("default", TASK, instant)


async def ran(*facts: ExecutionFact, task: Sequence[TaskFact] = (), **policies: Any) -> Telling:
    """A task of every minute from noon on, what happened to it, and its occurrence at a minute past."""
    world = Telling()
    await world.happened(TASK, created(**policies), *task)
    await world.happened(run_of(NOON + MINUTE), *facts, actor="scheduler:node-1")
    return world


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


def said(explanation: Explanation, code: str) -> str:
    """The sentence of the statement of a code."""
    [found] = [statement for statement in explanation.statements if statement.code == code]
    return found.text


def policy(explanation: Explanation, code: str) -> str:
    """What the rule of the statement of a code says."""
    [found] = [statement for statement in explanation.statements if statement.code == code]
    return found.rule.text
