"""Keeping true what is due and what goes on: from the read models first, then by every fact as it comes."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from application.ports import LogUnavailable
from application.scheduler.context import OVERTAKING
from application.scheduler.index import Entry
from application.scheduler.timing import apart, patiently
from application.streams import load_latest
from domain.facts import TaskResumed
from domain.task import Scheduled

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from application.ports import DueTask, DueTasks, Follower, Place, Recorded
    from application.scheduler.claimer import Claimer
    from application.scheduler.context import Context, Job
    from application.scheduler.requests import Requests
    from application.scheduler.retries import Retries

WINDOW = timedelta(minutes=5)
# Taking in a page, or a slice of what is followed, keeps calls waiting: 1 ms, or half of it, at 10 µs each.
PAGE = 100
SLICE = 50
# The window is cut short when this much is due within it, and refilled when half of it has been used up.
MAX_ENTRIES = 50_000
REFILL_EVERY = timedelta(minutes=1)
PAUSE = timedelta(milliseconds=100)

_LAST = UUID(int=2**128 - 1)


class Feed:
    """Loads what goes on and what falls due within five minutes, and follows the log from the first of these.

    Who learns a place from a later page knows what was begun before it once the log is followed that far.
    """

    def __init__(
        self,
        context: Context,
        due_tasks: DueTasks,
        follower: Follower,
        claimer: Claimer,
        retries: Retries,
        requests: Requests,
        review: Callable[[Sequence[Job]], None],
    ) -> None:
        """`review` hears of jobs whose task has changed since they were claimed."""
        self._log = context.log
        self._clock = context.clock
        self._index = context.index
        self._work = context.work
        self._observer = context.observer
        self._members = context.members
        self._ongoing = context.ongoing
        self._due_tasks = due_tasks
        self._follower = follower
        self._claimer = claimer
        self._retries = retries
        self._requests = requests
        self._review = review
        self._resumed: dict[UUID, int] = {}
        self._any_resumed = asyncio.Event()
        self._cut_short = False

    def position(self) -> int:
        """How far the log has been followed."""
        return self._ongoing.position

    async def run(self) -> None:
        """Feed the index for ever."""
        await self._seed()
        await self._refill()
        self._members.loaded()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow())
            group.create_task(self._refill_regularly())
            group.create_task(self._bring_back())

    async def _seed(self) -> None:
        while True:
            with contextlib.suppress(LogUnavailable):
                return self._ongoing.seed(*await self._due_tasks.open_runs())
            await self._clock.pause(PAUSE)

    async def _follow(self) -> None:
        async for batch in self._follower.follow(self._ongoing.position):
            for place, event in enumerate(batch):
                if place and place % SLICE == 0:
                    await asyncio.sleep(0)
                if not self._apply(event):
                    await apart("following task", event.stream, self._load(event.stream))
            if batch:
                self._index_changed()

    def _apply(self, event: Recorded) -> bool:
        """Follow one fact; False: its task has to be loaded."""
        if type(event.fact) in OVERTAKING:
            overtaken = self._work.overtake(event)
            self._review(overtaken)
            for job in overtaken:
                if job.cancelled:
                    self._retries.add(job)
            self._work.stop(event)
        self._requests.follow(event)
        if isinstance(event.fact, TaskResumed):
            self._resumed[event.stream] = event.position
            self._any_resumed.set()
        # Both before anything is waited for: what a moved horizon lets pass, a page read later must show.
        self._ongoing.follow(event)
        return self._index.apply(event)

    async def _load(self, task_id: UUID) -> None:
        """A task of which nothing is known was given a place within the horizon: read the rest."""
        latest = await patiently(self._clock, lambda: load_latest(self._log, task_id))
        if latest and isinstance(task := latest.task, Scheduled):
            place = (task.placed_at, task.placed_runs)
            entry = Entry(task_id, task.version, task.namespace, task.definition, *place)
            entry.pause, entry.learnt_at = task.pause, latest.position
            self._index.put(entry)

    async def _bring_back(self) -> None:
        """Where a resumed task stands is known to the read model: its last claim may be long ago."""
        while True:
            await self._any_resumed.wait()
            self._any_resumed.clear()
            while self._resumed:
                task_id, position = self._resumed.popitem()
                known_at, row = await self._place(task_id, position)
                if row is not None:
                    self._index.load(row, known_at)
                    self._index_changed()

    async def _place(self, task_id: UUID, at_least: int) -> tuple[int, DueTask | None]:
        while True:
            with contextlib.suppress(LogUnavailable):
                position, row = await self._due_tasks.place(task_id)
                if position >= at_least:
                    return position, row
            await self._clock.pause(PAUSE)

    async def _refill_regularly(self) -> None:
        while True:
            await self._clock.pause(PAUSE if self._cut_short else REFILL_EVERY)
            if not self._cut_short or len(self._index) < MAX_ENTRIES // 2:
                await self._refill()

    async def _refill(self) -> None:
        """Extend the horizon page by page."""
        at_least = self._ongoing.position
        after, until = self._index.horizon, self._clock.now() + WINDOW
        while True:
            # What the follower tells from now on is kept up to here, so nothing falls between page and log.
            self._index.horizon = (until, _LAST)
            position, rows = await self._page(after, until, at_least)
            for row in rows:
                self._index.load(row, position)
            self._index_changed()
            after = (rows[-1].fire_at or rows[-1].due_at, rows[-1].task_id) if len(rows) == PAGE else None
            self._cut_short = after is not None and len(self._index) >= MAX_ENTRIES
            if self._cut_short:
                self._index.horizon = after
            if after is None or self._cut_short:
                return

    def _index_changed(self) -> None:
        self._claimer.index_changed()
        self._observer.indexed(len(self._index))

    async def _page(
        self, after: Place | None, until: datetime, at_least: int
    ) -> tuple[int, Sequence[DueTask]]:
        """A page that reflects all that has been followed: an older one may show places that were left."""
        while True:
            with contextlib.suppress(LogUnavailable):
                position, rows = await self._due_tasks.page(after, until, PAGE)
                if position >= at_least:
                    return position, rows
            await self._clock.pause(PAUSE)
