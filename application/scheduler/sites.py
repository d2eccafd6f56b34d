"""Who is called: the servers, and what waits for each of them."""

from __future__ import annotations

import heapq
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from application.scheduler.work import Job

# A quick site is kept busy for a quarter of a second by these while the next ones are claimed.
MOST_WAITING = 1_000
PACE_IS_KNOWN_AFTER = timedelta(seconds=1)


class Site:
    """One server: `calls` under way to it, `due` ones that only need room in all, and those held back.

    `waiting` counts all that are claimed and not sent: also those whose instant has not come, of which the
    `early` ones came long before it.
    """

    __slots__ = ("_made", "_pace", "_since", "calls", "due", "early", "held", "name", "waiting")

    def __init__(self, name: str) -> None:
        self.name = name
        self.calls = 0
        self.due = 0
        self.waiting = 0
        self.early = 0
        self.held: list[tuple[int, datetime, int, Job]] = []
        self._since: timedelta | None = None
        self._made = 0
        self._pace: float = MOST_WAITING

    @property
    def crowd(self) -> int:
        """How many wait that are in each other's way."""
        return self.waiting - self.early

    def hold(self, priority: int, instant: datetime, serial: int, job: Job) -> None:
        """Have an attempt wait until a call is over."""
        heapq.heappush(self.held, (priority, instant, serial, job))

    def release(self) -> Job:
        """The next one to send."""
        self._made += 1
        return heapq.heappop(self.held)[3]

    def withdraw(self, which: Callable[[Job], bool]) -> list[Job]:
        """Take out those that are held back and of which it holds."""
        withdrawn = [line[3] for line in sorted(self.held) if which(line[3])]
        if withdrawn:
            gone = set(withdrawn)
            self.held = [line for line in self.held if line[3] not in gone]
            heapq.heapify(self.held)
        return withdrawn

    def enough(self, now: timedelta) -> int:
        """How many may wait: what it took in a second when it was last full; at first, the most."""
        if not self.held:
            self._since = None
        elif self._since is None:
            self._since, self._made = now, 0
        elif (elapsed := now - self._since) >= PACE_IS_KNOWN_AFTER:
            self._pace = self._made / elapsed.total_seconds()
            self._since, self._made = now, 0
        return min(MOST_WAITING, int(self._pace))


def site_of(url: str) -> str:
    """What tells the server that a URL is about from others: scheme, host and port, in lower case.

    Who writes one server in two ways has two sites; the caller's own limit holds for both together.
    """
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0].partition('?')[0]}".lower()
