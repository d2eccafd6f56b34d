"""What a process may use of the machine, as its control groups have it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from infrastructure import machine
from infrastructure.machine import memory_limit, usable_cores

if TYPE_CHECKING:
    from pathlib import Path


class Groups:
    """Control groups of a machine with eight cores."""

    def __init__(self, folder: Path) -> None:
        self.own = folder / "cgroup"
        self.root = folder / "groups"

    def am_in(self, path: str) -> None:
        self.own.write_text(f"4:memory:/elsewhere\n0::{path}\n")

    def limit(self, path: str, name: str, value: str) -> None:
        folder = self.root / path
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{value}\n")


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Groups:
    found = Groups(tmp_path)
    monkeypatch.setattr(machine, "OWN_CGROUPS", found.own)
    monkeypatch.setattr(machine, "CGROUPS", found.root)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    return found


def test_without_control_groups_all_is_there(groups: Groups) -> None:
    assert not groups.own.exists()
    assert (usable_cores(), memory_limit()) == (8, None)


def test_groups_without_limits_limit_nothing(groups: Groups) -> None:
    groups.am_in("/")
    groups.limit("", "cpu.max", "max 100000")
    groups.limit("", "memory.max", "max")
    assert (usable_cores(), memory_limit()) == (8, None)


@pytest.mark.parametrize(
    ("quota", "cores"), [("400000 100000", 4), ("150000 100000", 1), ("50000 100000", 1)]
)
def test_a_quota_is_so_many_whole_cores(groups: Groups, quota: str, cores: int) -> None:
    groups.am_in("/")
    groups.limit("", "cpu.max", quota)
    assert usable_cores() == cores


def test_the_strictest_of_all_groups_above_holds(groups: Groups) -> None:
    groups.am_in("/pod/container")
    groups.limit("pod", "cpu.max", "200000 100000")
    groups.limit("pod/container", "cpu.max", "300000 100000")
    groups.limit("pod", "memory.max", "2000")
    groups.limit("pod/container", "memory.max", "1000")
    assert (usable_cores(), memory_limit()) == (2, 1000)


def test_what_it_may_not_run_on_does_not_count(groups: Groups, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3})
    groups.am_in("/")
    groups.limit("", "cpu.max", "400000 100000")
    assert usable_cores() == 1
