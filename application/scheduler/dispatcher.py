"""Who is sent next: claimed attempts wait for their instant, and for room at their host and among all."""

from __future__ import annotations

import asyncio
import heapq
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from application.scheduler.timing import NEAR

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from application.ports import Cancellable, Clock
    from application.scheduler.context import Job

# A quick host is kept busy for a quarter of a second by these while the next ones are claimed.
MOST_WAITING = 1_000
PACE_IS_KNOWN_AFTER = timedelta(seconds=1)


class TargetHost:
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


def target_host(url: str) -> str:
    """What tells the server that a URL is about from others: scheme, host and port, in lower case.

    Who writes one server in two ways has two hosts; the caller's own limit holds for both together.
    """
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0].partition('?')[0]}".lower()


# More that are held back take room from all: each is a job in memory. From half of it on no host gets more
# than it may call at a time.
MAX_HELD = 10_000


class ReadyAttempt(NamedTuple):
    """An attempt that only needs room among all calls, in the order in which they get it."""

    priority: int
    number: int
    host: TargetHost
    job: Job


class ScheduledAttempt(NamedTuple):
    """An attempt that is sent at its instant, in the order of these; `early`: it came long before."""

    send_at: datetime
    number: int
    host: TargetHost
    job: Job
    early: bool


class Dispatcher:
    """Claimed attempts until they are sent, and the calls under way to each host.

    Of those whose instant has come, the lowest priority number goes first, then the earliest instant. There
    are `in_all` calls at a time, and `per_host` to one host: what comes beyond these is held back, takes no
    room from others, and goes to the end of its priority when there is some.
    """

    def __init__(self, clock: Clock, per_host: int, in_all: int) -> None:
        self._clock = clock
        self._per_site = per_host
        self._in_all = in_all
        self._send: Callable[[ReadyAttempt], None] | None = None
        self._hosts: dict[str, TargetHost] = {}
        self._timed: list[ScheduledAttempt] = []
        self._early = 0
        self._serial = count()
        self._due: list[ReadyAttempt] = []
        self._held = 0
        self._withdrawn = 0
        self._under_way = 0
        self._watched: set[str] = set()
        self._told: list[Callable[[], None]] = []
        self._alarm: Cancellable | None = None
        self._congested = asyncio.Event()

    def add(self, job: Job) -> None:
        """Have an attempt sent at its instant, or as soon as there is room."""
        name = target_host(job.definition.action.url)
        host = self._hosts.get(name)
        if host is None:
            host = self._hosts[name] = TargetHost(name)
        early = job.send_at > self._clock.now() + NEAR
        host.waiting += 1
        if early:
            host.early += 1
            self._early += 1
        heapq.heappush(self._timed, ScheduledAttempt(job.send_at, next(self._serial), host, job, early))
        if self._timed[0].job is job:
            self._set_alarm()

    def waiting(self) -> int:
        """How many wait, but for the early and `MAX_HELD` of those that are held back."""
        return len(self._timed) - self._early + len(self._due) + max(0, self._held - MAX_HELD)

    def early(self) -> int:
        """How many wait for their instant and came long before it."""
        return self._early

    def held_back(self) -> int:
        """How many wait for room at their host."""
        return self._held

    def unsent(self) -> int:
        """How many wait in all."""
        return len(self._timed) + len(self._due) + self._held + self._withdrawn

    def under_way(self) -> int:
        """How many have been taken and are not over."""
        return self._under_way

    def room(self, name: str) -> int:
        """How many more attempts to a host are worth a claim."""
        host = self._hosts.get(name)
        return max(0, self._enough(host) - (host.crowd if host else 0))

    def early_room(self, name: str) -> int:
        """How many more early ones to a host are worth a claim."""
        host = self._hosts.get(name)
        return 2 * self._enough(host) - (host.early if host else 0)

    def has_drained(self, name: str) -> bool:
        """Whether half of what may wait for a host has gone."""
        host = self._hosts.get(name)
        return host is None or host.crowd <= self._enough(host) // 2

    def watch(self, name: str) -> None:
        """Tell the listeners once a host has drained."""
        self._watched.add(name)

    def tell(self, listener: Callable[[], None]) -> None:
        """Have it called when a watched host has drained."""
        self._told.append(listener)

    def start(self, send: Callable[[ReadyAttempt], None]) -> None:
        """Have those sent whose turn has come. Each leaves its room to another when it is `finished`."""
        self._send = send
        self._send_due()

    def finished(self, ready: ReadyAttempt) -> None:
        """The call of what was taken is over."""
        host = ready.host
        self._under_way -= 1
        host.calls -= 1
        self._fill(host)
        self._forget(host)
        self._send_due()

    async def congested(self) -> None:
        """Return when some wait although their instant has come."""
        if not (self._due or self._held):
            self._congested.clear()
        await self._congested.wait()

    def withdraw(self, which: Callable[[Job], bool]) -> list[tuple[TargetHost, Job]]:
        """Take out those that wait, and of which it holds.

        They count as waiting for their host until they are `let_go`. Those that are added again keep their
        places in the line of those that are due.
        """
        withdrawn = self._withdraw_timed(which)
        if self._due or self._held:
            withdrawn += self._withdraw_due(which)
        self._withdrawn += len(withdrawn)
        return withdrawn

    def let_go(self, host: TargetHost) -> None:
        """One that was withdrawn from a host has been added again, or is over."""
        self._withdrawn -= 1
        self._leave(host)
        self._forget(host)

    def close(self) -> None:
        """Nothing is sent any more."""
        self._send = None
        if self._alarm is not None:
            self._alarm.cancel()

    def _withdraw_timed(self, which: Callable[[Job], bool]) -> list[tuple[TargetHost, Job]]:
        gone = [line for line in self._timed if which(line.job)]
        if gone:
            left = {line.number for line in gone}
            self._timed = [line for line in self._timed if line.number not in left]
            heapq.heapify(self._timed)
        for line in gone:
            self._comes(line)
        return [(line.host, line.job) for line in gone]

    def _withdraw_due(self, which: Callable[[Job], bool]) -> list[tuple[TargetHost, Job]]:
        withdrawn = [(ready.host, ready.job) for ready in self._due if which(ready.job)]
        gone = {job for _, job in withdrawn}
        self._due = [ready for ready in self._due if ready.job not in gone]
        heapq.heapify(self._due)
        for host, _ in withdrawn:
            host.due -= 1
        for host in self._hosts.values():
            held = host.withdraw(which)
            self._held -= len(held)
            withdrawn += [(host, job) for job in held]
            self._fill(host)
        return withdrawn

    def _comes(self, line: ScheduledAttempt) -> None:
        """It waits for its instant no more."""
        if line.early:
            line.host.early -= 1
            self._early -= 1

    def _send_due(self) -> None:
        while self._due and self._send is not None and self._under_way < self._in_all:
            self._send(self._next())

    def _next(self) -> ReadyAttempt:
        ready = heapq.heappop(self._due)
        ready.job.place = None
        host = ready.host
        host.due -= 1
        host.calls += 1
        self._under_way += 1
        self._leave(host)
        return ready

    def _leave(self, host: TargetHost) -> None:
        host.waiting -= 1
        if host.name in self._watched and self.has_drained(host.name):
            self._watched.discard(host.name)
            for listener in self._told:
                listener()

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._clock.call_at(self._timed[0].send_at, self._dispatch) if self._timed else None

    def _dispatch(self) -> None:
        now = self._clock.now()
        while self._timed and self._timed[0].send_at <= now:
            line = heapq.heappop(self._timed)
            self._comes(line)
            instant, serial, host, job, _ = line
            if host.calls + host.due < self._per_site:
                self._make_due(host, job)
            else:
                host.hold(job.definition.priority, instant, serial, job)
                self._held += 1
        self._alarm = None
        self._set_alarm()
        self._send_due()
        if self._due or self._held:
            self._congested.set()

    def _fill(self, host: TargetHost) -> None:
        while host.held and host.calls + host.due < self._per_site:
            self._held -= 1
            self._make_due(host, host.release())

    def _make_due(self, host: TargetHost, job: Job) -> None:
        host.due += 1
        if job.place is None:
            job.place = next(self._serial)
        heapq.heappush(self._due, ReadyAttempt(job.definition.priority, job.place, host, job))

    def _enough(self, host: TargetHost | None) -> int:
        if self._held > MAX_HELD // 2:
            return self._per_site
        return max(self._per_site, host.enough(self._clock.steady()) if host else MOST_WAITING)

    def _forget(self, host: TargetHost) -> None:
        if not (host.waiting or host.calls):
            self._hosts.pop(host.name, None)
