"""What an earlier supervisor left behind on a cluster that is locked now, and therefore nobody else's."""

import contextlib
import shutil
import signal
import time
from pathlib import Path

from infrastructure.embedded_postgres.errors import DataDirectoryInUse
from infrastructure.embedded_postgres.processes import command_line, end, is_postmaster, serves, serving

# A fast shutdown, then an immediate one: in that, the postmaster kills what does not obey within 5 seconds.
_POSTMASTER = ((signal.SIGINT, 20.0), (signal.SIGQUIT, 10.0))
# What a postmaster does to its children when one of them has crashed. Without it, nobody needs them any more.
_ORPHANS = ((signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))
_SHARED_MEMORY_SECONDS = 10.0
_SHARED_MEMORY = Path("/proc/sysvipc/shm")


def remove_half_made(home: Path, pattern: str) -> None:
    """Remove clusters whose making was interrupted, and end what still works on them."""
    for half_made in home.glob(pattern):
        end(serving(half_made), half_made, [(signal.SIGKILL, 5.0)])
        shutil.rmtree(half_made, ignore_errors=True)  # what resists now is in nobody's way: names are random


def settle(cluster: Path) -> None:
    """Return once no process serves `cluster` and no stale `postmaster.pid` can mislead the next postmaster.

    Only a process that surely is a PostgreSQL on this very directory is stopped. Raises DataDirectoryInUse
    when one does not go, or when it cannot be seen whether it is one.
    """
    _stop_servers(cluster)
    pid_file = cluster / "postmaster.pid"
    lines = _lines(pid_file)
    _wait_for_shared_memory(cluster, lines)
    if pid := _number(lines, 0):
        # The file of a standalone server holds its pid negated.
        if serves(abs(pid), cluster) is None:
            raise DataDirectoryInUse(cluster, _named(abs(pid)))
        pid_file.unlink(missing_ok=True)


def _stop_servers(cluster: Path) -> None:
    postmasters = [pid for pid in serving(cluster) if is_postmaster(pid)]
    left = end(postmasters, cluster, _POSTMASTER) or end(serving(cluster), cluster, _ORPHANS)
    if left:
        raise DataDirectoryInUse(cluster, _named(left[0]))


def _wait_for_shared_memory(cluster: Path, pid_file: list[str]) -> None:
    """Wait for orphans that cannot be seen: a new postmaster refuses while they hold the old memory."""
    key_and_id = pid_file[6].split() if len(pid_file) > 6 else []
    segment = _number(key_and_id, 1)
    deadline = time.monotonic() + _SHARED_MEMORY_SECONDS
    while segment is not None and _attached(segment):
        if time.monotonic() > deadline:
            raise DataDirectoryInUse(cluster, "PostgreSQL processes without a parent (see ps -ef)")
        time.sleep(0.02)


def _attached(segment: int) -> bool:
    rows = [line.split() for line in _lines(_SHARED_MEMORY)]
    return any(row[1] == str(segment) and row[6] != "0" for row in rows if len(row) > 6)


def _named(pid: int) -> str:
    return f"process {pid} ({' '.join(command_line(pid) or ['unknown'])[:200]})"


def _lines(path: Path) -> list[str]:
    with contextlib.suppress(FileNotFoundError, PermissionError):
        return path.read_text(errors="replace").splitlines()
    return []


def _number(words: list[str], index: int) -> int | None:
    with contextlib.suppress(ValueError, IndexError):
        return int(words[index])
    return None
