"""Who is sent next: claimed attempts wait for their instant, for room at their host, and for a slot."""

from __future__ import annotations

import asyncio
import heapq
import logging
from bisect import insort
from datetime import timedelta
from errno import EADDRNOTAVAIL, EMFILE, ENFILE
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from application.scheduler.timing import NEAR

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from application.ports import Cancellable, Clock, ResourcesExhausted
    from application.scheduler.jobs import Job

# How often a limit that was lowered is raised, in how many steps from nothing to all, and how long it rests.
RAISE_EVERY = timedelta(milliseconds=100)
STEPS = 300
LONGEST_REST = 10
# Steps without a lack after which a limit that is whole again counts as never lowered.
QUIET = 30
# Of the calls for which there was room, when there was none for one more.
KEPT_PART = 0.9
ADVICE = {
    EMFILE: "; raise this process' limit of open files (ulimit -n, LimitNOFILE) or lower MAX_CONCURRENCY",
    ENFILE: "; raise this machine's limit of open files (fs.file-max) or lower MAX_CONCURRENCY",
    EADDRNOTAVAIL: "; its connections have taken all local ports (net.ipv4.ip_local_port_range)",
}

log = logging.getLogger(__name__)


class ConcurrencyLimit:
    """At most `most` calls at a time; fewer, `now`, for a while after this machine had no room for as many.

    Additive increase, multiplicative decrease: nine tenths of the calls under way are kept; after a rest of
    0.1 s, and up to 1 s when it happens again, the limit rises to the `most` within half a minute.
    """

    __slots__ = ("_pause", "_quiet", "_rest", "most", "now")

    def __init__(self, most: int) -> None:
        self.most = most
        self.now: float = most
        self._rest = self._quiet = 0
        self._pause = 1

    def lower(self, under_way: int) -> None:
        """There was room for the calls under way, and for no other."""
        self.now = min(self.now, under_way * KEPT_PART)
        self._quiet = 0
        if not self._rest:
            self._rest, self._pause = self._pause, min(2 * self._pause, LONGEST_REST)

    def rise(self) -> bool:
        """Go one step up, to one call at least, unless it rests; True: it is whole, and has been of use."""
        self._quiet += 1
        if self._rest:
            self._rest -= 1
        if not self._rest:
            self.now = min(self.most, max(1, self.now + self.most / STEPS))
        if self.now < self.most or self._quiet < QUIET:
            return False
        self._pause = 1
        return True


# A quick host is kept busy for a quarter of a second by these while the next ones are claimed.
MOST_WAITING = 1_000
PACE_IS_KNOWN_AFTER = timedelta(seconds=1)


class TargetHost:
    """One server: `calls` under way to it, their `limit`, and those that wait.

    `held` are those whose instant has come. `waiting` counts all that are claimed and not sent: also those
    whose instant has not come, of which the `early` ones came long before it.
    `turn` orders hosts that have as many calls under way; `line` is the host's place among those that may be
    sent to.
    """

    __slots__ = (
        "_made",
        "_pace",
        "_since",
        "calls",
        "early",
        "held",
        "limit",
        "line",
        "name",
        "turn",
        "waiting",
    )

    def __init__(self, name: str, per_host: int) -> None:
        self.name = name
        self.limit = ConcurrencyLimit(per_host)
        self.calls = 0
        self.waiting = 0
        self.early = 0
        self.held: list[HeldAttempt] = []
        self.turn = 0
        self.line: HostLine | None = None
        self._since: timedelta | None = None
        self._made = 0
        self._pace: float = MOST_WAITING

    @property
    def crowd(self) -> int:
        """How many wait that are in each other's way."""
        return self.waiting - self.early

    def release(self) -> Job:
        """The next one to send."""
        self._made += 1
        return heapq.heappop(self.held).job

    def withdraw(self, which: Callable[[Job], bool]) -> list[Job]:
        """Take out those of the held ones for which it holds."""
        withdrawn = [each.job for each in sorted(self.held) if which(each.job)]
        if withdrawn:
            gone = set(withdrawn)
            self.held = [each for each in self.held if each.job not in gone]
            heapq.heapify(self.held)
        return withdrawn

    def enough(self, now: timedelta) -> int:
        """How many may wait: what it took in a second when some were last held; at first, the most."""
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


# More that are held take room from all: each is a job in memory. From half of it on no host gets more than
# it may call at a time, or its share of all calls.
MAX_HELD = 10_000
# This part of the slots goes only to hosts with fewer calls than slots are free.
RESERVED_PART = 10
# Lines that have been replaced stay in their heaps until they surface, or until there are as many as these.
MANY_LINES = 64


