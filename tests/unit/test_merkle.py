"""The Merkle tree: grown in blocks and proved, it is what RFC 9162 defines by recursion over all leaves."""

from collections.abc import Sequence
from hashlib import sha256
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from domain.merkle import (
    EMPTY_ROOT,
    Span,
    Subtree,
    Tree,
    consistency_path,
    consistent,
    includes,
    inclusion_path,
    leaf_hash,
    proof,
)

entries = st.lists(st.binary(max_size=40), min_size=1, max_size=70)


def mth(data: Sequence[bytes]) -> bytes:
    """MTH of RFC 9162, 2.1.1."""
    if not data:
        return sha256().digest()
    if len(data) == 1:
        return sha256(b"\x00" + data[0]).digest()
    k = split(len(data))
    return sha256(b"\x01" + mth(data[:k]) + mth(data[k:])).digest()


def path(m: int, data: Sequence[bytes]) -> list[bytes]:
    """PATH of RFC 9162, 2.1.3.1."""
    if len(data) == 1:
        return []
    k = split(len(data))
    if m < k:
        return [*path(m, data[:k]), mth(data[k:])]
    return [*path(m - k, data[k:]), mth(data[:k])]


def subproof(m: int, data: Sequence[bytes], b: bool) -> list[bytes]:
    """SUBPROOF of RFC 9162, 2.1.4.1."""
    if m == len(data):
        return [] if b else [mth(data)]
    k = split(len(data))
    if m <= k:
        return [*subproof(m, data[:k], b), mth(data[k:])]
    return [*subproof(m - k, data[k:], False), mth(data[:k])]


