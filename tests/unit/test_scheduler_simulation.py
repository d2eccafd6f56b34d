"""Whatever users do, and however nodes and the database fail: nothing is lost, and nothing is called twice.

Some schedulers live through some random minutes in one world; when all is well again, the books must balance.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from application.ports import LogUnavailable
from application.streams import fold_execution, fold_task
from domain import execution as executions
from domain import task as tasks
from domain.definition import Cron, OneOff
from domain.errors import Refused
from domain.facts import (
    AttemptStarted,
    ExecutionSkipped,
    ExecutionStarted,
    ExecutionTakenOver,
    TaskCancelled,
    TaskCompleted,
    TaskCreated,
    TaskUpdated,
)
from domain.schedule import next_after
from tests.support.given import no_answer
from tests.support.mortal import MortalNode
from tests.support.scheduler import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from uuid import UUID

    from application.ports import Recorded

ANSWERS = [200] * 7 + [503, 503, 404]
NOT_DONE = (Refused, LogUnavailable)
SCHEDULES = ["* * * * *", "*/2 * * * *", "1-59/2 * * * *"]


@dataclass
class Minutes:
    """Some minutes of users, nodes and outages, as chance has it."""

    random: Random
    world: World = field(default_factory=World)
    nodes: list[MortalNode] = field(default_factory=list)
    trouble: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    serial: int = 0

    @property
    def tasks(self) -> list[UUID]:
        """Every task of the log, whether or not its maker heard that it was accepted."""
        return [event.stream for event in self.world.log.recorded if isinstance(event.fact, TaskCreated)]

    async def pass_by(self) -> None:
        """Start, live through some steps, heal, and come to rest."""
        self.world.caller.takes = timedelta(seconds=self.random.choice([0, 0.5, 4]))
        answers: list[Any] = [*self.random.choices(ANSWERS, k=30), no_answer(), no_answer(retryable=False)]
        self.random.shuffle(answers)
        self.world.caller.answers(*answers)
        await self.start()
        for _ in range(self.random.randint(5, 40)):
            await self.step()
        await self.come_to_rest()

    async def step(self) -> None:
        """Something happens, and some time goes by: seconds, or just so much that a claim is on its way."""
        happening = self.random.choice(
            [
                self.create,
                self.create,
                self.update,
                self.update,
                self.cancel,
                self.start,
                self.end,
                self.disturb,
            ]
        )
        await happening()
        instants = [self._next_instant(), self.random.uniform(0, 20), self.random.uniform(0, 0.03)]
        await self.world.clock.pass_by(self.random.choice(instants))

    def _next_instant(self) -> float:
        """Until 5 ms around the next full minute."""
        now = self.world.clock.now()
        return 60 - now.second - now.microsecond / 1e6 - self.random.uniform(-0.005, 0.02)

    def _words(self) -> dict[str, Any]:
        self.serial += 1
        words: dict[str, Any] = {"name": f"{self.serial}", "url": f"http://target/{self.serial}"}
        if self.random.random() < 0.4:
            return {**words, "cron": self.random.choice(SCHEDULES)}
        at = self.world.clock.now() + timedelta(seconds=self.random.choice([-30, 0, 0.02, 5, 50, 100]))
        return {**words, "at": at.replace(microsecond=at.microsecond // 1000 * 1000)}

    async def create(self) -> None:
        """A user makes a task."""
        with contextlib.suppress(*NOT_DONE):
            await self.world.create(**self._words())

    async def update(self) -> None:
        """A user changes a task: its action, its schedule, or back to a schedule that it had before."""
        if not (known := self.tasks):
            return
        task_id = self.random.choice(known)
        words = self._words()
        earlier = [
            fact.definition.trigger
            for fact in self.world.log.facts(task_id)
            if isinstance(fact, TaskCreated | TaskUpdated)
        ]
        if self.random.random() < 0.6:
            match self.random.choice(earlier):
                case OneOff(datetime=at):
                    words = {"name": words["name"], "url": words["url"], "at": at}
                case Cron(cron=cron):
                    words = {"name": words["name"], "url": words["url"], "cron": cron}
        with contextlib.suppress(*NOT_DONE):
            await self.world.update(task_id, **words)

    async def cancel(self) -> None:
        """A user ends a task."""
        if (known := self.tasks) and self.random.random() < 0.5:
            with contextlib.suppress(*NOT_DONE):
                await self.world.cancel(self.random.choice(known))

    async def start(self) -> None:
        """A node joins."""
        if len(self.nodes) < 3:
            self.serial += 1
            self.nodes.append(MortalNode(self.world, f"node-{self.serial}"))

    async def end(self) -> None:
        """A node leaves, or dies."""
        if self.nodes:
            node = self.nodes.pop(self.random.randrange(len(self.nodes)))
            if self.random.random() < 0.5:
                await node.stop()
            else:
                node.kill()

    async def disturb(self) -> None:
        """The database goes, answers get lost, projector or follower lag; or all of that is over."""
        self.trouble.close()
        match self.random.choice(["away", "lost answers", "projector", "follower", "well"]):
            case "away":
                self.trouble.enter_context(self.world.outage())
            case "lost answers":
                self.trouble.enter_context(self.world.log.losing_answers())
            case "projector":
                self.trouble.enter_context(self.projector_stopped())
            case "follower":
                for node in self.nodes[:1]:
                    self.trouble.enter_context(node.follower.held())
            case _:
                pass

    @contextlib.contextmanager
    def projector_stopped(self) -> Iterator[None]:
        self.world.due_tasks.projected = len(self.world.log.recorded)
        yield
        self.world.due_tasks.projected = None

    async def come_to_rest(self) -> None:
        """All is well, cron tasks end, and what is under way has the time to end."""
        self.trouble.close()
        await self.start()
        await self.world.clock.pass_by(200)
        check_nothing_is_overdue(self.world, self.tasks)
        for task_id in self.tasks:
            with contextlib.suppress(Refused):
                await self.world.cancel(task_id)
        await self.world.clock.pass_by(200)
        for node in self.nodes:
            await node.stop()


def check_nothing_is_overdue(world: World, known: list[UUID]) -> None:
    """Every one-off is over, and every cron task stands in the future."""
    for task_id in known:
        task = fold_task(task_id, [event for event in world.log.recorded if event.stream == task_id])
        if isinstance(task, tasks.Scheduled):
            assert isinstance(task.definition.trigger, Cron), f"{task_id} never ended: {world.names(task_id)}"


@dataclass
class Ledger:
    """What the log says, read in its order by somebody who trusts no scheduler."""

    versions: Counter[UUID] = field(default_factory=Counter)
    definitions: dict[tuple[UUID, int], Any] = field(default_factory=dict)
    places: dict[UUID, datetime | None] = field(default_factory=dict)
    claims: dict[tuple[UUID, int], tuple[UUID, int]] = field(default_factory=dict)

    def read(self, event: Recorded) -> None:
        """Follow one event; fails where a scheduler left its place, or claimed from an old version."""
        fact = event.fact
        match fact:
            case TaskCreated() | TaskUpdated() | TaskCancelled() | TaskCompleted():
                self._task(event)
            case ExecutionStarted():
                occurrence = fact.occurrence
                assert occurrence.task_version == self.versions[occurrence.task_id], "a stale claim"
                self.claims[event.stream, 1] = (occurrence.task_id, occurrence.task_version)
                self._on(fact)
            case ExecutionSkipped() if event.version == 1:
                self._on(fact)
            case AttemptStarted() | ExecutionTakenOver():
                assert fact.task_version == self.versions[fact.task_id], "a stale attempt"
                self.claims[event.stream, fact.number] = (fact.task_id, fact.task_version)
            case _:
                pass

    def _task(self, event: Recorded) -> None:
        self.versions[event.stream] = event.version
        match event.fact:
            case TaskCreated(definition=definition, next_run_at=place):
                self.places[event.stream] = place
            case TaskUpdated(definition=definition, next_run_at=place):
                self.places[event.stream] = place or self.places[event.stream]
            case _:
                self.places[event.stream] = None
                return
        self.definitions[event.stream, event.version] = definition

    def _on(self, fact: ExecutionStarted | ExecutionSkipped) -> None:
        """No occurrence between the task's place and the claimed one is left out."""
        occurrence = fact.occurrence
        assert self.places[occurrence.task_id] == occurrence.due_at, "an occurrence was left out"
        definition = self.definitions[occurrence.task_id, occurrence.task_version]
        assert fact.next_run_at == next_after(definition.trigger, occurrence.due_at)
        self.places[occurrence.task_id] = fact.next_run_at


def check_books(world: World) -> None:
    """Nothing is lost, nothing is called twice, early, or from a definition that it was not claimed from."""
    ledger = Ledger()
    streams: dict[UUID, list[Recorded]] = {}
    for event in world.log.recorded:
        ledger.read(event)
        streams.setdefault(event.stream, []).append(event)
    for stream, events in streams.items():
        execution = fold_execution(stream, events)
        assert execution is None or isinstance(execution, executions.Over), f"not over: {world.names(stream)}"
    calls = Counter((call.execution_id, call.number) for call in world.calls)
    assert {attempt: count for attempt, count in calls.items() if count > 1} == {}
    for call in world.calls:
        definition = ledger.definitions[ledger.claims[call.execution_id, call.number]]
        assert call.url == definition.action.url
        execution = fold_execution(call.execution_id, streams[call.execution_id])
        assert execution is not None
        assert call.at >= execution.occurrence.due_at


@settings(max_examples=25, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(seed=st.integers(0, 2**32))
def test_the_books_balance_after_some_minutes_of_anything(seed: int) -> None:
    async def live() -> World:
        minutes = Minutes(Random(seed))
        await minutes.pass_by()
        return minutes.world

    check_books(asyncio.run(live()))
