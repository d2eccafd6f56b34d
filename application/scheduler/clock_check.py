"""Whether this machine's wall clock may be trusted: compared with the database's, and watched for steps."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from application.ports import Clock

# The wall clock may run away from the steady one by this much between two beats; more is a step.
MAX_STEP = timedelta(seconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

log = logging.getLogger(__name__)


class ClockCheck:
    """Right until the database says otherwise; and not right after a step until the database has been asked.

    A scheduler whose clock has jumped ahead would call what is not due, and skip what it takes for missed.
    """

    def __init__(self, clock: Clock, tolerance: timedelta) -> None:
        self._clock = clock
        self._tolerance = tolerance
        self._agrees = True
        self._apart: timedelta | None = None
        self.offset = timedelta()
        """How far the wall clock was ahead of the database's when last compared."""

    def right(self) -> bool:
        """Whether to act by the wall clock now."""
        return self._agrees and not self._stepped()

    def compare(self, database: datetime, round_trip: timedelta) -> None:
        """Take the database's answer, just received, to the question what time it is.

        It was read at some moment of the round trip, so half of that is in doubt.
        """
        now = self._clock.now()
        self._apart = self._distance()
        self.offset = now - round_trip / 2 - database
        self._say(abs(self.offset) - round_trip / 2 <= self._tolerance)

    def _say(self, agrees: bool) -> None:  # noqa: FBT001
        if agrees and not self._agrees:
            log.warning("the clock of this machine is right again: this scheduler goes on claiming")
        if self._agrees and not agrees:
            log.error(
                "the clock of this machine is %.1f s %s the database's: this scheduler claims nothing until "
                "both agree; look after NTP here and there",
                abs(self.offset.total_seconds()),
                "ahead of" if self.offset > timedelta() else "behind",
            )
        self._agrees = agrees

    def _stepped(self) -> bool:
        return self._apart is not None and abs(self._distance() - self._apart) > MAX_STEP

    def _distance(self) -> timedelta:
        """From the steady clock to the wall's; only its changes mean something."""
        return self._clock.now() - _EPOCH - self._clock.steady()
