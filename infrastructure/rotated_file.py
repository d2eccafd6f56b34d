"""A file that several processes append to, whole chunks only, and that is rotated when it is full."""

from __future__ import annotations

import fcntl
import os
from logging.handlers import RotatingFileHandler
from pathlib import Path


class RotatedFile:
    """Appends under a lock on the file itself, so that chunks of several processes never mix.

    Over `max_bytes` it becomes `<name>.1`, the older ones move on, and the one past `backups` is removed.
    """

    def __init__(self, path: Path, *, max_bytes: int, backups: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        # Only its renaming is used: with `delay` it opens nothing, and its buffered stream would keep what a
        # full disk refused.
        self._names = RotatingFileHandler(path, maxBytes=max_bytes, backupCount=backups, delay=True)

    def append(self, chunk: bytes) -> None:
        """Append all of the chunk or nothing of it; the directory is made if need be. Raises OSError."""
        descriptor = self._open_locked()
        try:
            size = os.fstat(descriptor).st_size
            if size == 0 or size + len(chunk) <= self._max_bytes:
                _write_whole(descriptor, chunk, size)
                return
            self._names.doRollover()
        finally:
            os.close(descriptor)
        self.append(chunk)

    def _open_locked(self) -> int:
        """Open and lock the file that has the name: another process may rotate it while this one waits."""
        while True:
            descriptor = self._open()
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                if os.path.samestat(os.fstat(descriptor), os.stat(self._path)):
                    return descriptor
            except FileNotFoundError:
                pass
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            return os.open(self._path, flags, 0o644)
        except FileNotFoundError:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(self._path, flags, 0o644)


def _write_whole(descriptor: int, chunk: bytes, size: int) -> None:
    rest = memoryview(chunk)
    try:
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    except OSError:
        os.ftruncate(descriptor, size)  # no half lines, whatever a full disk let through
        raise
