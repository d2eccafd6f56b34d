"""Deadlines of many calls, kept by one timer: `asyncio.timeout` sets and cancels one for each."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from types import TracebackType

# Timers may be early by as much, and each of them looks at all deadlines.
GRACE_SECONDS = 0.005


class Timed(Protocol):
    """What ends at a moment of the event loop's time."""

    at: float

    def expire(self) -> None:
        """The time is over."""
        ...


class Deadlines:
    """Makes deadlines of one event loop."""

    def __init__(self) -> None:
        self._running: set[Timed] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = math.inf

    def within(self, seconds: float) -> Deadline:
        """A context whose content is cancelled so many seconds after it was entered, or up to 5 ms later."""
        return Deadline(self, seconds)

    def close(self) -> None:
        """Deadlines under way end no more."""
        self._running.clear()
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._rings_at = None, math.inf

    def begin(self, deadline: Timed) -> None:
        """It runs from now on, until it is discarded or expires."""
        self._running.add(deadline)
        if deadline.at < self._rings_at:
            self._ring_at(deadline.at)

    def discard(self, deadline: Timed) -> None:
        """It runs no more. The timer stays, for setting it costs more than a ring in vain."""
        self._running.discard(deadline)

    def _ring_at(self, instant: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings_at = instant
        self._timer = asyncio.get_running_loop().call_at(instant, self._ring)

    def _ring(self) -> None:
        now = asyncio.get_running_loop().time()
        self._timer, self._rings_at = None, math.inf
        for deadline in [one for one in self._running if one.at <= now]:
            if deadline in self._running:
                self._running.discard(deadline)
                deadline.expire()
        if self._running:
            self._ring_at(max(min(one.at for one in self._running), now + GRACE_SECONDS))


class Deadline:
    """As `asyncio.timeout`: cancels the task in which it was entered, and makes a TimeoutError of that."""

    __slots__ = ("_before", "_deadlines", "_seconds", "_task", "at", "expired")

    def __init__(self, deadlines: Deadlines, seconds: float) -> None:
        self._deadlines = deadlines
        self._seconds = seconds
        self.expired = False

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None
        self._task, self._before = task, task.cancelling()
        self.at = asyncio.get_running_loop().time() + self._seconds
        self._deadlines.begin(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._deadlines.discard(self)
        cancelled = kind is not None and issubclass(kind, asyncio.CancelledError)
        if self.expired and self._task.uncancel() <= self._before and cancelled:
            raise TimeoutError from error

    def expire(self) -> None:
        """The time is over."""
        self.expired = True
        self._task.cancel()
