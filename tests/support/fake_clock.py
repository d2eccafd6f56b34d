"""A clock that a test drives: nothing waits for real."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from datetime import datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING

from tests.support.given import NOON

if TYPE_CHECKING:
    from collections.abc import Callable

# More turns than any test needs: who takes them all is going round in circles.
MAX_TURNS = 200_000

type Sleeper = tuple[datetime, int, asyncio.Future[None], bool]
"""When to wake, a number that keeps the order of equals, what is awaited, and whether steps move it along."""


class FakeClock:
    """`Clock` whose time moves only when a test moves it, and then from one sleeper's instant to the next."""

    def __init__(self, now: datetime = NOON) -> None:
        self._now = now
        self._stepped = timedelta()
        self._sleepers: list[Sleeper] = []
        self._serial = count()

    def now(self) -> datetime:
        """See `application.ports.Clock`."""
        return self._now

    async def sleep_until(self, instant: datetime) -> None:
        """See `application.ports.Clock`."""
        if instant <= self._now:
            await asyncio.sleep(0)
            return
        await self._sleep(instant, steady=False)

    def steady(self) -> timedelta:
        """See `application.ports.Clock`."""
        return self._now - NOON - self._stepped

    async def pause(self, duration: timedelta) -> None:
        """See `application.ports.Clock`."""
        if duration <= timedelta():
            await asyncio.sleep(0)
            return
        await self._sleep(self._now + duration, steady=True)

    async def _sleep(self, instant: datetime, *, steady: bool) -> None:
        waiting = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (instant, next(self._serial), waiting, steady))
        await waiting

    async def step(self, seconds: float) -> None:
        """Set the wall clock ahead, or back; who waits for an instant of it and finds it past wakes up."""
        step = timedelta(seconds=seconds)
        self._now += step
        self._stepped += step
        self._sleepers = [
            (instant + step if steady else instant, number, waiting, steady)
            for instant, number, waiting, steady in self._sleepers
        ]
        heapq.heapify(self._sleepers)
        self._wake()
        await self.settle()

    async def settle(self) -> None:
        """Until nobody can go on without the time moving."""
        ready: deque[object] = asyncio.get_running_loop()._ready  # type: ignore[attr-defined]
        for _ in range(MAX_TURNS):
            await asyncio.sleep(0)
            if not ready:
                return
        raise AssertionError(f"something goes round in circles at {self._now}")

    async def reach(self, instant: datetime) -> None:
        """Let the time pass up to an instant, waking everybody at his own on the way."""
        await self.settle()
        while (wake_at := self._next_waking()) is not None and wake_at <= instant:
            self._now = wake_at
            self._wake()
            await self.settle()
        self._now = max(self._now, instant)
        await self.settle()

    async def pass_by(self, seconds: float) -> None:
        """Let some time pass."""
        await self.reach(self._now + timedelta(seconds=seconds))

    async def until(self, condition: Callable[[], bool], *, within: float = 600) -> None:
        """Let the time pass until a condition holds; fails when it does not within so many seconds."""
        deadline = self._now + timedelta(seconds=within)
        await self.settle()
        while not condition():
            wake_at = self._next_waking()
            assert wake_at is not None, "nobody waits for anything"
            assert wake_at <= deadline, f"did not happen within {within} s"
            await self.reach(wake_at)

    def _wake(self) -> None:
        while self._sleepers and self._sleepers[0][0] <= self._now:
            waiting = heapq.heappop(self._sleepers)[2]
            if not waiting.done():
                waiting.set_result(None)

    def _next_waking(self) -> datetime | None:
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None
