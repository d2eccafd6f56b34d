"""A Merkle tree over a list that only grows, and its proofs: RFC 9162, section 2.1, with SHA-256.

A perfect subtree is named by its level (a leaf is of level 0) and its index among those of its level; once
all its leaves are there, its hash never changes. The hash of any range that the proofs ask for is folded from
those of the perfect subtrees that the range falls into.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from typing import NamedTuple

from msgspec import Struct

HASH_BYTES = 32
EMPTY_ROOT = sha256().digest()

_LEAF, _NODE = b"\x00", b"\x01"


def leaf_hash(entry: bytes) -> bytes:
    """The hash of an entry as a leaf."""
    return sha256(_LEAF + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of what two subtrees are below."""
    return sha256(_NODE + left + right).digest()


class Subtree(Struct, frozen=True):
    """A perfect subtree: of the leaves from `index << level`, `1 << level` in number."""

    level: int
    index: int


class Span(NamedTuple):
    """The leaves from `start`, without `end`."""

    start: int
    end: int

    def subtrees(self) -> Iterator[Subtree]:
        """The fewest perfect subtrees that hold these leaves, from left to right."""
        at = self.start
        while at < self.end:
            aligned = (at & -at).bit_length() - 1 if at else self.end.bit_length()
            level = min(aligned, (self.end - at).bit_length() - 1)
            yield Subtree(level, at >> level)
            at += 1 << level


class Tree(Struct, frozen=True):
    """A tree by its frontier: the hashes of the perfect subtrees of its `size` leaves, from left to right.

    It has as many of them as `size` has bits set, so it stays small and grows without its older leaves.
    """

    size: int = 0
    frontier: tuple[bytes, ...] = ()

    @property
    def root(self) -> bytes:
        """The tree's hash."""
        return fold(self.frontier)

    def grown(self, leaves: Sequence[bytes], kept_level: int) -> tuple[Tree, dict[Subtree, bytes]]:
        """The tree with further leaf hashes, and the perfect subtrees from `kept_level` up that it gained."""
        older, newer = list(self.frontier), list(leaves)
        frontier: list[bytes] = []
        complete: dict[Subtree, bytes] = {}
        level = 0
        while older or newer:
            first = self.size >> level
            if level >= kept_level:
                complete.update((Subtree(level, first + at), node) for at, node in enumerate(newer))
            if first & 1:
                newer.insert(0, older.pop())
            if len(newer) & 1:
                frontier.append(newer.pop())
            newer = [node_hash(*pair) for pair in zip(newer[::2], newer[1::2], strict=True)]
            level += 1
        return Tree(self.size + len(leaves), tuple(reversed(frontier))), complete


def fold(hashes: Sequence[bytes]) -> bytes:
    """The hash of a range, from those of its perfect subtrees from left to right."""
    if not hashes:
        return EMPTY_ROOT
    *rest, whole = hashes
    for left in reversed(rest):
        whole = node_hash(left, whole)
    return whole


def inclusion_path(index: int, size: int) -> list[Span]:
    """Whose hashes prove that a leaf is in a tree of `size` leaves, as PATH of RFC 9162, 2.1.3.1 has them.

    `index` is within the tree.
    """
    return _path(index, Span(0, size))


def _path(index: int, tree: Span) -> list[Span]:
    if tree.end - tree.start == 1:
        return []
    left, right = _halves(tree)
    if index < left.end:
        return [*_path(index, left), right]
    return [*_path(index, right), left]


def consistency_path(first: int, second: int) -> list[Span]:
    """Whose hashes prove that a tree of `first` leaves has grown to `second`, as PROOF of RFC 9162, 2.1.4.1.

    `0 < first <= second`.
    """
    return _subproof(first, Span(0, second), whole=True)


def _subproof(first: int, tree: Span, *, whole: bool) -> list[Span]:
    if first == tree.end:
        return [] if whole else [tree]
    left, right = _halves(tree)
    if first <= left.end:
        return [*_subproof(first, left, whole=whole), right]
    return [*_subproof(first, right, whole=False), left]


def _halves(tree: Span) -> tuple[Span, Span]:
    """The left one has the largest power of two of leaves that is less than all."""
    middle = tree.start + (1 << (tree.end - tree.start - 1).bit_length() - 1)
    return Span(tree.start, middle), Span(middle, tree.end)


def proof(path: Sequence[Span], hash_of: Callable[[Subtree], bytes]) -> list[bytes]:
    """The hashes of a path, given those of perfect subtrees."""
    return [fold([hash_of(subtree) for subtree in span.subtrees()]) for span in path]


def includes(root: bytes, size: int, index: int, leaf: bytes, hashes: Sequence[bytes]) -> bool:
    """Whether the hashes prove that the leaf hash is at this index of the tree: RFC 9162, 2.1.3.2."""
    if not 0 <= index < size:
        return False
    at, last, found = index, size - 1, leaf
    for sibling in hashes:
        if last == 0:
            return False
        if at & 1 or at == last:
            found = node_hash(sibling, found)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and found == root


def consistent(
    first: int, first_root: bytes, second: int, second_root: bytes, hashes: Sequence[bytes]
) -> bool:
    """Whether the hashes prove that the one tree has grown to the other: RFC 9162, 2.1.4.2."""
    if first == second:
        return first_root == second_root and not hashes
    if first == 0:
        return first_root == EMPTY_ROOT and not hashes
    if not 0 < first < second or not hashes:
        return False
    known, *others = [first_root, *hashes] if first & (first - 1) == 0 else hashes
    at, last = first - 1, second - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    old = new = known
    for sibling in others:
        if last == 0:
            return False
        if at & 1 or at == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and old == first_root and new == second_root
