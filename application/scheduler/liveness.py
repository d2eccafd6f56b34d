"""Who is dead: judged by watching beats, never by comparing clocks of machines."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from application.ports import Beat

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
