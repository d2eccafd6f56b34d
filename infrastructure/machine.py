"""What this process may use of the machine, and what it leaves to others."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

OWN_CGROUPS = Path("/proc/self/cgroup")
CGROUPS = Path("/sys/fs/cgroup")
OWN_SESSION = Path("/proc/self/autogroup")


def usable_cores() -> int:
    """Whole ones, at least one: those that it may run on, within the CPU quota of its control groups (v2)."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cores = float(allowed or 1)
    for quota in _limits("cpu.max"):
        most, period = quota.split()
        if most != "max":
            cores = min(cores, int(most) / int(period))
    return max(1, int(cores))


def memory_limit() -> int | None:
    """Bytes that its control groups (v2) let it have; None: as many as there are."""
    return min((int(limit) for limit in _limits("memory.max") if limit != "max"), default=None)


def raise_descriptor_limit() -> int | None:
    """Have this process, and those that it starts, open as many files as they may; None: there is no bound.

    That is the hard limit, unless the system sets another one, as macOS does.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    return None if soft == resource.RLIM_INFINITY else soft


def give_way(nice: int) -> None:
    """Have others go first where cores are short: a nice value from 1 to 19, unless this process is nicer.

    Where Linux weighs sessions (`sched_autogroup`), that of its session counts instead, if that is its own.
    Where the system refuses it, nothing changes.
    """
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, max(nice, os.getpriority(os.PRIO_PROCESS, 0)))
    if os.getsid(0) == os.getpid():
        with contextlib.suppress(OSError):
            present = int(OWN_SESSION.read_text(encoding="ascii").split()[-1])
            OWN_SESSION.write_text(str(max(nice, present)), encoding="ascii")


def _limits(name: str) -> Iterator[str]:
    """What the files of that name say, from its own group up to the first; nothing where there are none."""
    try:
        lines = os.fsdecode(OWN_CGROUPS.read_bytes()).splitlines()
    except OSError:
        return
    for line in lines:
        if line.startswith("0::/"):
            own = PurePosixPath(line.removeprefix("0::/"))
            for group in (own, *own.parents):
                try:
                    yield (CGROUPS / group / name).read_text(encoding="ascii").strip()
                except OSError:
                    continue


def private(path: str, flags: int) -> int:
    """An `opener` of `open`: a file that it makes can be read and written by its owner only."""
    return os.open(path, flags, 0o600)


if sys.version_info >= (3, 14):
    from compression.zstd import ZstdDecompressor, ZstdError, compress, decompress
else:
    from backports.zstd import ZstdDecompressor, ZstdError, compress, decompress

__all__ = ["ZstdDecompressor", "ZstdError", "compress", "decompress"]
