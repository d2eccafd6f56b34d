"""Naming projections."""

from __future__ import annotations

import pytest

from projections import PROJECTIONS, RELATIONS, UnknownProjection, named


def test_no_name_means_all_of_them() -> None:
    assert named([]) == PROJECTIONS


def test_a_projection_named_twice_comes_once() -> None:
    assert [projection.name for projection in named(["tasks", "statistics", "tasks"])] == [
        "tasks",
        "statistics",
    ]


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UnknownProjection, match="'task'; choose among tasks, task_results, statistics"):
        named(["task"])


def test_no_two_projections_share_a_name_or_a_table() -> None:
    assert len(set(RELATIONS)) == len(RELATIONS)
    assert len({projection.name for projection in PROJECTIONS}) == len(PROJECTIONS)