def split(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def hash_in(data: Sequence[bytes], subtree: Subtree) -> bytes:
    start = subtree.index << subtree.level
    assert start + (1 << subtree.level) <= len(data), "the subtree is perfect"
    return mth(data[start : start + (1 << subtree.level)])


def inclusion(data: Sequence[bytes], index: int) -> list[bytes]:
    return proof(inclusion_path(index, len(data)), lambda subtree: hash_in(data, subtree))


def consistency(data: Sequence[bytes], first: int) -> list[bytes]:
    return proof(consistency_path(first, len(data)), lambda subtree: hash_in(data, subtree))


def leaves(data: Sequence[bytes]) -> list[bytes]:
    return [leaf_hash(entry) for entry in data]


def test_the_known_roots_of_the_test_vectors_of_certificate_transparency() -> None:
    numbers = [b"\x00", b"\x10", b"\x20\x21", b"\x30\x31", b"\x40\x41\x42\x43"]
    data = [b"", *numbers, bytes(range(0x50, 0x58)), bytes(range(0x60, 0x70))]
    tree, _ = Tree().grown(leaves(data), 1)
    assert tree.root.hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"


def test_an_empty_tree_has_the_hash_of_nothing() -> None:
    assert Tree().root == EMPTY_ROOT == mth([])


@given(entries, st.lists(st.integers(0, 70)))
def test_a_tree_grown_in_blocks_has_the_root_of_all_its_leaves(data: list[bytes], cuts: list[int]) -> None:
    tree = Tree()
    known: dict[Subtree, bytes] = {}
    bounds = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    for start, end in pairwise(bounds):
        tree, gained = tree.grown(leaves(data[start:end]), 1)
        assert not known.keys() & gained.keys()
        known |= gained
        assert tree.root == mth(data[:end])
    assert known == {
        Subtree(level, index): hash_in(data, Subtree(level, index))
        for level in range(1, 7)
        for index in range(len(data) >> level)
    }


@given(entries)
def test_only_subtrees_of_the_level_that_is_kept_are_told(data: list[bytes]) -> None:
    _, gained = Tree().grown(leaves(data), 3)
    assert {subtree.level for subtree in gained} == set(range(3, len(data).bit_length()))


@given(st.integers(0, 500), st.integers(0, 500))
def test_a_span_falls_into_perfect_subtrees(one: int, other: int) -> None:
    span = Span(min(one, other), max(one, other))
    at = span.start
    for subtree in span.subtrees():
        assert subtree.index << subtree.level == at
        at += 1 << subtree.level
    assert at == span.end


@given(entries, st.data())
def test_an_inclusion_proof_is_that_of_the_standard_and_holds(data: list[bytes], draw: st.DataObject) -> None:
    index = draw.draw(st.integers(0, len(data) - 1))
    hashes = inclusion(data, index)
    assert hashes == path(index, data)
    assert includes(mth(data), len(data), index, leaf_hash(data[index]), hashes)


@given(entries, st.data())
def test_a_consistency_proof_is_that_of_the_standard_and_holds(
    data: list[bytes], draw: st.DataObject
) -> None:
    first = draw.draw(st.integers(1, len(data)))
    hashes = consistency(data, first)
    assert hashes == subproof(first, data, True)
    assert consistent(first, mth(data[:first]), len(data), mth(data), hashes)


@given(entries, st.data())
def test_an_inclusion_proof_holds_for_nothing_else(data: list[bytes], draw: st.DataObject) -> None:
    index = draw.draw(st.integers(0, len(data) - 1))
    hashes, root, leaf = inclusion(data, index), mth(data), leaf_hash(data[index])
    assert not includes(root, len(data), index, leaf_hash(data[index] + b"!"), hashes)
    assert not includes(leaf_hash(root), len(data), index, leaf, hashes)
    assert not includes(root, len(data), index, leaf, [*hashes, root])
    assert not includes(root, len(data), len(data), leaf, hashes)
    assert not includes(root, len(data), -1, leaf, hashes)
    for at, sibling in enumerate(hashes):
        assert not includes(root, len(data), index, leaf, hashes[:at] + hashes[at + 1 :])
        assert not includes(
            root, len(data), index, leaf, [*hashes[:at], leaf_hash(sibling), *hashes[at + 1 :]]
        )


@given(entries, st.data())
def test_a_consistency_proof_holds_for_nothing_else(data: list[bytes], draw: st.DataObject) -> None:
    first = draw.draw(st.integers(1, len(data)))
    hashes, older, newer = consistency(data, first), mth(data[:first]), mth(data)
    size = len(data)
    assert not consistent(first, leaf_hash(older), size, newer, hashes)
    assert not consistent(first, older, size, leaf_hash(newer), hashes)
    assert not consistent(first, older, size, newer, [*hashes, newer])
    for at, sibling in enumerate(hashes):
        assert not consistent(first, older, size, newer, hashes[:at] + hashes[at + 1 :])
        changed = [*hashes[:at], leaf_hash(sibling), *hashes[at + 1 :]]
        assert not consistent(first, older, size, newer, changed)


def test_every_tree_has_grown_from_the_empty_one_and_from_no_larger_one() -> None:
    assert consistent(0, EMPTY_ROOT, 2, mth([b"a", b"b"]), [])
    assert not consistent(0, mth([b"a"]), 2, mth([b"a", b"b"]), [])
    assert not consistent(0, EMPTY_ROOT, 2, mth([b"a", b"b"]), [EMPTY_ROOT])
    assert not consistent(2, mth([b"a", b"b"]), 1, mth([b"a"]), [mth([b"a"])])
    assert not consistent(-1, EMPTY_ROOT, 1, mth([b"a"]), [mth([b"a"])])


def test_every_proof_of_every_small_tree_holds() -> None:
    data = [bytes([number]) for number in range(17)]
    for size in range(1, len(data) + 1):
        tree = data[:size]
        for number in range(size):
            older = tree[: number + 1]
            assert includes(mth(tree), size, number, leaf_hash(tree[number]), inclusion(tree, number))
            assert consistent(number + 1, mth(older), size, mth(tree), consistency(tree, number + 1))
