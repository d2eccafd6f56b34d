"""The machine's wall clock, and waiting for an instant of it to a fraction of a millisecond."""

from __future__ import annotations

import asyncio
import heapq
import os
import sys
import time
from asyncio import AbstractEventLoop, Future, Handle
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol
from weakref import WeakKeyDictionary

type _Sleeper = tuple[int, int, Future[None] | "_Callback"]
"""When to wake, a number that keeps the order of equals, and what its coroutine awaits or is to be called."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

# Timers count in 64-bit nanoseconds, which end in 2262: what is further away is waited for a day at a time.
_FURTHEST_NS = 86_400 * 10**9

# An event loop's own timers are up to 1.4 ms off, and learn that the wall clock was set only by looking.
_COARSE_NS = 1_500_000
_LOOK_NS = 2 * 10**9

_LEAST_ROOM = 64


class SystemClock:
    """`application.ports.Clock` on CLOCK_REALTIME: when the clock is set, sleepers follow it.

    Any number may sleep at once; they share one timer an event loop.
    """

    def __init__(self) -> None:
        self._sleepers: WeakKeyDictionary[AbstractEventLoop, _Sleepers] = WeakKeyDictionary()

    def now(self) -> datetime:
        """The current instant, UTC, to the microsecond."""
        return datetime.now(UTC)

    def sleep_until(self, instant: datetime) -> Future[None]:
        """Return at the instant, within a fraction of a millisecond, never before it.

        A past instant returns after one turn of the loop, so that one who is always late starves nobody.
        """
        loop = asyncio.get_running_loop()
        waiting = loop.create_future()
        self._wake(loop, instant, waiting)
        return waiting

    def call_at(self, instant: datetime, callback: Callable[[], None]) -> _Callback:
        """Call at the instant, as `sleep_until` would return."""
        waiting = _Callback(callback)
        self._wake(asyncio.get_running_loop(), instant, waiting)
        return waiting

    def _wake(self, loop: AbstractEventLoop, instant: datetime, waiting: Future[None] | _Callback) -> None:
        due_ns = (instant - _EPOCH) // _MICROSECOND * 1_000
        if time.time_ns() >= due_ns:
            loop.call_soon(_wake_up, waiting)
            return
        sleepers = self._sleepers.get(loop)
        if sleepers is None:
            sleepers = self._sleepers[loop] = _Sleepers()
        sleepers.add(due_ns, waiting)

    def steady(self) -> timedelta:
        """Time since some fixed moment, which no setting of the wall clock changes."""
        return timedelta(microseconds=time.monotonic_ns() // 1_000)

    async def pause(self, duration: timedelta) -> None:
        """Return after a duration, to a millisecond or two, whatever happens to the wall clock meanwhile."""
        await asyncio.sleep(max(0.0, duration.total_seconds()))


class _Callback:
    """What is called once, unless it is cancelled before."""

    __slots__ = ("_callback",)

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Not any more; when it has been called already, that does nothing."""
        self._callback = None

    def done(self) -> bool:
        """Whether it has been called or cancelled."""
        return self._callback is None

    def call(self) -> bool:
        """Call it, unless that was done or is not wanted any more; whether it was called now."""
        callback, self._callback = self._callback, None
        if callback is None:
            return False
        callback()
        return True


class _Sleepers:
    """Those who sleep on one event loop. Holds no reference to it, so that both can be collected."""

    def __init__(self) -> None:
        self._heap: list[_Sleeper] = []
        self._number = 0
        self._room = _LEAST_ROOM
        self._waking = False
        self._alarm = _new_alarm(self._wake)

    def add(self, due_ns: int, waiting: Future[None] | _Callback) -> None:
        self._number += 1
        sleeper: _Sleeper = (due_ns, self._number, waiting)
        heapq.heappush(self._heap, sleeper)
        if len(self._heap) > self._room:
            self._forget_the_cancelled()
        if self._heap[0] is sleeper and not self._waking:
            self._set_alarm()

    def _forget_the_cancelled(self) -> None:
        """Once there are as many sleepers again as there were, so that it costs each of them little."""
        self._heap = [sleeper for sleeper in self._heap if not sleeper[2].done()]
        heapq.heapify(self._heap)
        self._room = max(_LEAST_ROOM, 2 * len(self._heap))

    def _wake(self) -> None:
        """Wake who is due; after calls, which may have sent something, let those run who wait for this core.

        Linux often puts who receives a message on its sender's core, to wait there for up to a tick, even
        while another one is idle.
        """
        called = False
        self._waking = True  # whoever is called may wait for the next instant: the alarm is set once for all
        try:
            while self._heap and (self._heap[0][0] <= time.time_ns() or self._heap[0][2].done()):
                called |= _wake_up(heapq.heappop(self._heap)[2])
        finally:
            self._waking = False
            self._set_alarm()
        if called:
            os.sched_yield()

    def _set_alarm(self) -> None:
        self._alarm.set(self._heap[0][0] if self._heap else None)


def _wake_up(waiting: Future[None] | _Callback) -> bool:
    """Whether that was a call; who sleeps goes on in a turn of the event loop to come."""
    if isinstance(waiting, _Callback):
        return waiting.call()
    if not waiting.done():
        waiting.set_result(None)
    return False


class _Alarm(Protocol):
    """Rings at an instant or somewhat before it; setting it again, or to None, forgets the last one."""

    def set(self, due_ns: int | None) -> None: ...


class _LoopAlarm:
    """Where there is no timerfd: the loop's timer until shortly before, then a look every turn."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._handle: Handle | None = None

    def set(self, due_ns: int | None) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._handle = None if due_ns is None else self._ring_in(due_ns - time.time_ns())

    def _ring_in(self, remaining_ns: int) -> Handle:
        loop = asyncio.get_running_loop()
        if remaining_ns <= _COARSE_NS:
            return loop.call_soon(self._ring)
        return loop.call_later(min(remaining_ns - _COARSE_NS, _LOOK_NS) / 1e9, self._ring)


if sys.platform == "linux" and sys.version_info >= (3, 13):

    class _TimerFd:
        """An absolute CLOCK_REALTIME timer: the kernel moves it along when the wall clock is set."""

        def __init__(self, ring: Callable[[], None]) -> None:
            self._ring = ring
            self._fd = os.timerfd_create(time.CLOCK_REALTIME, flags=os.TFD_NONBLOCK | os.TFD_CLOEXEC)
            asyncio.get_running_loop().add_reader(self._fd, self._read)

        def __del__(self) -> None:
            os.close(self._fd)

        def set(self, due_ns: int | None) -> None:
            at_ns = 0 if due_ns is None else min(due_ns, time.time_ns() + _FURTHEST_NS)
            os.timerfd_settime_ns(self._fd, flags=os.TFD_TIMER_ABSTIME, initial=at_ns)

        def _read(self) -> None:
            try:
                os.read(self._fd, 8)
            except BlockingIOError:
                return  # it was set anew between its ringing and this call
            self._ring()

    def _new_alarm(ring: Callable[[], None]) -> _Alarm:
        return _TimerFd(ring)

else:

    def _new_alarm(ring: Callable[[], None]) -> _Alarm:
        return _LoopAlarm(ring)
