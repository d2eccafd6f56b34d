"""What a process may use of the machine, as its control groups have it."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from interfaces import roles
from interfaces.bootstrap import rebuild_processes
from interfaces.bootstrap.rebuild_processes import memory_limit, usable_cores
from interfaces.bootstrap.services import raise_descriptor_limit
from interfaces.roles import give_way


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
    monkeypatch.setattr(rebuild_processes, "OWN_CGROUPS", found.own)
    monkeypatch.setattr(rebuild_processes, "CGROUPS", found.root)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    return found


@pytest.mark.parametrize(
    ("own", "limits", "expected"),
    [
        ("/", {}, (8, None)),
        ("/", {"cpu.max": "max 100000", "memory.max": "max"}, (8, None)),
        ("/", {"cpu.max": "400000 100000"}, (4, None)),
        ("/", {"cpu.max": "150000 100000"}, (1, None)),
        ("/", {"cpu.max": "50000 100000"}, (1, None)),
        (
            "/pod/container",
            {
                "pod/cpu.max": "200000 100000",
                "pod/container/cpu.max": "300000 100000",
                "pod/memory.max": "2000",
                "pod/container/memory.max": "1000",
            },
            (2, 1000),
        ),
        (
            "/caf\N{LATIN SMALL LETTER E WITH ACUTE}",
            {"caf\N{LATIN SMALL LETTER E WITH ACUTE}/cpu.max": "300000 100000"},
            (3, None),
        ),
    ],
)
def test_the_strictest_limit_of_all_groups_above_holds(
    groups: Groups, own: str, limits: dict[str, str], expected: tuple[int, int | None]
) -> None:
    groups.am_in(own)
    for path, value in limits.items():
        groups.limit(*os.path.split(path), value)
    assert (usable_cores(), memory_limit()) == expected


def test_cores_that_it_may_not_run_on_do_not_count(groups: Groups, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3})
    groups.am_in("/")
    groups.limit("", "cpu.max", "400000 100000")
    assert usable_cores() == 1


def test_without_control_groups_and_affinity_all_cores_count(
    groups: Groups, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not groups.own.exists()
    assert (usable_cores(), memory_limit()) == (8, None)
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert usable_cores() == 6


GIVING_WAY = (
    "import os, sys; from interfaces.roles import OWN_SESSION, give_way; "
    "before = OWN_SESSION.read_text() if OWN_SESSION.exists() else ''; give_way(int(sys.argv[1])); "
    "after = OWN_SESSION.read_text() if OWN_SESSION.exists() else ''; "
    "print(os.getpriority(os.PRIO_PROCESS, 0), before == after, after.endswith(f' nice {sys.argv[1]}\\n'))"
)


def given_way(nice: int, *, own_session: bool, before: int = 0) -> list[str]:
    """The nice value of a process, whether its session's is what it was, and whether it is the new one."""
    program = f"import os; os.nice({before}); {GIVING_WAY}"
    done = subprocess.run(
        [sys.executable, "-c", program, str(nice)],
        start_new_session=own_session,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_who_gives_way_is_nicer_and_so_is_its_own_session() -> None:
    nice, same, _ = given_way(7, own_session=False)
    assert (nice, same) == ("7", "True"), "the session of others keeps its weight"
    nice, _, changed = given_way(7, own_session=True)
    assert nice == "7"
    assert changed == str(roles.OWN_SESSION.exists())


def test_who_is_nicer_already_stays_so() -> None:
    assert given_way(5, own_session=False, before=12)[0] == "12"


def test_where_giving_way_is_refused_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise PermissionError

    before = os.getpriority(os.PRIO_PROCESS, 0)
    monkeypatch.setattr(os, "setpriority", refuse)
    give_way(before + 1)
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


@pytest.mark.parametrize(("soft", "hard"), [(64, 200), (200, 200)])
def test_a_process_may_open_as_many_files_as_its_hard_limit_says(soft: int, hard: int) -> None:
    program = (
        "import resource; from interfaces.bootstrap.services import raise_descriptor_limit as raised\n"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))\n"
        "print(raised(), *resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(hard)] * 3


def test_where_raising_the_limit_is_refused_the_soft_one_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr("resource.getrlimit", lambda _: (256, resource.RLIM_INFINITY))
    monkeypatch.setattr("resource.setrlimit", refuse)
    assert raise_descriptor_limit() == 256
