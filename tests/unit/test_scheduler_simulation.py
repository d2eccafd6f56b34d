"""Whatever users do, and however nodes and the database fail: nothing is lost, and nothing is called twice.

Some schedulers live through some random minutes in one world; when all is well again, the books must balance.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from application.ports import LogUnavailable
from application.streams import fold_task
from domain import task as tasks
from domain.definition import Cron, OneOff
from domain.errors import Refused
from domain.facts import (
    ExecutionRequested,
    ExecutionStarted,
    TaskCreated,
    TaskUpdated,
)
from domain.task import Task
from tests.support.books import check_books
from tests.support.given import no_answer
from tests.support.mortal import MortalNode
from tests.support.scheduler import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID


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
                self.pause,
                self.resume,
                self.trigger,
                self.backfill,
                self.break_off,
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

    async def pause(self) -> None:
        """A user stops a task for a while."""
        if known := self.tasks:
            with contextlib.suppress(*NOT_DONE):
                await self.world.pause(self.random.choice(known))

    async def resume(self) -> None:
        """A user lets a task go on."""
        paused = [task_id for task_id in self.tasks if isinstance(self._state(task_id), tasks.Paused)]
        if paused:
            with contextlib.suppress(*NOT_DONE):
                await self.world.resume(self.random.choice(paused))

    async def trigger(self) -> None:
        """A user runs a task by hand."""
        if known := self.tasks:
            with contextlib.suppress(*NOT_DONE):
                await self.world.trigger(self.random.choice(known))

    async def backfill(self) -> None:
        """A user wants what has not run, up to this moment."""
        if known := self.tasks:
            now = self.world.clock.now()
            start = now - timedelta(seconds=self.random.choice([30, 90, 300]))
            with contextlib.suppress(*NOT_DONE):
                await self.world.backfill(self.random.choice(known), start, now)

    async def break_off(self) -> None:
        """A user cancels an execution."""
        runs = {
            event.stream
            for event in self.world.log.recorded
            if isinstance(event.fact, ExecutionStarted | ExecutionRequested)
        }
        if runs and self.random.random() < 0.5:
            with contextlib.suppress(*NOT_DONE):
                await self.world.cancel_execution(self.random.choice(sorted(runs)))

    def _state(self, task_id: UUID) -> Task | None:
        return fold_task(task_id, [event for event in self.world.log.recorded if event.stream == task_id])

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
        for task_id in self.tasks:
            with contextlib.suppress(Refused):
                await self.world.resume(task_id)
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


@settings(max_examples=25, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(seed=st.integers(0, 2**32))
def test_the_books_balance_after_some_minutes_of_anything(seed: int) -> None:
    async def live() -> World:
        minutes = Minutes(Random(seed))
        await minutes.pass_by()
        return minutes.world

    check_books(asyncio.run(live()))
