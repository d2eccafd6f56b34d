"""Who shares the work now, and whose turn it is: the owner's at once, the others' when it does nothing."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from application.scheduler.clock_check import ClockCheck
from application.scheduler.liveness import Liveness
from domain.rendezvous import rank

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from uuid import UUID

    from application.ports import Clock, Nodes
    from application.scheduler.node import Node

# What its owner has not begun after this long is for the next in order, and so on: a node that hangs while it
# beats silences nothing. Less than the expiry of a node, so that a death delays nothing by more than this.
PATIENCE = timedelta(seconds=5)
NEXT_IN_ORDER = timedelta(seconds=1)


class Members:
    """The live schedulers that claim, this one among them while it may.

    Nothing depends on all having the same view: the log refuses the second claim.
    """

    def __init__(self, node: Node, clock: Clock) -> None:
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

    def patience(self, subject: UUID) -> timedelta:
        """How long to leave a task or execution to others: nothing for its owner, longer for later ones.

        Who has not loaded yet comes after all others.
        """
        if not self._others:
            return timedelta()
        place = rank(self._name, self._others, subject) if self._loaded else len(self._others)
        return PATIENCE + (place - 1) * NEXT_IN_ORDER if place else timedelta()

    def share(self, subjects: Iterable[UUID]) -> float:
        """The part of the subjects that this node owns, 0 to 1; of none at all: an equal part."""
        if not self.claims():
            return 0.0
        owned = [not self.patience(subject) for subject in subjects]
        return sum(owned) / len(owned) if owned else 1 / (1 + len(self._others))

    def _changed(self) -> None:
        for tell in self._told:
            tell()
