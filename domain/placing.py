"""Where the leaves of a sealed block belong in the log.

A leaf hash is over the position of its event, too. So an event with the very hash proves where a leaf
belongs; what a block says of positions is asked only where there is none.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from domain.sealing import SealedBlock
    from domain.verification import Leaf


def places_of(block: SealedBlock, after: int, last: int | None, events: Sequence[Leaf]) -> tuple[int, ...]:
    """The positions of a block's leaves, behind `after`; `last` is that of the last one, if it is signed.

    Where the block's own cannot be, because they do not increase, the lowest ones that can.
    """
    if tuple(hashed for _, hashed in events) == block.leaf_hashes:
        return tuple(position for position, _ in events)
    there = {hashed: position for position, hashed in events}
    places = [there.get(*leaf) for leaf in zip(block.leaf_hashes, block.positions, strict=True)]
    if last is not None and block.leaf_hashes[-1] not in there:
        places[-1] = last
    if all(before < behind for before, behind in pairwise([after, *places])):
        return tuple(places)
    lowest = []
    for hashed in block.leaf_hashes:
        after = there.get(hashed, after + 1)
        lowest.append(after)
    return (*lowest[:-1], places[-1] if last is not None else lowest[-1])


def from_block(block: SealedBlock, events: Sequence[Leaf]) -> Sequence[Leaf]:
    """The events of a block, behind those of others that are gone."""
    sealed = set(block.leaf_hashes)
    first = next((position for position, hashed in events if hashed in sealed), block.positions[0])
    return [event for event in events if event[0] >= min(first, block.positions[0])]


class Extent:
    """How far a block reaches that no signed head ends, as the events behind the one before are read.

    It reaches to the last event whose hash it has; behind that, as far as its own positions say, to as many
    as there are leaves behind the one of that event. So what it says of positions takes no event from another
    block, and no more than the length of a block is read in advance.
    """

    def __init__(self, block: SealedBlock, first: int | None = None) -> None:
        """`first`: blocks are gone before it, and events of theirs may lie before that position."""
        self._leaves = {hashed: place for place, hashed in enumerate(block.leaf_hashes, 1)}
        self._count = self._open = len(block.leaf_hashes)
        self._first, self._last = first, block.positions[-1]
        self._read = self._behind = 0
        self.events = 0
        """How many of those that were read belong to it, or lie before it."""

    def goes_on_behind(self, position: int, hashed: bytes) -> bool:
        """Take in the next event; whether those behind it may belong to the block as well."""
        self._read += 1
        place = self._leaves.get(hashed)
        if place is not None:
            self.events, self._behind, self._open = self._read, 0, self._count - place
            return self._open > 0
        if self._first is None or position >= self._first:
            self._behind += 1
            if self._behind <= self._open and position <= self._last:
                self.events = self._read
        return self._behind < self._count
