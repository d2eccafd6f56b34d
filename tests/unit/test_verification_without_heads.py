"""Blocks whose head is gone, or under no key that is known: each has the events that are its own, whatever it
says of their positions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from domain.audit import SealedBlock, Verifier, signed_by_none
from domain.merkle import Tree, leaf_hash
from tests.unit.test_verification import (
    Leaf,
    Sealed,
    flaw,
    leaf,
    places,
    sealed,
    with_block,
    with_events,
    with_head,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Positions 1, 3, 5, 11 … 15, 21: with gaps.
AFTER = [leaf(position) for position in range(31, 60)]


def read(log: Sequence[Sealed], events: Iterable[Leaf]) -> list[tuple[str, int, int]]:
    """What is found when the events of a log are read one by one, and each block takes its own."""
    verifier, left, findings = Verifier(flaw), [*events], []
    for block, signed, _ in log:
        end = verifier.until(signed)
        if end is None:
            extent = verifier.extent(block)
            for event in left:
                if not extent.goes_on_behind(*event):
                    break
            count = extent.events
        else:
            count = sum(position <= end for position, _ in left)
        findings += verifier.block(block, signed, left[:count])
        left = left[count:]
    return places(findings)


def events_of(log: Sequence[Sealed]) -> list[Leaf]:
    return [event for _, _, events in log for event in events] + AFTER


@pytest.mark.parametrize("number", [0, 1, 2])
def test_nothing_but_the_head_is_told_where_only_that_is_gone(number: int) -> None:
    log = with_head(sealed(), number, None)
    end = (5, 15, 21)[number]
    assert read(log, events_of(log)) == [("head_changed", end, end)]


@pytest.mark.parametrize("positions", [(11, 12, 13, 14, 2**62), (1, 2, 3, 4, 5), (-1, 0, 1, 2, 30)])
def test_positions_of_a_block_take_no_event_from_the_next_one(positions: tuple[int, ...]) -> None:
    log = with_head(with_block(sealed(), 1, positions=positions), 1, None)
    kinds = {kind for kind, _, _ in read(log, events_of(log))}
    assert kinds == {"head_changed", "block_changed"}


@pytest.mark.parametrize("place", range(5))
def test_a_removed_event_is_told_at_its_position(place: int) -> None:
    log = with_head(sealed(), 1, None)
    there = [event for event in events_of(log) if event[0] != 11 + place]
    end = ("head_changed", 15, 15)
    assert read(log, there) == [end, ("event_removed", 11 + place, 11 + place)]


@pytest.mark.parametrize("place", range(5))
def test_a_changed_event_is_told_at_its_position(place: int) -> None:
    log = with_head(sealed(), 1, None)
    other = (11 + place, leaf_hash(b"other"))
    there = [other if event[0] == other[0] else event for event in events_of(log)]
    assert read(log, there) == [("head_changed", 15, 15), ("event_changed", other[0], other[0])]


def test_an_event_that_was_put_in_is_told_at_its_position() -> None:
    log = with_head(sealed([(1, 3, 5), (11, 15), (21,)]), 1, None)
    there = sorted([*events_of(log), (13, leaf_hash(b"other"))])
    assert read(log, there) == [("head_changed", 15, 15), ("event_inserted", 13, 13)]


def test_all_events_of_a_block_are_told_of_it_and_none_of_others() -> None:
    log = with_head(sealed(), 1, None)
    there = [event for event in events_of(log) if not 11 <= event[0] <= 15]
    removed = [("event_removed", position, position) for position in range(11, 16)]
    assert read(log, there) == [("head_changed", 15, 15), *removed]


def test_no_more_is_read_in_advance_than_a_block_is_long() -> None:
    [_, (block, _, _), _] = sealed()
    extent = Verifier(flaw).extent(replace(block, first_leaf=0, positions=(11, 12, 13, 14, 2**62)))
    asked = [extent.goes_on_behind(*event) for event in AFTER]
    assert asked.index(False) == len(block.leaf_hashes) - 1


def test_events_of_blocks_that_are_gone_before_it_are_passed_over() -> None:
    log = with_head(sealed([(1,), tuple(range(3, 30)), (41, 42), (51,)]), 2, None)
    findings = read([log[0], *log[2:]], [event for event in events_of(log)[:31] if event[0] < 60])
    assert [kind for kind, _, _ in findings] == ["block_changed", "head_changed"]


def forged(log: list[Sealed], number: int) -> list[Sealed]:
    """Change the first event of a block together with what is sealed of it, and remove the head."""
    block, _, events = log[number]
    tree = Tree()
    for before, _, _ in log[:number]:
        tree, _ = tree.grown(before.leaf_hashes, 1)
    other = (events[0][0], leaf_hash(b"other"))
    hashes = (other[1], *block.leaf_hashes[1:])
    changes: dict[str, object] = {"leaf_hashes": hashes, "frontier": tree.grown(hashes, 1)[0].frontier}
    changed = with_block(with_events(log, number, [other, *events[1:]]), number, **changes)
    assert isinstance(changed[number][0], SealedBlock)
    return with_head(changed, number, None)


def test_what_was_changed_with_its_seal_and_its_head_is_told_from_there_on() -> None:
    log = forged(sealed(), 1)
    assert read(log, events_of(log)) == [("head_changed", 15, 15), ("block_changed", 11, 21)]


def test_of_blocks_without_heads_those_before_are_doubted_where_one_leads_nowhere() -> None:
    log = with_head(forged(sealed([(1,), (3, 5), (7, 8), (9,), (11,)]), 1), 2, None)
    assert read(log, events_of(log)) == [
        ("head_changed", 5, 5),
        ("head_changed", 8, 8),
        ("block_changed", 3, 8),
    ]


def test_keys_that_have_signed_nothing_are_asked_about() -> None:
    asked = [signed_by_none(keys, 5, 21).detail for keys in (1, 2)]
    assert asked == [
        "no head is signed by the key to verify with: is it the right one?",
        "no head is signed by any of the keys to verify with: is one of them the right one?",
    ]
