"""One supervisor a directory at a time."""

import fcntl
import os
import weakref
from pathlib import Path

from infrastructure.embedded_postgres.errors import DataDirectoryInUse
from infrastructure.embedded_postgres.processes import command_line


class DirectoryLock:
    """A flock on `<directory>/lock`, which ends with this process however it ends."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._fd: int | None = None

    def acquire(self) -> None:
        """Take the lock and write this process's id into its file.

        Raises DataDirectoryInUse, which names the holder, and OSError when the file cannot be made or locked.
        """
        path = self._directory / "lock"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError:
            holder = _holder(os.pread(fd, 32, 0))
            os.close(fd)
            raise DataDirectoryInUse(self._directory, holder) from None
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd
        _held.add(self)

    def release(self) -> None:
        """Let go; a second time does nothing. The file stays: two processes could lock two files else."""
        if self._fd is not None:
            os.ftruncate(self._fd, 0)
        self.forget()

    def forget(self) -> None:
        """Close this process's copy of the lock, and leave the lock to whoever else has one."""
        if self._fd is not None:
            os.close(self._fd)
        self._fd = None
        _held.discard(self)


def _holder(written: bytes) -> str:
    if not written.strip().isdigit():
        return "another process"
    pid = int(written)
    command = " ".join(command_line(pid) or [])
    return f"process {pid} ({command[:200]})" if command else f"process {pid}"


# A child forked without exec shares the lock, and would keep it after this process is gone.
_held: weakref.WeakSet[DirectoryLock] = weakref.WeakSet()


def _forget_in_child() -> None:
    for lock in list(_held):
        lock.forget()


os.register_at_fork(after_in_child=_forget_in_child)
