"""The running server: started directly, known to be ready, stopped within bounds."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

import psycopg
from psycopg import conninfo

from infrastructure.embedded_postgres.cluster import SUPERUSER, Binaries
from infrastructure.embedded_postgres.errors import EmbeddedPostgresError, failure
from infrastructure.embedded_postgres.launcher import Launcher

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


READY_SECONDS = 60.0
# Replaying a gigabyte of log on a slow disk takes minutes; giving up would only begin it anew, for ever.
RECOVERED_SECONDS = 1800.0
# PostgreSQL's own default.
LEAST_CONNECTIONS = 100
# "… starting up", "… not yet accepting connections", "… in recovery mode": these pass.
_RECOVERING = "FATAL: the database system is "
_STOPPING = ((signal.SIGINT, 20.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 5.0))


class Postmaster:
    """One run of the server on `cluster`, reached over a socket in `socket_directory`."""

    def __init__(
        self,
        cluster: Path,
        socket_directory: Path,
        port: int,
        log: ServerLog,
        binaries: Binaries,
        launcher: Launcher,
    ) -> None:
        self._cluster = cluster
        self._socket_directory = socket_directory
        self._port = port
        self._log = log
        self._postgres = binaries.postgres
        self._launcher = launcher
        self._settings: Mapping[str, str] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._readiness: Readiness | None = None

    def configure(self, connections: int) -> None:
        """Fix what the service relies on; all else, durability included, is as in postgresql.conf.

        That has the last word on the connections, too, where it allows for more.
        """
        settings = {
            "listen_addresses": "",
            "port": str(self._port),
            "unix_socket_directories": f'"{self._socket_directory}"',
            "unix_socket_permissions": "0700",
            "logging_collector": "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        compression = {"wal_compression": "lz4", "default_toast_compression": "lz4"}
        if self._configured("wal_compression", compression) is not None:
            settings |= compression
        allowed, wanted = self._configured("max_connections", {}), max(connections, LEAST_CONNECTIONS)
        if allowed is not None and int(allowed) < wanted:
            settings["max_connections"] = str(wanted)
        self._settings = settings

    def launch(self) -> None:
        """Start it and return at once. The server ends with the thread that calls this. Raises OSError."""
        argv: list[str | Path] = [self._postgres, "-D", self._cluster, *_options(self._settings)]
        with self._log.open() as output:
            # A fast shutdown when this process dies: no connection survives, and nothing is left to recover.
            self._process = self._launcher.popen(argv, output=output, ends_by=signal.SIGINT)
        self._readiness = Readiness(self._process, self.conninfo("postgres"), self._failure)

    def is_ready(self) -> bool:
        """Whether it accepts connections since it was launched; see `Readiness`."""
        assert self._readiness is not None, "launch it first"
        return self._readiness.reached()

    def conninfo(self, database: str) -> str:
        """Return how to reach a database of this server."""
        return conninfo.make_conninfo(
            host=str(self._socket_directory), port=self._port, user=SUPERUSER, dbname=database
        )

    def poll(self) -> int | None:
        """Return the exit code of a server that has ended, None while it runs."""
        return self._process.poll() if self._process else None

    def stop(self) -> None:
        """Disconnect everybody and shut down; harsher when that takes too long (35 seconds at worst)."""
        if self._process is None:
            return
        for number, seconds in _STOPPING:
            self._process.send_signal(number)  # does nothing once it has ended
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
                return

    def _configured(self, name: str, settings: Mapping[str, str]) -> str | None:
        """The value of a setting beside others; None when the server refuses those, or its configuration."""
        argv: list[str | Path] = [self._postgres, "-D", self._cluster, "-C", name, *_options(settings)]
        code, printed = self._launcher.run(argv, timeout_seconds=30)
        return printed[-1] if code == 0 else None

    def _failure(self, reason: str) -> EmbeddedPostgresError:
        return failure(self._cluster, reason, self._log.tail())


def _options(settings: Mapping[str, str]) -> list[str]:
    return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]


class Readiness:
    """Asks a server that was just started for a connection, and knows when that is in vain."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        dsn: str,
        failed: Callable[[str], EmbeddedPostgresError],
        *,
        ready_seconds: float = READY_SECONDS,
        recovered_seconds: float = RECOVERED_SECONDS,
    ) -> None:
        """`failed` makes an error of a reason."""
        self._process = process
        self._dsn = dsn
        self._failed = failed
        self._ready_seconds = ready_seconds
        self._recovered_seconds = recovered_seconds
        self._started = time.monotonic()

    def reached(self) -> bool:
        """Whether a connection is accepted now; takes five seconds at most.

        Raises what `failed` makes of the reason: at once when the process has ended or answers with an error,
        after `ready_seconds` when it does not answer, after `recovered_seconds` when it answers that it still
        recovers.
        """
        try:
            psycopg.connect(self._dsn, connect_timeout=5).close()
        except psycopg.OperationalError as error:
            refusal = " ".join(str(error).split())
        else:
            return True
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._process.wait(0.01)
            raise self._failed(f"it ended with {code}")
        if "FATAL:" in refusal and _RECOVERING not in refusal:
            raise self._failed(f"it accepts nobody ({refusal})")
        allowed = self._recovered_seconds if _RECOVERING in refusal else self._ready_seconds
        if time.monotonic() - self._started > allowed:
            raise self._failed(f"it was not ready after {allowed:.0f} seconds ({refusal})")
        return False
