"""A Postgres that a test owns: it may shut it down and start it again, in good order or as a crash does."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Self

from tests.support.supervisor import embedded, eventually, postmaster_of


class OwnPostgres:
    """A server under `folder`, which every account must be able to enter; `dsn` stays the same.

    Use it on the main thread: the server ends with the thread that starts it.
    """

    def __init__(self, folder: Path, *, connections: int = 200) -> None:
        self._cluster = folder / "postgres-data/postgres"
        self._server = embedded(folder / "postgres-data", connections=connections)
        self.dsn = ""

    def __enter__(self) -> Self:
        self.dsn = self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    def restart(self) -> None:
        """A fast shutdown, which loses every connection, and a start."""
        self._server.stop()
        assert self._server.start() == self.dsn

    def restart_immediately(self) -> None:
        """A shutdown without a checkpoint, which leaves the start to recover from the write-ahead log."""
        os.kill(postmaster_of(self._cluster), signal.SIGQUIT)
        eventually(lambda: self._server.poll() is not None)
        assert self._server.start() == self.dsn
