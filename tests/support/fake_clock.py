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

    from application.ports import Cancellable

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
        self._machines: list[ClockAhead] = []

    def now(self) -> datetime:
        """See `application.ports.Clock`."""
        return self._now

    async def sleep_until(self, instant: datetime) -> None:
        """See `application.ports.Clock`."""
        if instant <= self._now:
            await asyncio.sleep(0)
            return
        await self.alarm(instant)

    def call_at(self, instant: datetime, callback: Callable[[], None]) -> Cancellable:
        """See `application.ports.Clock`."""
        return called_at(self, instant, callback)

    def steady(self) -> timedelta:
        """See `application.ports.Clock`."""
        return self._now - NOON - self._stepped

    async def pause(self, duration: timedelta) -> None:
        """See `application.ports.Clock`."""
        if duration <= timedelta():
            await asyncio.sleep(0)
            return
        await self.alarm(self._now + duration, steady=True)

    def alarm(self, instant: datetime, *, steady: bool = False) -> asyncio.Future[None]:
        """What is done at an instant of the wall clock; a `steady` one is moved along when that is set."""
        waiting = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (instant, next(self._serial), waiting, steady))
        return waiting

    async def step(self, seconds: float) -> None:
        """Set the wall clock ahead, or back, and let everybody see."""
        self.set_by(seconds)
        await self.settle()

    def set_by(self, seconds: float) -> None:
        """Set the wall clock ahead, or back; who waits for an instant of it and finds it past wakes up."""
        self.look_at_machines()
        step = timedelta(seconds=seconds)
        self._now += step
        self._stepped += step
        self._sleepers = [
            (instant + step if steady else instant, number, waiting, steady)
            for instant, number, waiting, steady in self._sleepers
        ]
        heapq.heapify(self._sleepers)
        self._wake()

    def add(self, machine: ClockAhead) -> None:
        """One more machine whose clock goes with this one."""
        self._machines.append(machine)

    def look_at_machines(self) -> datetime:
        """The latest instant that any of their clocks has come to."""
        return max((machine.look() for machine in self._machines), default=self._now)

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


class ClockAhead:
    """`Clock` of one machine: `ahead` of the world's, and set by itself."""

    def __init__(self, world: FakeClock, ahead: timedelta = timedelta()) -> None:
        self._world = world
        self._ahead = ahead
        self._alarms: set[asyncio.Future[None]] = set()
        self._furthest = self.now()
        self._moment = (world.steady(), self.now())
        world.add(self)

    @property
    def ahead(self) -> timedelta:
        """How far it goes ahead of the world's clock."""
        return self._ahead

    @ahead.setter
    def ahead(self, ahead: timedelta) -> None:
        """Set it; who waits for an instant of it looks again how long that is."""
        self.look()
        self._ahead = ahead
        for alarm in self._alarms:
            if not alarm.done():
                alarm.set_result(None)

    def look(self) -> datetime:
        """The latest instant that it has come to, whatever it was set to since."""
        self._moment = (self.steady(), self.shown())
        self._furthest = max(self._furthest, self.now())
        return self._furthest

    def shown(self) -> datetime:
        """The latest instant that it has shown at this very moment, be it set meanwhile."""
        then, shown = self._moment
        return max(self.now(), shown) if then == self.steady() else self.now()

    def now(self) -> datetime:
        """See `application.ports.Clock`."""
        return self._world.now() + self._ahead

    async def sleep_until(self, instant: datetime) -> None:
        """See `application.ports.Clock`."""
        if instant <= self.now():
            await asyncio.sleep(0)
        while instant > self.now():
            alarm = self._world.alarm(instant - self._ahead)
            self._alarms.add(alarm)
            try:
                await alarm
            finally:
                self._alarms.discard(alarm)

    def call_at(self, instant: datetime, callback: Callable[[], None]) -> Cancellable:
        """See `application.ports.Clock`."""
        return called_at(self, instant, callback)

    def steady(self) -> timedelta:
        """See `application.ports.Clock`."""
        return self._world.steady()

    async def pause(self, duration: timedelta) -> None:
        """See `application.ports.Clock`."""
        await self._world.pause(duration)


def called_at(clock: FakeClock | ClockAhead, instant: datetime, callback: Callable[[], None]) -> Cancellable:
    """Who sleeps until then, and calls."""

    def woken(sleep: asyncio.Task[None]) -> None:
        if not sleep.cancelled():
            callback()

    sleep = asyncio.create_task(clock.sleep_until(instant))
    sleep.add_done_callback(woken)
    return sleep
