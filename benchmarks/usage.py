"""CPU time and memory of processes with all that they started, from Linux' /proc."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
# Places in /proc/<pid>/stat after the name, which may hold blanks and brackets (proc_pid_stat(5)).
PARENT, UTIME, CSTIME = 1, 11, 14
MIB = 1024.0


class _Stat(NamedTuple):
    parent: int
    ticks: int


def cpu_seconds(root: int) -> float:
    """What a process and its descendants have used so far, those that have ended included."""
    stats = _stats()
    return sum(stats[pid].ticks for pid in _tree(root, stats)) / TICKS_PER_SECOND


def resident_mib(root: int) -> float:
    """RSS of one process: what it shares with others counts in full."""
    return _kib(PROC / str(root) / "status", "VmRSS:") / MIB


def proportional_mib(pid: int, *, shared_memory: bool = True) -> float:
    """PSS of one process: what several share counts once over all of them. RSS where it may not be read.

    Without `shared_memory`, which is where Postgres has its cache, code and what is the process's own remain.
    """
    path = PROC / str(pid) / "smaps_rollup"
    with contextlib.suppress(OSError):
        return (_kib(path, "Pss:") - (0 if shared_memory else _kib(path, "Pss_Shmem:"))) / MIB
    return resident_mib(pid)


def tree(root: int) -> list[int]:
    """A process and its descendants."""
    return _tree(root, _stats())


def parent_of(pid: int) -> int:
    """The process that started another one."""
    return _stats()[pid].parent


def _tree(root: int, stats: dict[int, _Stat]) -> list[int]:
    children: dict[int, list[int]] = {}
    for pid, stat in stats.items():
        children.setdefault(stat.parent, []).append(pid)
    found = [root] if root in stats else []
    for pid in found:
        found.extend(children.get(pid, ()))
    return found


def _stats() -> dict[int, _Stat]:
    found = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it has ended meanwhile
                found[int(entry.name)] = _stat((entry / "stat").read_text())
    return found


def _stat(line: str) -> _Stat:
    # Own user and system time, and that of children that have ended and were waited for.
    fields = line.rpartition(")")[2].split()
    return _Stat(int(fields[PARENT]), sum(map(int, fields[UTIME : CSTIME + 1])))


def _kib(path: Path, name: str) -> int:
    for line in path.read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    return 0
