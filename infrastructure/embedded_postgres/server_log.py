"""The file that the server writes its messages to."""

import os
from pathlib import Path
from typing import IO

_ROTATED_ABOVE_BYTES = 16 * 1024 * 1024
_TAIL_LINES = 10
_TAIL_BYTES = 8192


class ServerLog:
    """`postgres.log`, kept apart by start: `tail` shows nothing of an earlier run.

    Opened here and inherited by the server, so its account needs no right to the directory.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / "postgres.log"
        self._start = 0

    def open(self) -> IO[bytes]:
        """Open the file for appending; a large one becomes `postgres.log.1` first. Raises OSError."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists() and self.path.stat().st_size > _ROTATED_ABOVE_BYTES:
            self.path.replace(self.path.with_name("postgres.log.1"))
        fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._start = os.fstat(fd).st_size
        return os.fdopen(fd, "wb")

    def tail(self) -> list[str]:
        """Return the last lines that were written since `open`."""
        with self.path.open("rb") as file:
            file.seek(max(self._start, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            return [line for line in file.read().decode(errors="replace").splitlines() if line][-_TAIL_LINES:]
