"""Schedulers that can be killed: from then on nothing they do reaches the world, and nothing comes back."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from application.ports import LogUnavailable
from application.scheduler.context import Context
from application.scheduler.scheduler import Scheduler
from tests.support.exchanging import TaskExchange
from tests.support.fake_clock import ClockAhead
from tests.support.fake_log import FakeFollower
from tests.support.log import append_each
from tests.support.scheduler import GRACE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from application.ports import (
        Answer,
        Beat,
        Call,
        DueTask,
        Group,
        HeartbeatPayload,
        Open,
        Patience,
        Recorded,
        SchedulePosition,
        Snapshot,
        TaskHistory,
        Unfinished,
    )
    from domain.facts import Attempt
    from tests.support.scheduler import World


@dataclass
class MortalNode:
    """One scheduler's own view of every port, on a machine of its own."""

    world: World
    name: str
    ahead: timedelta = timedelta()
    chance: Callable[[], float] = lambda: 0.5
    dead: bool = False
    hanging: bool = False

    def __post_init__(self) -> None:
        """Start at once."""
        self.follower = FakeFollower(self.world.log)
        self.clock = ClockAhead(self.world.clock, self.ahead)
        context = self.world.context(self.name, clock=self.clock)
        mine = Context(
            log=self,
            clock=context.clock,
            caller=self,
            observer=context.observer,
            node=context.node,
            chance=self.chance,
        )
        engine = Scheduler(mine, self, self, self, concurrency=3, per_host=2, grace=GRACE)
        self.running = asyncio.create_task(engine.run())

    async def stop(self) -> None:
        """Let it end in peace."""
        self.running.cancel()
        await self.world.clock.until(self.running.done)

    def kill(self) -> None:
        """End it at once, as `kill -9` does."""
        self.dead = True
        self.running.cancel()

    def hang(self) -> None:
        """Let it beat, and do nothing else any more."""
        self.hanging = True

    async def _breathe(self, *, beating: bool = False) -> None:
        if self.dead or (self.hanging and not beating):
            await asyncio.get_running_loop().create_future()

    async def append(self, group: Group, *, patience: Patience = "prompt") -> int | None:
        """See `application.ports.EventLog`."""
        await self._breathe()
        self.world.readings[group.meta.command_id] = self.clock.shown()
        position = await self.world.log.append(group, patience=patience)
        await self._breathe()
        return position

    async def append_all(self, groups: Sequence[Group], *, patience: Patience = "prompt") -> Sequence[Answer]:
        """See `application.ports.EventLog`."""
        return await append_each(partial(self.append, patience=patience), groups)

    async def read_stream(self, stream: UUID) -> Sequence[Recorded]:
        """See `application.ports.EventLog`."""
        await self._breathe()
        return await self.world.log.read_stream(stream)

    async def read_after(self, position: int, limit: int) -> Sequence[Recorded]:
        """See `application.ports.EventLog`."""
        await self._breathe()
        return await self.world.log.read_after(position, limit)

    async def read_task(self, task_id: UUID) -> TaskHistory:
        """See `application.ports.EventLog`."""
        await self._breathe()
        return await self.world.log.read_task(task_id)

    async def keep(self, snapshot: Snapshot) -> None:
        """See `application.ports.EventLog`."""
        await self._breathe()
        await self.world.log.keep(snapshot)

    async def follow(self, position: int) -> AsyncIterator[Sequence[Recorded]]:
        """See `application.ports.Follower`."""
        async for batch in self.follower.follow(position):
            await self._breathe()
            yield batch

    def exchange(self, call: Call) -> TaskExchange:
        """See `application.ports.HttpCaller`."""
        return TaskExchange(lambda: self._call(call))

    async def _call(self, call: Call) -> Attempt:
        await self._breathe()
        attempt = await self.world.caller.call(call, self.clock, self.follower.position)
        await self._breathe()
        return attempt

    async def page(
        self, after: SchedulePosition | None, until: datetime, limit: int
    ) -> tuple[int, Sequence[DueTask]]:
        """See `application.ports.DueTasks`."""
        await self._breathe()
        return await self.world.due_tasks.page(after, until, limit)

    async def place(self, task_id: UUID) -> tuple[int, DueTask | None]:
        """See `application.ports.DueTasks`."""
        await self._breathe()
        return await self.world.due_tasks.place(task_id)

    async def open_runs(self) -> tuple[int, Sequence[Open]]:
        """See `application.ports.DueTasks`."""
        await self._breathe()
        return await self.world.due_tasks.open_runs()

    async def unfinished(self, limit: int) -> Sequence[Unfinished]:
        """See `application.ports.DueTasks`."""
        await self._breathe()
        return await self.world.due_tasks.unfinished(limit)

    async def beat(self, node: str, pulse: HeartbeatPayload | None = None) -> datetime:
        """See `application.ports.Nodes`."""
        await self._breathe(beating=True)
        return await self.world.nodes.beat(node, pulse)

    async def beats(self) -> Mapping[str, Beat]:
        """See `application.ports.Nodes`."""
        await self._breathe(beating=True)
        return await self.world.nodes.beats()

    async def leave(self, node: str) -> None:
        """See `application.ports.Nodes`."""
        if self.dead:
            raise LogUnavailable("the dead say nothing")
        await self.world.nodes.leave(node)
