"""Keeping the due index true: rows of the near future from the read model, then every fact as it comes."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from application.ports import LogUnavailable
from application.scheduler.due_index import Entry
from application.streams import load_task
from domain.facts import TaskCancelled, TaskUpdated
from domain.task import Scheduled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from application.ports import DueTask, DueTasks, Follower, Place, Recorded
    from application.scheduler.claimer import Claimer
    from application.scheduler.context import Context
    from application.scheduler.retries import Retries

WINDOW = timedelta(minutes=5)
PAGE = 500
# The window is cut short when this much is due within it, and refilled when half of it has been used up.
MAX_ENTRIES = 50_000
REFILL_EVERY = timedelta(minutes=1)
PAUSE = timedelta(milliseconds=100)

_LAST = UUID(int=2**128 - 1)


class Feed:
    """Loads what falls due within five minutes and follows the log from where the first page stood."""

    def __init__(
        self, context: Context, due_tasks: DueTasks, follower: Follower, claimer: Claimer, retries: Retries
    ) -> None:
        self._log = context.log
        self._clock = context.clock
        self._index = context.index
        self._work = context.work
        self._observer = context.observer
        self._due_tasks = due_tasks
        self._follower = follower
        self._claimer = claimer
        self._retries = retries
        self._followed: int | None = None

    async def run(self) -> None:
        """Feed the index for ever."""
        position = await self._refill(None)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(position))
            group.create_task(self._refill_regularly())

    async def _follow(self, position: int) -> None:
        self._followed = position
        async for batch in self._follower.follow(position):
            for event in batch:
                await self._apply(event)
            if batch:
                self._followed = batch[-1].position
                self._claimer.changed.set()
                self._observer.indexed(len(self._index))

    async def _apply(self, event: Recorded) -> None:
        for job in self._work.overtake(event):
            if isinstance(event.fact, TaskCancelled):
                self._retries.hurry(job)
        if not self._index.apply(event):
            await self._load(event)

    async def _load(self, event: Recorded) -> None:
        """A task from beyond the horizon was moved to within: read what else is known of it."""
        fact = event.fact
        assert isinstance(fact, TaskUpdated)
        while True:
            try:
                task = await load_task(self._log, event.stream)
                break
            except LogUnavailable:
                await self._clock.sleep_until(self._clock.now() + PAUSE)
        if isinstance(task, Scheduled):
            entry = Entry(event.stream, task.version, task.namespace, task.definition, None, event.position)
            self._index.place(entry, task.placed_at)

    async def _refill_regularly(self) -> None:
        while True:
            await self._clock.sleep_until(self._clock.now() + (PAUSE if self._thin() else REFILL_EVERY))
            if self._thin() or not self._cut_short():
                await self._refill(self._followed)

    def _cut_short(self) -> bool:
        """Whether the horizon lies nearer than the window, because so much is due."""
        horizon = self._index.horizon
        return horizon is not None and horizon[0] < self._clock.now() + WINDOW - REFILL_EVERY

    def _thin(self) -> bool:
        return self._cut_short() and len(self._index) < MAX_ENTRIES // 2

    async def _refill(self, at_least: int | None) -> int:
        """Extend the horizon page by page; the log position of the first page."""
        first: int | None = None
        until = self._clock.now() + WINDOW
        after = self._index.horizon
        while True:
            # What the follower tells from now on is kept up to here, so nothing falls between page and log.
            self._index.horizon = (until, _LAST)
            position, rows = await self._page(after, until, at_least)
            first = position if first is None else first
            for row in rows:
                self._index.load(row, position)
            self._claimer.changed.set()
            self._observer.indexed(len(self._index))
            if len(rows) < PAGE:
                return first
            after = (rows[-1].due_at, rows[-1].task_id)
            if len(self._index) >= MAX_ENTRIES:
                self._index.horizon = after
                return first

    async def _page(
        self, after: Place | None, until: datetime, at_least: int | None
    ) -> tuple[int, Sequence[DueTask]]:
        """A page that reflects all that has been followed: an older one may show places that were left."""
        while True:
            with contextlib.suppress(LogUnavailable):
                position, rows = await self._due_tasks.page(after, until, PAGE)
                if at_least is None or position >= at_least:
                    return position, rows
            await self._clock.sleep_until(self._clock.now() + PAUSE)
