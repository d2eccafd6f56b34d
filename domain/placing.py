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
