"""Keeping trouble with one task apart from all the others."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from application.ports import LogUnavailable, Unreadable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from uuid import UUID

    from application.ports import Clock

log = logging.getLogger(__name__)

_ZERO = datetime(1970, 1, 1, tzinfo=UTC)


async def isolate_errors(
    what: str, subject: UUID, work: Awaitable[object], failed: Callable[[str], None] | None = None
) -> bool:
    """Whether the work on one task or execution went well; what was unexpected is logged and counted.

    `failed` is told of `what`, as it is logged. An outage concerns all of them: its `LogUnavailable` goes
    through.
    """
    try:
        await work
    except Unreadable as error:
        log.error("%s %s: %s", what, subject, error)  # noqa: TRY400  # the sentence says it all
    except LogUnavailable:
        raise
    except Exception:
        log.exception("%s %s", what, subject)
    else:
        return True
    if failed is not None:
        failed(what)
    return False


FIRST_RETRY, LAST_RETRY = timedelta(seconds=1), timedelta(seconds=60)


def retry_pause(errors: int) -> timedelta:
    """How long to wait after an error that nobody expected, `errors` before it: 1 s, 2 s, 4 s … 60 s."""
    return min(FIRST_RETRY * (1 << min(errors, 10)), LAST_RETRY)


# The wall clock and the steady one drift apart by less than this, unless somebody sets the wall clock.
JUMP = timedelta(seconds=1)


class ClockWatch:
    """Notices a wall clock that has been set: it no longer goes with the steady one.

    The steady clock stands still while a machine sleeps, so waking up is such a jump as well.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._difference = clock.now() - _ZERO - clock.steady()

    def jumped(self) -> timedelta | None:
        """How far the wall clock was set since the last look: forwards is positive; None: it was not."""
        difference = self._clock.now() - _ZERO - self._clock.steady()
        jump, self._difference = difference - self._difference, difference
        return jump if abs(jump) >= JUMP else None


LEAST = timedelta(milliseconds=500)
MOST = timedelta(seconds=1)
# What is due within this can wait no longer: it is claimed, whatever else there is to claim.
NEAR = timedelta(milliseconds=100)
# An append costs much however little it holds; a large one keeps calls waiting while it is put together.
LONGEST_STEP, SHORTEST_STEP = timedelta(milliseconds=75), timedelta(milliseconds=25)
FEW, MANY = 40, 100
# The next slow moment may be a longer one.
MARGIN = 1.5
# The slowest answer counts for so long at least, and for twice as long at most.
REMEMBERED = timedelta(minutes=5)


class ClaimAheadWindow:
    """`ahead`: one and a half times the slowest answer of the last minutes, half a second to a second.

    `step`: what is due within this is claimed in one append.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since = clock.steady()
        self._slowest = self._slowest_before = timedelta()
        self._told: list[Callable[[], None]] = []
        self.ahead = LEAST
        self.step = LONGEST_STEP

    def tell(self, changed: Callable[[], None]) -> None:
        """Call this whenever it changes."""
        self._told.append(changed)

    def begins(self, due_at: datetime) -> datetime:
        """When the step begins that what is due at an instant is the first of."""
        return due_at - self.ahead + self.step

    def stepped(self, claims: int) -> None:
        """One step has been claimed: the next is shorter if that was much, and longer if it was little."""
        if claims > MANY:
            self.step = max(SHORTEST_STEP, self.step / 2)
        elif 0 < claims < FEW:
            self.step = min(LONGEST_STEP, self.step * 2)

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


OUTAGE_PAUSE = timedelta(milliseconds=500)
# Soon enough to go on when the clock is right again.
UNABLE_PAUSE = timedelta(milliseconds=100)


async def race(*waits: Awaitable[object]) -> None:
    """Return once one of them returns, and cancel the others; an exception of the first goes through."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
    for task in done:
        task.result()


async def shield_until_done[T](work: Awaitable[T]) -> T:
    """Await it; when cancelled meanwhile, let it end before that. A second cancellation reaches it too.

    A claim that is broken off on its way to the log may be stored all the same, and nobody would send it.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        try:
            await asyncio.wait([task])
        finally:
            task.cancel()
        raise


async def retry_on_outage[T](clock: Clock, read: Callable[[], Awaitable[T]]) -> T:
    """Read, and again twice a second through an outage. Raises `Unreadable`."""
    while True:
        try:
            return await read()
        except Unreadable:
            raise
        except LogUnavailable:
            await clock.pause(OUTAGE_PAUSE)
