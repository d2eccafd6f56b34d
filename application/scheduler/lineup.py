"""Who is sent next: claimed attempts wait for their instant, for room at their site, for a free worker."""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from application.ports import Cancellable, Clock
    from application.scheduler.work import Job

# More that are held back take room from all: each is a job in memory, and a lease that grows old.
MAX_HELD = 10_000
# All full sites together need no more: it is worked off in a quarter of a second where they are quick.
ENOUGH_HELD = 1_000


class Turn(NamedTuple):
    """A claimed attempt whose instant has come, in the order in which these are sent."""

    priority: int
    instant: datetime
    serial: int
    site: str
    job: Job


class Lineup:
    """Claimed attempts until they are sent, and how many calls are under way to each site.

    Of those whose instant has come, the lowest priority number goes first, then the earliest instant. One
    whose site has `per_site` calls under way is held back, and takes no worker and no room from others.
    When enough waits for a site it is crowded, until half of that has been taken.
    """

    def __init__(self, clock: Clock, per_site: int) -> None:
        self._clock = clock
        self._per_site = per_site
        self._told: list[Callable[[], None]] = []
        self._timed: list[tuple[datetime, int, str, Job]] = []
        self._serial = count()
        self._due: list[Turn] = []
        self._held: dict[str, list[Turn]] = {}
        self._held_in_all = 0
        self._waiting: Counter[str] = Counter()
        self._crowded: set[str] = set()
        self._calls: dict[str, int] = {}
        # The last one to become free goes first: what it works on is still in the processor's cache.
        self._free: list[asyncio.Future[Turn]] = []
        self._alarm: Cancellable | None = None

    def add(self, job: Job) -> None:
        """Have an attempt sent at its instant, or as soon as there is room."""
        site = site_of(job.definition.action.url)
        self._waiting[site] += 1
        heapq.heappush(self._timed, (job.send_at, next(self._serial), site, job))
        if self._timed[0][3] is job:
            self._set_alarm()

    def waiting(self) -> int:
        """How many wait, but for those that are held back: of these only what is more than `MAX_HELD`."""
        return len(self._timed) + len(self._due) + max(0, self._held_in_all - MAX_HELD)

    def held(self) -> int:
        """How many are held back."""
        return self._held_in_all

    def tell(self, listener: Callable[[], None]) -> None:
        """Have it called when a crowded site has room again."""
        self._told.append(listener)

    def room(self, site: str) -> int:
        """How many more attempts to a site are worth a claim."""
        if site in self._crowded:
            return 0
        room = self._enough() - self._waiting.get(site, 0)
        if room <= 0:
            self._crowded.add(site)
        return max(0, room)

    async def take(self) -> Turn:
        """The next one to send, when there is one. Its site has room again once it is `over`."""
        if turn := self._next():
            return turn
        free: asyncio.Future[Turn] = asyncio.get_running_loop().create_future()
        self._free.append(free)
        return await free

    def over(self, turn: Turn) -> None:
        """The call of what was taken is over."""
        site = turn.site
        self._calls[site] -= 1
        if not self._calls[site]:
            del self._calls[site]
        if held := self._held.get(site):
            heapq.heappush(self._due, heapq.heappop(held))
            self._held_in_all -= 1
            if not held:
                del self._held[site]

    def close(self) -> None:
        """Wake nobody any more."""
        self._free.clear()
        if self._alarm is not None:
            self._alarm.cancel()

    def _enough(self) -> int:
        return max(self._per_site, ENOUGH_HELD // max(1, len(self._held)))

    def _next(self) -> Turn | None:
        while self._due:
            turn = heapq.heappop(self._due)
            calls = self._calls.get(turn.site, 0)
            if calls < self._per_site:
                self._calls[turn.site] = calls + 1
                self._taken(turn.site)
                return turn
            heapq.heappush(self._held.setdefault(turn.site, []), turn)
            self._held_in_all += 1
        return None

    def _taken(self, site: str) -> None:
        self._waiting[site] = left = self._waiting[site] - 1
        if site in self._crowded and left <= self._enough() // 2:
            self._crowded.discard(site)
            for listener in self._told:
                listener()
        if not left:
            del self._waiting[site]

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._clock.call_at(self._timed[0][0], self._dispatch) if self._timed else None

    def _dispatch(self) -> None:
        now = self._clock.now()
        while self._timed and self._timed[0][0] <= now:
            instant, serial, site, job = heapq.heappop(self._timed)
            heapq.heappush(self._due, Turn(job.definition.priority, instant, serial, site, job))
        self._alarm = None
        self._set_alarm()
        while self._free and (turn := self._next()):
            self._free.pop().set_result(turn)


def site_of(url: str) -> str:
    """What tells the server that a URL is about from others: scheme, host and port as they are written.

    Who writes one server in two ways has two sites; the caller's own limit holds for both together.
    """
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0].partition('?')[0].lower()}"
