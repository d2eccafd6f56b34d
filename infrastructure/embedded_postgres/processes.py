"""What can be seen of other processes, and how those of a cluster are ended without hitting a wrong one."""

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterable
from pathlib import Path

_PROC = Path("/proc")
_GONE = (FileNotFoundError, ProcessLookupError)


def command_line(pid: int) -> list[str] | None:
    """Return the arguments of a process: none for a dead one or a zombie, None where they cannot be seen."""
    try:
        shown = (_PROC / str(pid) / "cmdline").read_bytes()
    except PermissionError:
        return None
    except _GONE:
        return [] if _PROC.joinpath("self").exists() or not _exists(pid) else None
    return [os.fsdecode(part) for part in shown.rstrip(b"\0").split(b"\0")] if shown else []


def serves(pid: int, cluster: Path) -> bool | None:
    """Whether a process is a PostgreSQL on `cluster`; None when that cannot be seen.

    Neither its name nor its working directory proves it alone; together they do, since a server's working
    directory is always its cluster.
    """
    arguments = command_line(pid)
    if not arguments:
        return None if arguments is None else False
    if not _is_postgres(arguments[0]):
        return False
    try:
        return (_PROC / str(pid) / "cwd").samefile(cluster)
    except _GONE:
        return False
    except PermissionError:  # root in a container without CAP_SYS_PTRACE sees only the command line
        return _recorded_on(pid, arguments, cluster)


def serving(cluster: Path) -> list[int]:
    """Return every process that surely is a PostgreSQL on `cluster`."""
    pids = [int(entry.name) for entry in _PROC.glob("[0-9]*")]
    return [pid for pid in pids if serves(pid, cluster)]


def is_postmaster(pid: int) -> bool:
    """Whether a PostgreSQL process is the parent of the others: those show a title, not a command."""
    arguments = command_line(pid) or ["postgres: gone"]
    return not arguments[0].startswith("postgres:")


def end(pids: Iterable[int], cluster: Path, by: Iterable[tuple[signal.Signals, float]]) -> list[int]:
    """Send those of `pids` that serve `cluster` one signal after the other, each with its seconds to go.

    Returns those that are still there. A pidfd names one process for good, so a pid that was given to another
    process since it was looked up is not touched.
    """
    with contextlib.ExitStack() as opened:
        left = {}
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                left[pid] = os.pidfd_open(pid)
                opened.callback(os.close, left[pid])
        left = {pid: fd for pid, fd in left.items() if serves(pid, cluster)}
        for number, seconds in by:
            for fd in left.values():
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(fd, number)
            left = _still_there(left, seconds)
        return list(left)


def _still_there(handles: dict[int, int], seconds: float) -> dict[int, int]:
    deadline = time.monotonic() + seconds
    poll = select.poll()
    for fd in handles.values():
        poll.register(fd, select.POLLIN)
    left = dict(handles)
    while left and (remaining := deadline - time.monotonic()) > 0:
        for ended, _ in poll.poll(remaining * 1000):
            poll.unregister(ended)
            left = {pid: fd for pid, fd in left.items() if fd != ended}
    return left


def _is_postgres(command: str) -> bool:
    return command.startswith("postgres:") or os.path.basename(command) in {"postgres", "postmaster"}


def _recorded_on(pid: int, arguments: list[str], cluster: Path) -> bool | None:
    """Both sides must say so: in another container the same path is another directory."""
    try:
        recorded = (cluster / "postmaster.pid").read_text().split("\n", 1)[0]
        named = Path(arguments[arguments.index("-D") + 1]).samefile(cluster)
    except (OSError, ValueError, IndexError):
        return None
    return named and recorded == str(pid)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
