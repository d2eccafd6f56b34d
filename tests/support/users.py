"""What users do to the tasks of a world, as chance has it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from application.ports import LogUnavailable
from application.streams import fold_task
from domain import task as tasks
from domain.errors import Refused
from domain.facts import (
    ExecutionQueued,
    ExecutionRequested,
    ExecutionStarted,
    TaskCreated,
    TaskUpdated,
)
from tests.support.new_tasks import EPOCHS, NewTasks
from tests.support.scheduler import World

if TYPE_CHECKING:
    from random import Random
    from uuid import UUID

    from domain.definition import Trigger
    from domain.task import Task

NOT_DONE = (Refused, LogUnavailable)


@dataclass
class Users:
    """They act by the world's clock, which need not be that of any scheduler."""

    random: Random
    world: World = field(init=False)
    new_tasks: NewTasks = field(init=False)
    serial: int = 0

    def __post_init__(self) -> None:
        """Somewhere, at some time."""
        now, zone, schedules = self.random.choice(EPOCHS)
        self.world = World(now)
        self.new_tasks = NewTasks(self.random, zone, schedules)

    @property
    def tasks(self) -> list[UUID]:
        """Every task of the log, whether or not its maker heard that it was accepted."""
        return [event.stream for event in self.world.log.recorded if isinstance(event.fact, TaskCreated)]

    def words(self, trigger: Trigger | None = None) -> dict[str, Any]:
        """What a user may ask for: a task that comes again, by its policies, or a one-off."""
        self.serial += 1
        return self.new_tasks.words(f"{self.serial}", self.world.clock.now(), trigger)

    async def create(self) -> None:
        """A user makes a task."""
        with contextlib.suppress(*NOT_DONE):
            await self.world.create(**self.words())

    async def update(self) -> None:
        """A user changes a task: its action, its schedule, or back to a schedule that it had before."""
        if not (known := self.tasks):
            return
        task_id = self.random.choice(known)
        earlier = [
            fact.definition.trigger
            for fact in self.world.log.facts(task_id)
            if isinstance(fact, TaskCreated | TaskUpdated)
        ]
        words = self.words(self.random.choice(earlier) if self.random.random() < 0.6 else None)
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
            if isinstance(event.fact, ExecutionStarted | ExecutionRequested | ExecutionQueued)
        }
        if runs and self.random.random() < 0.5:
            with contextlib.suppress(*NOT_DONE):
                await self.world.cancel_execution(self.random.choice(sorted(runs)))

    def _state(self, task_id: UUID) -> Task | None:
        return fold_task(task_id, [event for event in self.world.log.recorded if event.stream == task_id])
