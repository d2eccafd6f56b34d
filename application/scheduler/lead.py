"""How far ahead claims are made: so far that the slow moments of the log make no call late."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from application.ports import Clock

LEAST = timedelta(milliseconds=100)
MOST = timedelta(milliseconds=750)
# The next slow moment may be a longer one.
MARGIN = 1.5
# The slowest answer counts for so long at least, and for twice as long at most.
REMEMBERED = timedelta(minutes=5)


class Lead:
    """One and a half times the slowest answer of the last minutes, 100 to 750 ms."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since = clock.steady()
        self._slowest = self._slowest_before = timedelta()
        self._told: list[Callable[[], None]] = []
        self.ahead = LEAST

    def tell(self, changed: Callable[[], None]) -> None:
        """Call this whenever it changes."""
        self._told.append(changed)

    def took(self, since: timedelta) -> None:
        """The log was asked at a moment of the steady clock, and has answered, or not been able to, now."""
        now = self._clock.steady()
        if now - self._since >= REMEMBERED:
            self._since, self._slowest_before, self._slowest = now, self._slowest, timedelta()
        self._slowest = max(self._slowest, now - since)
        ahead = min(MOST, max(LEAST, MARGIN * max(self._slowest, self._slowest_before)))
        if ahead != self.ahead:
            self.ahead = ahead
            for changed in self._told:
                changed()
