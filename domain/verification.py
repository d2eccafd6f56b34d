"""Comparing a log with what was sealed of it, block by block: what was changed, and where."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from domain.merkle import Tree, fold
from domain.placing import Extent, from_block, places_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from domain.merkle import Subtree
    from domain.rewriting import RewrittenEvent
    from domain.sealing import SealedBlock, SignedHead, TreeHead

    type Leaf = tuple[int, bytes]
    """A position, and the leaf hash of the event there."""

NODE_LEVEL = 12
"""Perfect subtrees of this level and above are stored; a sealed block lies within one of this level."""

type Kind = Literal[
    "event_changed", "event_removed", "event_inserted", "block_changed", "head_changed", "node_changed"
]


class Finding(Struct, frozen=True):
    """Something that is not as it was sealed, about the events from a position up to another one.

    `event_changed`, `event_removed` and `event_inserted` are about the log; the others about what is stored
    to prove it: a sealed block, a signed head, a node of the tree.
    """

    kind: Kind
    position: int
    until: int
    detail: str


def not_by_a_redaction(event: RewrittenEvent) -> Finding:
    """An event says that it was redacted, and no redaction that the log tells of leads to what is there."""
    detail = "it says that it was redacted, and no redaction in the log leads to what stands there now"
    return Finding("event_changed", event.position, event.position, detail)


def signed_by_none(keys: int, first: int, last: int) -> Finding:
    """No head, of those that end at these positions and between, is signed by one of so many pinned keys."""
    key, asked = "any of the keys", "is one of them the right one?"
    if keys == 1:
        key, asked = "the key", "is it the right one?"
    return Finding("head_changed", first, last, f"no head is signed by {key} to verify with: {asked}")


class Verifier:
    """Is given the blocks in order, each with the events from behind the one before up to its end.

    That is where its head says (`until`), or as far as it reaches by itself (`extent`).

    The tree is grown from what was sealed. Where that does not lead to the signed root, it is tried with what
    is there: that tells whether an event or its seal was changed. Failing both, the next block goes on from
    the block's own frontier, if that has the signed root.
    """

    def __init__(
        self, flaw: Callable[[SignedHead], str | None], witnessed: Iterable[SignedHead] = ()
    ) -> None:
        """`flaw` tells what is wrong with a signature; `witnessed` are heads that were kept elsewhere."""
        self._flaw = lru_cache(maxsize=1)(flaw)
        self._witnessed = sorted(witnessed, key=lambda signed: signed.head.tree_size)
        self._witnessed_to = 0
        self._tree: Tree | None = Tree()
        self.nodes: dict[Subtree, bytes] = {}
        """The stored subtrees as they should be; whoever has compared them may clear it."""
        self.size = 0
        self.last_position = 0
        """The last one that a signed head or an event itself vouches for."""
        self._doubted: int | None = None
        """The first position of the blocks right before that no signed root vouches for."""

    def until(self, signed: SignedHead | None) -> int | None:
        """The last position of the block that a head ends; None: no signature says so."""
        return None if signed is None or self._flaw(signed) else signed.head.last_position

    def extent(self, block: SealedBlock) -> Extent:
        """Tells how far the next block reaches, where no signature does."""
        return Extent(block, block.positions[0] if block.first_leaf != self.size else None)

    def block(self, block: SealedBlock, signed: SignedHead | None, events: Sequence[Leaf]) -> list[Finding]:
        """What is found about a block, the head that it ends with, and its events."""
        found = []
        flaw = "is gone" if signed is None else self._flaw(signed)
        vouched = None if flaw or signed is None else signed.head
        if block.first_leaf != self.size:
            events = from_block(block, events)
            self._tree = None
        last = None if vouched is None else vouched.last_position
        places = places_of(block, self.last_position, last, events)
        if block.first_leaf != self.size:
            found.append(self._gap(block, places[0]))
        if vouched and vouched.last_position != places[-1]:
            flaw, vouched = f"tells of position {vouched.last_position:,} as its last", None
        if flaw:
            end = places[-1]
            found.append(Finding("head_changed", end, end, f"the head of {block.end:,} events {flaw}"))
        found += self._compared(block, places, None if vouched is None else vouched.root_hash, events)
        self._doubted = None if vouched else places[0] if self._doubted is None else self._doubted
        self.size = block.end
        self.last_position = self._reached(vouched, events)
        return found

    def _reached(self, vouched: TreeHead | None, events: Sequence[Leaf]) -> int:
        if vouched is not None:
            return vouched.last_position
        return max(self.last_position, events[-1][0]) if events else self.last_position

    def missing(self, signed: SignedHead | None) -> Finding:
        """A head without a block that ends with it, or a block that cannot be read."""
        first = self.last_position + 1
        if signed is None:
            return Finding("block_changed", first, first, "the sealed block behind cannot be read")
        size, last = signed.head.tree_size, signed.head.last_position
        detail = (
            f"the head of {size:,} events, up to position {last:,}, has no sealed block that ends with it"
        )
        return Finding("block_changed", min(first, last), last, detail)

    def ended(self) -> Iterator[Finding]:
        """What is found at the end: heads kept elsewhere that the log does not come up to."""
        for signed in self._witnessed:
            size, last = signed.head.tree_size, signed.head.last_position
            detail = f"a head kept elsewhere has {size:,} events, and {self.size:,} are sealed here"
            yield Finding("event_removed", min(self.last_position + 1, last), last, detail)

    def _gap(self, block: SealedBlock, first: int) -> Finding:
        detail = f"a sealed block begins at leaf {block.first_leaf:,}, where leaf {self.size:,} should be"
        return Finding("block_changed", min(self.last_position + 1, first), first, detail)

    def _compared(
        self, block: SealedBlock, places: Sequence[int], root: bytes | None, events: Sequence[Leaf]
    ) -> Iterator[Finding]:
        before, there = self._tree, tuple(leaf for _, leaf in events)
        if before is None:
            self._tree = _restored(block, root)
            yield from _differing_events(block, places, events)
            yield from _misplaced(block, places)
            yield from self._witness(block, None, ())
            return
        for leaves in (block.leaf_hashes, there):
            tree, nodes = before.grown(leaves, NODE_LEVEL)
            if _leads(tree, block, root):
                self._tree = tree
                self.nodes |= nodes
                if leaves is block.leaf_hashes:
                    yield from _differing_events(block, places, events)
                    yield from _misplaced(block, places)
                else:
                    yield from _differing_seals(block, events)
                    yield from _misplaced(block, [position for position, _ in events])
                if tree.frontier != block.frontier:
                    yield _of_block(block, places, "what it says of the tree was changed")
                break
        else:
            self._tree = _restored(block, root)
            yield from _differing_events(block, places, events)
            yield self._leading_nowhere(block, places)
        yield from self._witness(block, before, leaves)

    def _leading_nowhere(self, block: SealedBlock, places: Sequence[int]) -> Finding:
        if self._doubted is None:
            return _of_block(block, places, "it does not lead to its head: it was changed")
        what = "it does not lead to its head: it was changed, or those before it that have no head"
        return _of_block(block, (self._doubted, places[-1]), what)

    def _witness(self, block: SealedBlock, before: Tree | None, leaves: Sequence[bytes]) -> Iterator[Finding]:
        while self._witnessed and self._witnessed[0].head.tree_size <= block.end:
            signed = self._witnessed.pop(0)
            size, last = signed.head.tree_size, signed.head.last_position
            if flaw := self._flaw(signed):
                detail = f"the head of {size:,} events that was kept elsewhere {flaw}"
                yield Finding("head_changed", last, last, detail)
                continue
            known = min(self._witnessed_to + 1, last)
            tree = None if before is None else before.grown(leaves[: size - block.first_leaf], NODE_LEVEL)[0]
            if tree is None or (tree.size, tree.root) != (size, signed.head.root_hash):
                detail = f"they do not lead to the head of {size:,} events that was kept elsewhere"
                yield Finding("event_changed", known, last, detail)
            else:
                self._witnessed_to = last


def _leads(tree: Tree, block: SealedBlock, root: bytes | None) -> bool:
    """Without a head to trust, the block has only itself for a witness."""
    return tree.frontier == block.frontier if root is None else tree.root == root


def _restored(block: SealedBlock, root: bytes | None) -> Tree | None:
    """The tree that a block says it ends with, as far as that can be."""
    if len(block.frontier) != block.end.bit_count() or (root is not None and fold(block.frontier) != root):
        return None
    return Tree(block.end, block.frontier)


def _of_block(block: SealedBlock, places: Sequence[int], what: str) -> Finding:
    detail = f"the sealed block of leaves {block.first_leaf:,} to {block.end - 1:,}: {what}"
    return Finding("block_changed", places[0], places[-1], detail)


def _misplaced(block: SealedBlock, places: Sequence[int]) -> Iterator[Finding]:
    """Where a block tells of other positions than those of its leaves."""
    wrong = [place for place, told in zip(places, block.positions, strict=False) if place != told]
    columns = (block.leaves, block.first_position, block.last_position)
    if columns != (len(places), places[0], places[-1]):
        wrong = [places[0], places[-1]]
    if wrong:
        detail = "what the sealed block says of their positions was changed"
        yield Finding("block_changed", wrong[0], wrong[-1], detail)


def _differing_seals(block: SealedBlock, events: Sequence[Leaf]) -> Iterator[Finding]:
    """Leaves that are not those of the events, which are as they were sealed."""
    for (position, hashed), sealed in zip(events, block.leaf_hashes, strict=False):
        if hashed != sealed:
            detail = "what was sealed of it was changed, and it is as the signed head says"
            yield _one("block_changed", position, detail)


def _differing_events(block: SealedBlock, places: Sequence[int], events: Sequence[Leaf]) -> list[Finding]:
    """Events that are not those of the leaves, by their positions."""
    sealed, there = dict(zip(places, block.leaf_hashes, strict=True)), dict(events)
    if there == sealed and len(there) == len(events):
        return []
    found = [
        *(_one("event_removed", position, "it is gone") for position in sealed.keys() - there.keys()),
        *(_one("event_inserted", position, "it was not there") for position in there.keys() - sealed.keys()),
        *(
            _one("event_changed", position, "it is not what was sealed")
            for position in sealed.keys() & there.keys()
            if sealed[position] != there[position]
        ),
        *(
            _one("event_inserted", position, "it is there more than once")
            for position, times in Counter(position for position, _ in events).items()
            if times > 1
        ),
    ]
    return sorted(found, key=lambda finding: finding.position)


def _one(kind: Kind, position: int, detail: str) -> Finding:
    return Finding(kind, position, position, detail)
