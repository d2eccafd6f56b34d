"""What happened and what a simulation makes of it, side by side."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from application.what_if.comparison import Books
from application.what_if.question import Downtimes
from application.what_if.record import recorded
from application.what_if.simulation import Assumption, Simulation
from domain.definition import Interval, Overlap, RetryPolicy
from domain.facts import (
    AttemptStarted,
    ExecutionFailed,
    ExecutionQueued,
    ExecutionSkipped,
    ExecutionStarted,
    ExecutionTakenOver,
    IdempotencyKeyUsed,
    TaskUpdated,
)
from domain.identity import execution_id
from tests.support.given import NOON
from tests.support.minutes import CLAIMS, LATENCIES, BusyMinutes, Minutes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import datetime
    from uuid import UUID

    from application.ports import Recorded
    from application.what_if.simulation import Change, Happened
    from application.what_if.state import State
    from tests.support.log import MemoryLog
    from tests.support.scheduler import World

SECOND = timedelta(seconds=1)
USUAL = Assumption(duration=SECOND)


@dataclass
class SteadyMinutes(Minutes):
    """Nobody sets a clock: the log is in the order of its instants."""

    @property
    def of_machines(self) -> list[Callable[[], Awaitable[None]]]:
        """What may happen to machines."""
        return [self.start, self.end, self.disturb]

    async def step(self) -> None:
        """Something happens and is heard of before the next thing does; and some time goes by."""
        self.world.caller.takes = timedelta(seconds=self.random.choice(LATENCIES))
        await self.random.choice([*self.of_users, *self.of_machines])()
        await self.world.clock.settle()
        await self.world.clock.pass_by(
            self.random.choice([self.next_instant(), self.random.uniform(0.1, 20)])
        )

    async def disturb(self) -> None:
        """The database goes, answers get lost, or the read models stand still; or all of that is over."""
        self.trouble.close()
        match self.random.choice(["away", "lost answers", "projector", "well"]):
            case "away":
                self.trouble.enter_context(self.world.outage())
            case "lost answers":
                self.trouble.enter_context(self.world.log.losing_answers())
            case "projector":
                self.trouble.enter_context(self.projector_stopped())
            case _:
                pass

    def _offset(self) -> float:
        return 0


@dataclass
class SteadyBusyMinutes(SteadyMinutes, BusyMinutes):
    """The same with a few tasks whose runs mostly overlap."""


@dataclass
class HastyMinutes(Minutes):
    """Nobody sets a clock; things happen while others are on their way to the log, or not yet heard of."""

    @property
    def of_machines(self) -> list[Callable[[], Awaitable[None]]]:
        """What may happen to machines."""
        return [self.start, self.end, self.disturb]

    async def step(self) -> None:
        """Something happens, at times as soon as a fact of a kind is stored; some time goes by, or none."""
        self.world.caller.takes = timedelta(seconds=self.random.choice(LATENCIES))
        if self.random.random() < 0.2:
            self.world.log.meanwhile[self.random.choice(CLAIMS)] = self.random.choice(self.of_users)
        await self.random.choice([*self.of_users, *self.of_machines])()
        instants = [self.next_instant(), self.random.uniform(0, 20), self.random.uniform(0, 0.03)]
        await self.world.clock.pass_by(self.random.choice(instants))

    def _offset(self) -> float:
        return 0


@dataclass
class HastyBusyMinutes(HastyMinutes, BusyMinutes):
    """The same with a few tasks whose runs mostly overlap."""


def events_of(log: MemoryLog, task_id: UUID) -> list[Recorded]:
    """All events of a task and its executions, in the order of the log."""
    return [event for event in log.recorded if task_id in (event.stream, _task_of(event))]


def simulated(
    events: Sequence[Recorded], start: datetime, until: datetime, change: Change = lambda same: same
) -> Simulation:
    """What would have happened in a window with every definition changed."""
    record = recorded(events, start, until)
    simulation = Simulation(record, change, USUAL, Downtimes(record.downtimes))
    for _ in simulation.steps(start):
        pass
    return simulation


def retold(world: World, task_id: UUID, start: datetime = NOON) -> Simulation:
    """A simulation without a change, from `start` until now, which comes to what happened."""
    events, until = events_of(world.log, task_id), world.clock.now()
    record = recorded(events, start, until)
    again = simulated(events, start, until)
    assert told(again.facts, record.start) == told(record.facts, record.start)
    books = [Books(record.start, record.before, facts) for facts in (again.facts, record.facts)]
    assert books[0].entries.keys() == books[1].entries.keys()
    return again


def failing(**policy: Any) -> dict[str, Any]:
    """Every two seconds, calls beside each other, a minute between attempts."""
    retry = RetryPolicy(initial_delay_seconds=60, jitter="none", on_gone="fail", **policy)
    return {
        "trigger": Interval(every_seconds=2, anchor=NOON),
        "overlap": Overlap(mode="allow"),
        "retry": retry,
    }


def run_in(world: World, due_at: datetime, task_id: UUID) -> UUID:
    """The execution of a task's occurrence."""
    return execution_id(task_id, due_at, "scheduled")


def told(facts: Sequence[Happened], start: State) -> list[Any]:
    """Facts without what says nothing of a task: who claimed, until when, from which version."""
    numbers = {run: execution.attempts for run, execution in start.executions.items()}
    return [_plain(stream, fact) for _, stream, fact in facts if not _renews(numbers, stream, fact)]


def _renews(numbers: dict[UUID, int], stream: UUID, fact: Any) -> bool:
    """A claim of an attempt that was claimed before, and not sent."""
    if isinstance(fact, ExecutionStarted):
        numbers[stream] = 1
    if not isinstance(fact, AttemptStarted | ExecutionTakenOver):
        return False
    known, numbers[stream] = numbers.get(stream), fact.number
    return known == fact.number


def _plain(stream: UUID, fact: Any) -> Any:
    match fact:
        case ExecutionStarted():
            occurrence = replace(fact.occurrence, task_version=0)
            return stream, replace(fact, node="", lease_until=fact.at, occurrence=occurrence)
        case ExecutionQueued() | ExecutionSkipped():
            return stream, replace(fact, occurrence=replace(fact.occurrence, task_version=0))
        case AttemptStarted() | ExecutionTakenOver() as claim:
            return stream, type(claim), claim.number, claim.at
        case TaskUpdated():
            return stream, fact.at, fact.definition, fact.next_run_at, fact.runs
        case ExecutionFailed(reason=reason):  # by how much a retry would have come too late is chance
            return stream, replace(
                fact, reason=re.sub(r"would begin [\d.]+ s after", "would begin after", reason)
            )
        case _:
            return stream, fact


def _task_of(event: Recorded) -> UUID | None:
    fact: Any = event.fact
    if isinstance(fact, IdempotencyKeyUsed):
        return None
    return getattr(fact, "task_id", None) or getattr(getattr(fact, "occurrence", None), "task_id", None)
