"""One scheduler: its parts wired together, started in order, and stopped without dropping a call."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from application.ports import LogUnavailable
from application.scheduler.attempts import Attempts
from application.scheduler.claimer import Claimer
from application.scheduler.feed import Feed
from application.scheduler.outcomes import Outcomes
from application.scheduler.reclaim import Reclaim
from application.scheduler.retries import Retries
from application.scheduler.takeover import Takeover

if TYPE_CHECKING:
    from application.ports import DueTasks, Follower, Nodes
    from application.scheduler.context import Context
    from application.scheduler.work import Job

BEAT_EVERY = timedelta(seconds=1)
DRAIN_POLL = timedelta(milliseconds=20)


class Scheduler:
    """Runs until cancelled; then claims nothing more and gives running calls `grace` to end."""

    def __init__(
        self,
        context: Context,
        due_tasks: DueTasks,
        follower: Follower,
        nodes: Nodes,
        *,
        concurrency: int,
        grace: timedelta,
    ) -> None:
        """`concurrency` bounds the calls in flight."""
        self._clock = context.clock
        self._node = context.node
        self._nodes = nodes
        self._grace = grace
        reclaim = Reclaim(context)
        outcomes = Outcomes(context, self._wait_for_retry)
        self._attempts = Attempts(context, reclaim, outcomes.settle, concurrency)
        start = self._attempts.start
        self._retries = Retries(context, reclaim, start)
        self._claimer = Claimer(context, start, self._attempts.ready)
        self._feed = Feed(context, due_tasks, follower, self._claimer, self._retries)
        self._takeover = Takeover(context, due_tasks, nodes, reclaim, outcomes, start, self._retries.add)

    def _wait_for_retry(self, job: Job) -> None:
        self._retries.add(job)

    async def run(self) -> None:
        """Schedule until cancelled; an error of any part ends all of them and is raised."""
        await self._first_beat()
        calls = asyncio.gather(self._attempts.run(), self._beat())
        claims = asyncio.gather(
            self._feed.run(), self._claimer.run(), self._retries.run(), self._takeover.run()
        )
        try:
            # Not gather: when this is cancelled, the calls under way must not be.
            ended, _ = await asyncio.wait((calls, claims), return_when=asyncio.FIRST_COMPLETED)
            for one in ended:
                one.result()
        finally:
            await _cancelled(claims)
            await self._drain()
            await _cancelled(calls)
            with contextlib.suppress(LogUnavailable):
                await self._nodes.leave(self._node.name)

    async def _first_beat(self) -> None:
        """Nothing may be claimed under a name that others take for dead."""
        while True:
            with contextlib.suppress(LogUnavailable):
                return await self._nodes.beat(self._node.name)
            await self._clock.sleep_until(self._clock.now() + BEAT_EVERY)

    async def _beat(self) -> None:
        while True:
            with contextlib.suppress(LogUnavailable):
                await self._nodes.beat(self._node.name)
            await self._clock.sleep_until(self._clock.now() + BEAT_EVERY)

    async def _drain(self) -> None:
        """What is claimed is still sent, and what is sent is still recorded, as far as the grace allows."""
        deadline = self._clock.now() + self._grace
        while not self._attempts.idle() and self._clock.now() < deadline:
            await self._clock.sleep_until(self._clock.now() + DRAIN_POLL)


async def _cancelled(running: asyncio.Future[Any]) -> None:
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await running
