"""Comparing a log with its seals: what was changed is told, and where; what is behind it is still proved."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.audit import NODE_LEVEL, Finding, SealedBlock, SignedHead, TreeHead, Verifier
from domain.merkle import EMPTY_ROOT, Tree, leaf_hash

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
GOOD, BAD = b"good", b"bad"

type Leaf = tuple[int, bytes]
type Sealed = tuple[SealedBlock, SignedHead | None, list[Leaf]]

# Positions 1, 3, 5, 11 … 15, 21: with gaps.
BOUNDS = ((1, 3, 5), (11, 12, 13, 14, 15), (21,))


def leaf(position: int) -> Leaf:
    return position, leaf_hash(str(position).encode())


def head(size: int, root: bytes, last: int, signature: bytes = GOOD) -> SignedHead:
    stated = TreeHead(tree_size=size, root_hash=root, last_position=last, sealed_at=NOON)
    return SignedHead(head=stated, key_id=b"key", signature=signature)


def sealed(bounds: Sequence[Sequence[int]] = BOUNDS) -> list[Sealed]:
    tree, made = Tree(), list[Sealed]()
    for positions in bounds:
        events = [leaf(position) for position in positions]
        hashes = tuple(hashed for _, hashed in events)
        first, (tree, _) = tree.size, tree.grown(hashes, 1)
        block = SealedBlock(
            first_leaf=first,
            leaves=len(positions),
            first_position=positions[0],
            last_position=positions[-1],
            positions=tuple(positions),
            leaf_hashes=hashes,
            frontier=tree.frontier,
        )
        made.append((block, head(tree.size, tree.root, positions[-1]), events))
    return made


def flaw(signed: SignedHead) -> str | None:
    return None if signed.signature == GOOD else "was not signed"


def found(log: Iterable[Sealed], witnessed: Iterable[SignedHead] = ()) -> list[tuple[str, int, int]]:
    verifier = Verifier(flaw, witnessed)
    findings = [finding for block in log for finding in verifier.block(*block)]
    return places([*findings, *verifier.ended()])


def places(findings: Iterable[Finding]) -> list[tuple[str, int, int]]:
    return [(finding.kind, finding.position, finding.until) for finding in findings]


def heads(log: Iterable[Sealed]) -> list[SignedHead]:
    return [signed for _, signed, _ in log if signed is not None]


def with_events(log: list[Sealed], number: int, events: list[Leaf]) -> list[Sealed]:
    block, signed, _ = log[number]
    return [*log[:number], (block, signed, events), *log[number + 1 :]]


def with_block(log: list[Sealed], number: int, **changes: object) -> list[Sealed]:
    block, signed, events = log[number]
    return [*log[:number], (replace(block, **changes), signed, events), *log[number + 1 :]]


def with_head(log: list[Sealed], number: int, signed: SignedHead | None) -> list[Sealed]:
    block, _, events = log[number]
    return [*log[:number], (block, signed, events), *log[number + 1 :]]


def test_nothing_is_found_in_a_log_as_it_was_sealed() -> None:
    log = sealed()
    assert found(log) == []
    assert found(log, heads(log)) == []


def test_the_subtrees_that_are_stored_are_told() -> None:
    leaves = range(1, (1 << NODE_LEVEL) + 1)
    verifier = Verifier(flaw)
    [block] = sealed([leaves])
    assert verifier.block(*block) == []
    assert list(verifier.nodes.values()) == [Tree().grown([leaf(n)[1] for n in leaves], 1)[0].root]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([11, 12, 14, 15], [("event_removed", 13, 13)]),
        ([11, 13, 14], [("event_removed", 12, 12), ("event_removed", 15, 15)]),
        ([9, 11, 12, 13, 14, 15], [("event_inserted", 9, 9)]),
        ([11, 12, 13, 13, 14, 15], [("event_inserted", 13, 13)]),
        ([], [("event_removed", position, position) for position in BOUNDS[1]]),
    ],
)
def test_events_that_are_gone_or_new_are_told(
    events: list[int], expected: list[tuple[str, int, int]]
) -> None:
    assert found(with_events(sealed(), 1, [leaf(position) for position in events])) == expected


def test_events_that_changed_places_are_told() -> None:
    # A hash is over the position, too.
    events = [leaf(11), (12, leaf_hash(b"14 at 12")), leaf(13), (14, leaf_hash(b"12 at 14")), leaf(15)]
    assert found(with_events(sealed(), 1, events)) == [("event_changed", 12, 12), ("event_changed", 14, 14)]


def test_a_seal_that_was_changed_is_told_from_an_event_that_was() -> None:
    hashes = list(sealed()[1][0].leaf_hashes)
    hashes[2] = EMPTY_ROOT
    assert found(with_block(sealed(), 1, leaf_hashes=tuple(hashes))) == [("block_changed", 13, 13)]


@pytest.mark.parametrize(
    "positions",
    [(11, 12, 12, 14, 15), (11, 12, 14, 14, 15), (11, 13, 13, 14, 15), (11, 12, 2**62, 14, 15)],
)
def test_positions_that_were_changed_hide_no_event_that_is_gone(positions: tuple[int, ...]) -> None:
    events = [leaf(position) for position in (11, 12, 14, 15)]
    told = found(with_events(with_block(sealed(), 1, positions=positions), 1, events))
    assert ("event_removed", 13, 13) in told
    assert {kind for kind, _, _ in told} == {"event_removed", "block_changed"}


def test_many_events_that_are_gone_are_told_by_the_lowest_positions_that_they_can_have_had() -> None:
    log = with_block(sealed(), 1, positions=(11, 11, 11, 11, 11))
    assert found(with_events(log, 1, [leaf(11), leaf(15)])) == [
        *(("event_removed", position, position) for position in (12, 13, 14)),
        ("block_changed", 12, 15),
    ]
    assert found(with_events(log, 1, []))[:5] == [
        *(("event_removed", position, position) for position in (6, 7, 8, 9, 15)),
    ]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"positions": (11, 12, 13, 13, 15)}, ("block_changed", 14, 14)),
        ({"positions": (7, 12, 13, 14, 2**62)}, ("block_changed", 11, 15)),
        ({"positions": (5, 12, 13, 14, 15)}, ("block_changed", 11, 11)),
        ({"first_position": 7}, ("block_changed", 11, 15)),
        ({"last_position": 16}, ("block_changed", 11, 15)),
        ({"leaves": 4}, ("block_changed", 11, 15)),
    ],
)
def test_positions_that_a_block_tells_wrongly_are_told(
    changes: dict[str, object], expected: tuple[str, int, int]
) -> None:
    assert found(with_block(sealed(), 1, **changes)) == [expected]


def test_a_block_ends_where_its_head_says_if_that_is_signed() -> None:
    _, signed, _ = sealed()[1]
    assert signed is not None
    verifier = Verifier(flaw)
    assert verifier.until(signed) == 15
    assert verifier.until(None) is verifier.until(replace(signed, signature=BAD)) is None


def test_a_position_that_nobody_vouches_for_is_not_gone_on_from() -> None:
    log = with_head(with_block(sealed(), 1, positions=(11, 12, 13, 14, 2**62)), 1, None)
    log = with_events(log, 1, [leaf(position) for position in (11, 12, 13, 14)])
    told = [("head_changed", 2**62, 2**62), ("event_removed", 2**62, 2**62), ("block_changed", 11, 2**62)]
    assert found(log) == told
    # Nothing is found about the block behind, whether an event of this one is left or not.
    assert {place[1] for place in found(with_events(log, 1, []))} == {11, 12, 13, 14, 2**62}


def test_seals_that_changed_places_are_told() -> None:
    hashes = list(sealed()[1][0].leaf_hashes)
    hashes[1], hashes[3] = hashes[3], hashes[1]
    assert found(with_block(sealed(), 1, leaf_hashes=tuple(hashes))) == [
        ("block_changed", 12, 12),
        ("block_changed", 14, 14),
    ]


def test_an_event_that_was_changed_with_its_seal_is_within_a_block_and_the_next_one_is_proved() -> None:
    log = sealed()
    hashes = list(log[1][0].leaf_hashes)
    hashes[2] = EMPTY_ROOT
    log = with_block(log, 1, leaf_hashes=tuple(hashes))
    log = with_events(log, 1, list(zip(BOUNDS[1], hashes, strict=True)))
    assert found(log) == [("block_changed", 11, 15)]
    # Behind a frontier that leads nowhere nothing can be proved until one does.
    log = with_block(log, 1, frontier=())
    assert found(log) == [("block_changed", 11, 15)]
    assert found([*log, *with_events(sealed([*BOUNDS, (30,)]), 3, [])[3:]]) == [
        ("block_changed", 11, 15),
        ("event_removed", 30, 30),
    ]


def test_a_frontier_that_was_changed_is_told() -> None:
    assert found(with_block(sealed(), 1, frontier=(EMPTY_ROOT,))) == [("block_changed", 11, 15)]


def test_a_block_that_is_gone_is_told_and_what_is_behind_it_is_proved() -> None:
    log = sealed()
    kept = heads(log)
    # The events of the block that is gone are with the next one, and may be as they were.
    log = with_events([log[0], log[2]], 1, [*log[1][2], *log[2][2]])
    assert found(log) == [("block_changed", 6, 21)]
    assert found(log, kept[2:]) == [("block_changed", 6, 21), ("event_changed", 1, 21)]


@pytest.mark.parametrize(
    "changed",
    [
        None,
        head(8, sealed()[1][0].frontier[0], 15, BAD),
        head(8, EMPTY_ROOT, 15, BAD),
        head(8, sealed()[1][0].frontier[0], 14),
    ],
)
def test_a_head_that_is_gone_or_changed_is_told_and_nothing_else(changed: SignedHead | None) -> None:
    assert found(with_head(sealed(), 1, changed)) == [("head_changed", 15, 15)]


def test_without_a_head_a_block_is_its_own_witness() -> None:
    log = with_block(with_head(sealed(), 1, None), 1, frontier=(EMPTY_ROOT,))
    assert found(log)[:2] == [("head_changed", 15, 15), ("block_changed", 11, 15)]


def test_what_is_stored_without_its_other_half_is_told() -> None:
    verifier = Verifier(flaw)
    verifier.block(*sealed()[0])
    assert places([verifier.missing(head(8, EMPTY_ROOT, 15))]) == [("block_changed", 6, 15)]
    assert places([verifier.missing(None)]) == [("block_changed", 6, 6)]


def test_heads_that_were_kept_elsewhere_find_who_sealed_everything_anew() -> None:
    kept = heads(sealed())
    anew = sealed([BOUNDS[0], (11, 12, 13, 14, 16), BOUNDS[2]])
    assert found(anew) == []
    assert found(anew, kept) == [("event_changed", 6, 15), ("event_changed", 6, 21)]


def test_heads_that_were_kept_elsewhere_hold_however_the_blocks_are_cut() -> None:
    log, kept = sealed(), heads(sealed([(1, 3), (5, 11, 12, 13)]))
    assert found(log, kept) == []


def test_a_head_that_was_kept_elsewhere_and_changed_there_proves_nothing() -> None:
    log = sealed()
    assert found(log, [head(5, EMPTY_ROOT, 12, BAD)]) == [("head_changed", 12, 12)]


def test_a_log_that_ends_before_a_head_that_was_kept_elsewhere_was_cut_off() -> None:
    log = sealed()
    assert found(log[:1], heads(log)) == [("event_removed", 6, 15), ("event_removed", 6, 21)]


@given(st.data())
def test_whatever_is_done_to_one_event_its_position_is_the_first_that_is_named(draw: st.DataObject) -> None:
    positions = sorted(draw.draw(st.sets(st.integers(1, 200), min_size=2, max_size=40)))
    cuts = sorted(draw.draw(st.sets(st.integers(1, len(positions) - 1), max_size=6)))
    log = sealed([positions[start:end] for start, end in pairwise([0, *cuts, len(positions)])])
    events = {position: hashed for _, _, leaves in log for position, hashed in leaves}
    position = draw.draw(st.integers(1, positions[-1]))
    if position not in events:
        events[position], expected = EMPTY_ROOT, "event_inserted"
    elif draw.draw(st.booleans()):
        events[position], expected = EMPTY_ROOT, "event_changed"
    else:
        del events[position]
        expected = "event_removed"
    behind = 0
    tampered = list[Sealed]()
    for block, signed, _ in log:
        last = block.positions[-1]
        tampered.append(
            (block, signed, [event for event in sorted(events.items()) if behind < event[0] <= last])
        )
        behind = last
    assert found(tampered, heads(log)) == [(expected, position, position)]