class HeldAttempt(NamedTuple):
    """An attempt whose instant has come, in the order in which its host gets them."""

    priority: int
    send_at: datetime
    number: int
    job: Job


class HostLine(NamedTuple):
    """A host with attempts that may be sent, among those whose first one has the same priority."""

    calls: int
    turn: int
    number: int
    host: TargetHost


class ReadyAttempt(NamedTuple):
    """An attempt that has a slot."""

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

    There are `in_all` slots, and `per_host` calls at a time to one host. Of the attempts whose instant has
    come, those of the lowest priority number get slots first, then those to the host with the fewest calls.
    The last tenth of the slots goes to the host with the fewest calls, and only while it has fewer than slots
    are free: so however many slow hosts there are, another one finds a slot.
    What has to wait for a slot, or for room at its host, takes no room from others.
    """

    def __init__(self, clock: Clock, per_host: int, in_all: int) -> None:
        self._clock = clock
        self._per_host = per_host
        self._limit = ConcurrencyLimit(in_all)
        self._lowered: dict[ConcurrencyLimit, TargetHost | None] = {}
        self._send: Callable[[ReadyAttempt], None] | None = None
        self._hosts: dict[str, TargetHost] = {}
        self._timed: list[ScheduledAttempt] = []
        self._early = 0
        self._serial = count()
        self._lines: dict[int, list[HostLine]] = {}
        self._priorities: list[int] = []
        self._held = 0
        self._withdrawn = 0
        self._under_way = 0
        self._watched: set[str] = set()
        self._told: list[Callable[[], None]] = []
        self._alarm: Cancellable | None = None
        self._recovery: Cancellable | None = None
        self._congested = asyncio.Event()

    def add(self, job: Job) -> None:
        """Have an attempt sent at its instant, or as soon as there is room."""
        name = target_host(job.definition.action.url)
        host = self._hosts.get(name)
        if host is None:
            host = self._hosts[name] = TargetHost(name, self._per_host)
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
        return len(self._timed) - self._early + max(0, self._held - MAX_HELD)

    def early(self) -> int:
        """How many wait for their instant and came long before it."""
        return self._early

    def held_back(self) -> int:
        """How many wait for a slot, or for room at their host."""
        return self._held

    def unsent(self) -> int:
        """How many wait in all."""
        return len(self._timed) + self._held + self._withdrawn

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
        self._line_up(host)
        self._forget(host)
        self._send_due()

    def send_again(self, ready: ReadyAttempt, error: ResourcesExhausted) -> None:
        """Have what could not be sent wait at its place, and fewer calls made for a while.

        Where a host has used up the ports to its address, fewer calls are made to that host alone.
        """
        host, job = ready.host, ready.job
        self._under_way -= 1
        host.calls -= 1
        if error.errno == EADDRNOTAVAIL:
            self._lower(host.limit, host.calls, error, host)
        else:
            self._lower(self._limit, self._under_way, error, None)
        host.waiting += 1
        self._hold(ScheduledAttempt(job.send_at, next(self._serial), host, job, early=False))
        self._line_up(host)
        self._congested.set()
        self._send_due()

    async def congested(self) -> None:
        """Return when some wait although their instant has come."""
        if not self._held:
            self._congested.clear()
        await self._congested.wait()

    def withdraw(self, which: Callable[[Job], bool]) -> list[tuple[TargetHost, Job]]:
        """Take out those that wait, and of which it holds.

        They count as waiting for their host until they are `let_go`. Those that are added again keep their
        places, for these follow from their instants.
        """
        withdrawn = self._withdraw_timed(which)
        if self._held:
            withdrawn += self._withdraw_held(which)
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
        for alarm in (self._alarm, self._recovery):
            if alarm is not None:
                alarm.cancel()

    def _lower(
        self, limit: ConcurrencyLimit, under_way: int, error: ResourcesExhausted, host: TargetHost | None
    ) -> None:
        if limit not in self._lowered:
            log.warning(
                "there is no room for more calls%s: %s; others wait until there is%s",
                f" to {host.name}" if host else "",
                error,
                ADVICE.get(error.errno, ""),
            )
            self._lowered[limit] = host
        limit.lower(under_way)
        if self._recovery is None:
            self._recover_later()

    def _recover_later(self) -> None:
        self._recovery = self._clock.call_at(self._clock.now() + RAISE_EVERY, self._recover)

    def _recover(self) -> None:
        self._recovery = None
        for limit, host in list(self._lowered.items()):
            if limit.rise():
                del self._lowered[limit]
                log.info("there is room for all calls%s again", f" to {host.name}" if host else "")
            if host is not None:
                self._line_up(host)
        if self._lowered:
            self._recover_later()
        self._send_due()

    def _withdraw_timed(self, which: Callable[[Job], bool]) -> list[tuple[TargetHost, Job]]:
        gone = [line for line in self._timed if which(line.job)]
        if gone:
            left = {line.number for line in gone}
            self._timed = [line for line in self._timed if line.number not in left]
            heapq.heapify(self._timed)
        for line in gone:
            self._comes(line)
        return [(line.host, line.job) for line in gone]

    def _withdraw_held(self, which: Callable[[Job], bool]) -> list[tuple[TargetHost, Job]]:
        withdrawn: list[tuple[TargetHost, Job]] = []
        for host in self._hosts.values():
            if jobs := host.withdraw(which):
                self._held -= len(jobs)
                withdrawn += [(host, job) for job in jobs]
                self._line_up(host)
        return withdrawn

    def _comes(self, line: ScheduledAttempt) -> None:
        """It waits for its instant no more."""
        if line.early:
            line.host.early -= 1
            self._early -= 1

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._clock.call_at(self._timed[0].send_at, self._dispatch) if self._timed else None

    def _dispatch(self) -> None:
        now = self._clock.now()
        while self._timed and self._timed[0].send_at <= now:
            line = heapq.heappop(self._timed)
            self._comes(line)
            self._hold(line)
        self._alarm = None
        self._set_alarm()
        self._send_due()
        if self._held:
            self._congested.set()

    def _hold(self, line: ScheduledAttempt) -> None:
        instant, serial, host, job, _ = line
        priority = job.definition.priority
        if not host.held:
            host.turn = serial
        first = not host.held or priority < host.held[0].priority
        heapq.heappush(host.held, HeldAttempt(priority, instant, serial, job))
        self._held += 1
        if first:
            self._line_up(host)

    def _line_up(self, host: TargetHost) -> None:
        """Put a host into the line in which it belongs by now, if it may be sent to."""
        host.line = None
        if not host.held or host.calls + 1 > host.limit.now:
            return
        priority = host.held[0].priority
        lines = self._lines.get(priority)
        if lines is None:
            lines = self._lines[priority] = []
            insort(self._priorities, priority)
        elif len(lines) > MANY_LINES + 2 * len(self._hosts):
            lines[:] = [line for line in lines if line is line.host.line]
            heapq.heapify(lines)
        host.line = HostLine(host.calls, host.turn, next(self._serial), host)
        heapq.heappush(lines, host.line)

    def _send_due(self) -> None:
        while self._send is not None and (host := self._next_host()) is not None:
            self._send(self._take(host))

    def _next_host(self) -> TargetHost | None:
        """The host that gets the next slot; None: nothing may be sent now."""
        free = int(self._limit.now) - self._under_way
        if not self._held or free <= 0:
            return None
        scarce = free <= int(self._limit.now) // RESERVED_PART
        best: HostLine | None = None
        for priority in self._priorities:
            lines = self._lines[priority]
            while lines and lines[0] is not lines[0].host.line:
                heapq.heappop(lines)
            if lines and not scarce:
                return lines[0].host
            if lines and (best is None or lines[0].calls < best.calls):
                best = lines[0]
        return best.host if best is not None and best.calls < free else None

    def _take(self, host: TargetHost) -> ReadyAttempt:
        job = host.release()
        host.calls += 1
        host.turn = next(self._serial)
        self._held -= 1
        self._under_way += 1
        self._line_up(host)
        self._leave(host)
        return ReadyAttempt(host, job)

    def _leave(self, host: TargetHost) -> None:
        host.waiting -= 1
        if host.name in self._watched and self.has_drained(host.name):
            self._watched.discard(host.name)
            for listener in self._told:
                listener()

    def _enough(self, host: TargetHost | None) -> int:
        if self._held > MAX_HELD // 2:
            return max(1, min(self._per_host, self._limit.most // (len(self._hosts) + 1)))
        return max(self._per_host, host.enough(self._clock.steady()) if host else MOST_WAITING)

    def _forget(self, host: TargetHost) -> None:
        if not (host.waiting or host.calls):
            self._hosts.pop(host.name, None)
