"""Sharing by hashing: everybody agrees, shares are even, and a change moves only what it must."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from application.scheduler.membership import rank

if TYPE_CHECKING:
    from collections.abc import Collection

SUBJECTS = [UUID(int=number) for number in range(3_000)]
names = st.sets(st.text(max_size=20), min_size=1, max_size=6)


def order(members: Collection[str], subject: UUID) -> list[str]:
    return sorted(members, key=lambda name: rank(name, set(members) - {name}, subject))


def owners(members: Collection[str]) -> dict[UUID, str]:
    return {subject: order(members, subject)[0] for subject in SUBJECTS}


@given(names, st.uuids())
def test_every_member_has_a_place_of_its_own(members: set[str], subject: UUID) -> None:
    places = {rank(name, members - {name}, subject) for name in members}
    assert places == set(range(len(members)))


@given(names, st.uuids())
def test_who_leaves_changes_the_order_of_nobody_else(members: set[str], subject: UUID) -> None:
    before = order(members, subject)
    assert order(members - {before[0]}, subject) == before[1:]


@pytest.mark.parametrize("count", [2, 3, 7, 20])
def test_shares_are_even(count: int) -> None:
    shares = Counter(owners([f"node-{number}" for number in range(count)]).values())
    fair = len(SUBJECTS) / count
    assert len(shares) == count
    assert all(0.7 * fair < share < 1.3 * fair for share in shares.values())


def test_who_joins_takes_its_share_from_all_and_moves_nothing_else() -> None:
    before, after = owners(["a", "b", "c"]), owners(["a", "b", "c", "d"])
    moved = {subject for subject in SUBJECTS if before[subject] != after[subject]}
    assert {after[subject] for subject in moved} == {"d"}
    assert {before[subject] for subject in moved} == {"a", "b", "c"}
    assert 0.8 / 4 < len(moved) / len(SUBJECTS) < 1.2 / 4
