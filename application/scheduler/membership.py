"""Whether this machine's wall clock may be trusted: compared with the database's, and watched for steps."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from uuid import UUID

    from application.ports import Beat, Clock, Nodes
    from application.scheduler.context import SchedulerNode

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
        self._isolated: timedelta | None = None
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
        self._isolated = self._distance()
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
        return self._isolated is not None and abs(self._distance() - self._isolated) > MAX_STEP

    def _distance(self) -> timedelta:
        """From the steady clock to the wall's; only its changes mean something."""
        return self._clock.now() - _EPOCH - self._clock.steady()


LOOK_EVERY = timedelta(milliseconds=500)
# Who is alone has no death to notice, and whoever comes knows of him.
ALONE_LOOK_EVERY = timedelta(seconds=1)
# However long a look was kept waiting, beats were watched for no more than this.
MAX_PASSED = timedelta(seconds=2)
# After an outage everybody has this long to record what its calls brought.
SETTLED_AFTER = timedelta(seconds=10)


class Liveness:
    """A node is dead when its beat has stood still for `expiry`, seen at the last look before that is over.

    The time in which the database did not answer does not count: nobody could beat then, or record what its
    calls brought. Instants are those of a steady clock: how long ago something was, whatever the wall says.
    """

    def __init__(self, expiry: timedelta) -> None:
        self._expiry = expiry
        self._seen: dict[str, tuple[datetime, timedelta]] = {}
        self._last_look: timedelta | None = None
        self._watched_since: timedelta | None = None

    def look(self, beats: Mapping[str, Beat], now: timedelta) -> None:
        """Compare the beats with those of the last look, at most a few seconds ago."""
        passed = timedelta() if self._last_look is None else min(now - self._last_look, MAX_PASSED)
        self._last_look = now
        self._watched_since = now if self._watched_since is None else self._watched_since
        self._seen = {node: (beat.at, self._still(node, beat, passed)) for node, beat in beats.items()}

    def lose_sight(self) -> None:
        """The database does not answer."""
        self._watched_since = None

    def dead(self, node: str) -> bool:
        """Whether a node has left or stopped beating."""
        return node not in self._seen or self._seen[node][1] > self._expiry - LOOK_EVERY

    def silent(self, node: str) -> bool:
        """Whether to count on a node no longer, though it may live: half of its time is over."""
        return node not in self._seen or self._seen[node][1] >= self._expiry / 2

    def settled(self, now: timedelta) -> bool:
        """Whether the database has answered for so long that leases which ended meanwhile are abandoned."""
        return self._watched_since is not None and now - self._watched_since >= SETTLED_AFTER

    def _still(self, node: str, beat: Beat, passed: timedelta) -> timedelta:
        if node not in self._seen:
            # Old from the start: a dead one, or one that the end of an outage has not let beat yet.
            return min(beat.age, self._expiry / 2)
        before, still = self._seen[node]
        return still + passed if before == beat.at else min(max(beat.age, timedelta()), passed)


def rank(name: str, others: Iterable[str], subject: UUID) -> int:
    """How many of the others come before this name for a subject: 0 makes it the owner."""
    own = _weight(name, subject)
    return sum(_weight(other, subject) > own for other in others)


def _weight(name: str, subject: UUID) -> tuple[bytes, str]:
    # The subject's sixteen bytes come last, so that no two pairs are the same text.
    return blake2b(name.encode() + subject.bytes, digest_size=8).digest(), name


# What its owner has not begun after this long is for the next in order, and so on: a node that hangs while it
# beats silences nothing. Less than the expiry of a node, so that a death delays nothing by more than this.
TAKEOVER_DELAY = timedelta(seconds=5)
NEXT_IN_ORDER = timedelta(seconds=1)


class Members:
    """The live schedulers that claim, this one among them while it may.

    Nothing depends on all having the same view: the log refuses the second claim.
    """

    def __init__(self, node: SchedulerNode, clock: Clock) -> None:
        self._name = node.name
        self._clock = clock
        self._others: frozenset[str] = frozenset()
        self._dead: frozenset[str] = frozenset()
        self._alone = False
        self._told: list[Callable[[], None]] = []
        self._looking = asyncio.Lock()
        self._leaving = False
        self._loaded = False
        self.liveness = Liveness(node.expiry)
        self.clock_check = ClockCheck(clock, node.max_clock_offset)

    def tell(self, changed: Callable[[], None]) -> None:
        """Call this whenever something may have a new owner, or has lost its own."""
        self._told.append(changed)

    async def look(self, nodes: Nodes) -> None:
        """Read who is alive. Raises `LogUnavailable`."""
        async with self._looking:  # an older answer never comes after a newer one
            beats = await nodes.beats()
            self.liveness.look(beats, self._clock.steady())
        sharing = frozenset(
            name
            for name, beat in beats.items()
            if beat.claims and name != self._name and not self.liveness.silent(name)
        )
        dead = frozenset(filter(self.liveness.dead, beats))
        self._alone = beats.keys() - dead <= {self._name}
        if (sharing, dead) != (self._others, self._dead):
            self._others, self._dead = sharing, dead
            self._changed()

    def alone(self) -> bool:
        """Whether no other node was alive at the last look, be it that it claims or not."""
        return self._alone

    def loaded(self) -> None:
        """This node knows what is due: from now on it takes its share."""
        self._loaded = True
        self._changed()

    def leave(self) -> None:
        """This node claims nothing more."""
        self._leaving = True
        self._changed()

    def claims(self) -> bool:
        """Whether others should leave this node's share to it."""
        return self._loaded and self.able()

    def able(self) -> bool:
        """Whether this node may claim now: it is not leaving, and its clock is right."""
        return not self._leaving and self.clock_check.right()

    def takeover_delay(self, subject: UUID) -> timedelta:
        """How long to leave a task or execution to others: nothing for its owner, longer for later ones.

        Who has not loaded yet comes after all others.
        """
        if not self._others:
            return timedelta()
        place = rank(self._name, self._others, subject) if self._loaded else len(self._others)
        return TAKEOVER_DELAY + (place - 1) * NEXT_IN_ORDER if place else timedelta()

    def share(self, subjects: Iterable[UUID]) -> float:
        """The part of the subjects that this node owns, 0 to 1; of none at all: an equal part."""
        if not self.claims():
            return 0.0
        owned = [not self.takeover_delay(subject) for subject in subjects]
        return sum(owned) / len(owned) if owned else 1 / (1 + len(self._others))

    def _changed(self) -> None:
        for tell in self._told:
            tell()
