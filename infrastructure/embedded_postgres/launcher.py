"""Child processes that run as the cluster's account and do not outlive the process that started them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from infrastructure.embedded_postgres.errors import DataDirectoryUnusable, StartFailed

# `postgres` exists for this very purpose. `nobody` is everywhere, but shared with whatever else runs as it.
_UNPRIVILEGED = ("postgres", "nobody")


@dataclass(frozen=True)
class Account:
    """An existing account of this machine; none is ever created."""

    name: str
    uid: int
    gid: int

    @property
    def is_other(self) -> bool:
        """Whether becoming this account means to give up root."""
        return self.uid != os.geteuid()


def account_for(cluster: Path) -> Account:
    """Return the account that may run `cluster`: its owner, or before it exists this process's own.

    In the place of root it is an unprivileged one. Raises DataDirectoryUnusable when the owner is root or,
    for a normal user, somebody else.
    """
    if cluster.exists():
        return _owner(cluster)
    return _unprivileged() if os.geteuid() == 0 else account_of_this_process()


def account_of_this_process() -> Account:
    """Return the account as which this process acts."""
    return _by_uid(os.geteuid(), os.getegid())


def _owner(cluster: Path) -> Account:
    status = cluster.stat()
    owner = _by_uid(status.st_uid, status.st_gid)
    if owner.uid == 0:
        advice = f"give it to an unprivileged account: chown -R {_unprivileged().name} {cluster}"
        raise DataDirectoryUnusable(cluster, "it belongs to root, as whom PostgreSQL refuses to run", advice)
    if os.geteuid() not in {0, owner.uid}:
        mine = account_of_this_process()
        reason = f"it belongs to {owner.name}, and this process runs as {mine.name}"
        raise DataDirectoryUnusable(cluster, reason, f"run as {owner.name}, or choose another DATA_DIR")
    return owner


def _unprivileged() -> Account:
    for name in _UNPRIVILEGED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    raise StartFailed(
        "it refuses to run as root, and this machine has no account postgres or nobody to run it: "
        "start Chronoledger as a normal user"
    )


def _by_uid(uid: int, gid: int) -> Account:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return Account(f"uid {uid}", uid, gid)
    return Account(entry.pw_name, uid, entry.pw_gid)


_PR_SET_PDEATHSIG = 1
# Looked up before any fork: a child between fork and exec should not load libraries. Only Linux has it.
_prctl: Callable[..., int] | None = getattr(ctypes.CDLL(None), "prctl", None)

# PGDATA, PGOPTIONS and their like would bend the server to somebody else's wishes.
_INHERITED = ("PATH", "LD_LIBRARY_PATH")


@dataclass(frozen=True)
class Launcher:
    """Starts programs as `account`, with a clean environment, in a session of their own."""

    account: Account
    environ: Mapping[str, str]

    def popen(
        self,
        argv: Sequence[str | Path],
        *,
        output: int | IO[bytes],
        ends_by: signal.Signals,
        directory: Path = Path("/"),
    ) -> subprocess.Popen[bytes]:
        """Start `argv` in `directory`; the kernel sends it `ends_by` when the calling *thread* ends.

        The session of its own keeps a terminal's Ctrl-C away from it, so that the service can drain first.
        Raises OSError when the account may not execute it, SubprocessError when it may not enter `directory`.
        """
        drop = self.account.is_other
        return subprocess.Popen(  # noqa: S603 - our own programs, no shell
            [os.fspath(part) for part in argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=self._environment(),
            cwd="/",
            umask=0o077,
            start_new_session=True,
            user=self.account.uid if drop else None,
            group=self.account.gid if drop else None,
            extra_groups=[] if drop else None,
            # Nothing else can set PDEATHSIG in the child *after* setuid, which clears it; a wrapper would
            # have to be executable for the account, and Python often is not. It is safe here: the
            # service has one thread at its start, and the child imports nothing and only makes system calls.
            preexec_fn=_tied_to_parent(ends_by, directory),  # noqa: PLW1509
        )

    def run(
        self, argv: Sequence[str | Path], *, timeout_seconds: float, directory: Path = Path("/")
    ) -> tuple[int, list[str]]:
        """Run `argv` to its end; return its exit code and the lines it printed. Raises as `popen` does."""
        with self.popen(argv, output=subprocess.PIPE, ends_by=signal.SIGKILL, directory=directory) as child:
            try:
                printed, _ = child.communicate(timeout=timeout_seconds)
            except BaseException:
                child.kill()
                raise
        return child.returncode, printed.decode(errors="replace").splitlines()

    def can_enter(self, directory: Path, program: Path) -> bool:
        """Whether the account may go to `directory`, found out by running `program --version` there."""
        if not self.account.is_other:
            return os.access(directory, os.X_OK)
        try:
            self.run([program, "--version"], timeout_seconds=30, directory=directory)
        except subprocess.SubprocessError:  # all that comes of the refused chdir
            return False
        return True

    def _environment(self) -> dict[str, str]:
        kept = {name: self.environ[name] for name in _INHERITED if name in self.environ}
        return kept | {"LC_ALL": "C", "TZ": "UTC"}


def _tied_to_parent(ends_by: signal.Signals, directory: Path) -> Callable[[], None]:
    parent = os.getpid()

    def in_child() -> None:
        if _prctl is not None:
            _prctl(_PR_SET_PDEATHSIG, int(ends_by), 0, 0, 0)
        if os.getppid() != parent:  # it died before the signal was asked for
            os._exit(1)
        os.chdir(directory)

    return in_child


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
