"""Keeping true what is due and what goes on: from the read models first, then by every fact as it comes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from application.ports import LogUnavailable
from application.scheduler.index import Entry
from application.scheduler.jobs import SUPERSEDING
from application.scheduler.timing import isolate_errors, race, retry_on_outage
from application.streams import load_latest
from domain.facts import TaskResumed
from domain.task import Scheduled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from application.ports import DueTask, DueTasks, Follower, Recorded, SchedulePosition
    from application.scheduler.attempts import Attempts
    from application.scheduler.claimer import Claimer
    from application.scheduler.context import Context
    from application.scheduler.requests import RequestedExecutions

WINDOW = timedelta(minutes=5)
# Taking in a page, or a slice of what is followed, keeps calls waiting: 1 ms, or half of it, at 10 µs each.
PAGE = 100
SLICE = 50
# The window is cut short when this much is due within it, and refilled when half of it has been used up.
MAX_ENTRIES = 50_000
# The read model is swept for what should have been claimed by now, and the window is moved on.
REFILL_EVERY = timedelta(seconds=30)
# After a stale page, which may have lacked something.
REFILL_AGAIN = timedelta(seconds=5)
OVERDUE = timedelta(seconds=5)
PAUSE = timedelta(milliseconds=100)
# After so long, a page older than what has been followed will do: the log refuses what is no longer true.
STALE_AFTER = timedelta(seconds=2)

log = logging.getLogger(__name__)

_LAST = UUID(int=2**128 - 1)


class Loader:
    """Loads what goes on and what falls due within five minutes, and follows the log from the first of these.

    It does not trust itself: twice a minute it looks in the read model for tasks that are overdue and not in
    the index, and puts them back. A page that is older than the log is followed will do after two seconds.
    A task loaded from a later page is claimable only after the log has been followed to that page's
    position; by then every earlier start is known.
    """

    def __init__(
        self,
        context: Context,
        due_tasks: DueTasks,
        follower: Follower,
        claimer: Claimer,
        requests: RequestedExecutions,
        attempts: Attempts,
    ) -> None:
        self._log = context.log
        self._clock = context.clock
        self._index = context.index
        self._jobs = context.jobs
        self._observer = context.observer
        self._failed = context.observer.failed
        self._members = context.members
        self._open_executions = context.open_executions
        self._due_tasks = due_tasks
        self._follower = follower
        self._claimer = claimer
        self._retries = context.retries
        self._requests = requests
        self._attempts = attempts
        self._refill_now = asyncio.Event()
        self._covered: SchedulePosition | None = None
        self._stale = False
        self._resumed: dict[UUID, int] = {}
        self._any_resumed = asyncio.Event()
        self._cut_short = False

    def position(self) -> int:
        """How far the log has been followed."""
        return self._open_executions.position

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
                return self._open_executions.seed(*await self._due_tasks.open_runs())
            await self._clock.pause(PAUSE)

    async def _follow(self) -> None:
        async for batch in self._follower.follow(self._open_executions.position):
            for place, event in enumerate(batch):
                if place and place % SLICE == 0:
                    await asyncio.sleep(0)
                if not self._apply(event):
                    await isolate_errors(
                        "following task", event.stream, self._load(event.stream), self._failed
                    )
            if batch:
                self._index_changed()

    def _apply(self, event: Recorded) -> bool:
        """Follow one fact; False: its task has to be loaded."""
        if type(event.fact) in SUPERSEDING:
            superseded = self._jobs.supersede(event)
            self._attempts.review(superseded)
            for job in superseded:
                if job.cancelled:
                    self._retries.add(job)
            self._jobs.stop(event)
        self._requests.follow(event)
        if isinstance(event.fact, TaskResumed):
            self._resumed[event.stream] = event.position
            self._any_resumed.set()
        # Both before anything is waited for: what a moved horizon lets pass, a page read later must show.
        self._open_executions.follow(event)
        return self._index.apply(event)

    async def _load(self, task_id: UUID) -> None:
        """A task of which nothing is known was given a place within the horizon: read the rest."""
        latest = await retry_on_outage(self._clock, lambda: load_latest(self._log, task_id))
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
                elif known_at < position:  # the log knows at least where the task was put last
                    await isolate_errors("following task", task_id, self._load(task_id), self._failed)
                self._index_changed()

    async def _place(self, task_id: UUID, at_least: int) -> tuple[int, DueTask | None]:
        """Where the read model has a task, as of a position; after `STALE_AFTER` an earlier one will do."""
        stale_from = self._clock.steady() + STALE_AFTER
        while True:
            with contextlib.suppress(LogUnavailable):
                position, row = await self._due_tasks.place(task_id)
                if position >= at_least or self._clock.steady() >= stale_from:
                    return position, row
            await self._clock.pause(PAUSE)

    def refill_now(self) -> None:
        """Move the window on, and look for what is overdue, without waiting: the clock has been set."""
        self._refill_now.set()

    async def _refill_regularly(self) -> None:
        while True:
            pause = PAUSE if self._cut_short else REFILL_AGAIN if self._stale else REFILL_EVERY
            await race(self._clock.pause(pause), self._refill_now.wait())
            asked = self._refill_now.is_set()
            self._refill_now.clear()
            if asked or not self._cut_short:
                await self._sweep()
            if not self._cut_short or len(self._index) < MAX_ENTRIES // 2:
                await self._refill()

    async def _sweep(self) -> None:
        """Put back what is overdue by the read model and unknown to the index, as far as there is room.

        Nothing of it is missing unless something went wrong, here or in the projector.
        """
        after, until, missing = None, self._clock.now() - OVERDUE, 0
        while len(self._index) < MAX_ENTRIES:
            try:
                position, rows = await self._due_tasks.page(after, until, PAGE)
            except LogUnavailable:
                return  # the refill that follows waits for the read model
            for row in rows:
                if self._index.get(row.task_id) is None:
                    self._index.load(row, position)
                    missing += self._index.get(row.task_id) is not None
            if len(rows) < PAGE:
                break
            after = (rows[-1].fire_at or rows[-1].due_at, rows[-1].task_id)
        if missing:
            log.warning("%d overdue tasks were not in the index and have been put back", missing)
            self._index_changed()

    async def _refill(self) -> None:
        """Extend the horizon page by page."""
        at_least, self._stale = self._open_executions.position, False
        self._index.begin_refill()
        # Not from the horizon on, if the last pages were stale: they may have lacked something before it.
        after, until = self._covered, self._clock.now() + WINDOW
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
                if not self._stale:
                    self._covered = self._index.horizon
                    self._index.keep_within()
                return

    def _index_changed(self) -> None:
        self._claimer.index_changed()
        self._observer.indexed(len(self._index))

    async def _page(
        self, after: SchedulePosition | None, until: datetime, at_least: int
    ) -> tuple[int, Sequence[DueTask]]:
        """A page that reflects all that has been followed; after `STALE_AFTER` an older one will do.

        An older one may show places that were left: the log refuses to claim there, and tells the right ones.
        It may lack others: from then on nothing is dropped from the index.
        """
        stale_from = self._clock.steady() + STALE_AFTER
        while True:
            stale = self._clock.steady() >= stale_from
            if stale:
                self._index.keep_all()
            with contextlib.suppress(LogUnavailable):
                position, rows = await self._due_tasks.page(after, until, PAGE)
                if stale or position >= at_least:
                    self._stale |= position < at_least
                    return position, rows
            await self._clock.pause(PAUSE)
