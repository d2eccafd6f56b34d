"""Child processes that run as the cluster's account and do not outlive the process that started them."""

import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from infrastructure.embedded_postgres.account import Account

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
