"""The running server: started directly, known to be ready, stopped within bounds."""

import contextlib
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
from psycopg import conninfo

from infrastructure.embedded_postgres.binaries import Binaries
from infrastructure.embedded_postgres.cluster import SUPERUSER
from infrastructure.embedded_postgres.errors import EmbeddedPostgresError, failure
from infrastructure.embedded_postgres.launcher import Launcher
from infrastructure.embedded_postgres.server_log import ServerLog

READY_SECONDS = 60.0
# Replaying a gigabyte of log on a slow disk takes minutes; giving up would only begin it anew, for ever.
RECOVERED_SECONDS = 1800.0
# "… starting up", "… not yet accepting connections", "… in recovery mode": these pass.
_RECOVERING = "FATAL: the database system is "
_STOPPING = ((signal.SIGINT, 20.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 5.0))


class Postmaster:
    """One run of the server on `cluster`, reached over a socket in `socket_directory`."""

    def __init__(self, cluster: Path, socket_directory: Path, port: int, log: ServerLog) -> None:
        self._cluster = cluster
        self._socket_directory = socket_directory
        self._port = port
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, binaries: Binaries, launcher: Launcher) -> None:
        """Return once the server accepts connections. Raises StartFailed, or DataDirectoryUnusable."""
        settings = self._settings(binaries, launcher)
        argv: list[str | Path] = [binaries.postgres, "-D", self._cluster]
        for name, value in settings.items():
            argv += ["-c", f"{name}={value}"]
        with self._log.open() as output:
            # A fast shutdown when this process dies: no connection survives, and nothing is left to recover.
            self._process = launcher.popen(argv, output=output, ends_by=signal.SIGINT)
        wait_until_ready(self._process, self.conninfo("postgres"), self._failure)

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

    def _settings(self, binaries: Binaries, launcher: Launcher) -> dict[str, str]:
        """Fix what the service relies on; all else, durability included, is as in postgresql.conf."""
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
        return settings | (compression if self._understands(compression, binaries, launcher) else {})

    def _understands(self, settings: dict[str, str], binaries: Binaries, launcher: Launcher) -> bool:
        argv: list[str | Path] = [binaries.postgres, "-D", self._cluster, "-C", "wal_compression"]
        for name, value in settings.items():
            argv += ["-c", f"{name}={value}"]
        code, _ = launcher.run(argv, timeout_seconds=30)
        return code == 0

    def _failure(self, reason: str) -> EmbeddedPostgresError:
        return failure(self._cluster, reason, self._log.tail())


def wait_until_ready(
    process: subprocess.Popen[bytes],
    dsn: str,
    failed: Callable[[str], EmbeddedPostgresError],
    *,
    ready_seconds: float = READY_SECONDS,
    recovered_seconds: float = RECOVERED_SECONDS,
) -> None:
    """Return at the first connection that is accepted.

    Raises what `failed` makes of the reason: at once when the process ends or answers with an error, after
    `ready_seconds` when it does not answer, after `recovered_seconds` when it answers that it still recovers.
    """
    started = time.monotonic()
    while True:
        try:
            psycopg.connect(dsn, connect_timeout=5).close()
        except psycopg.OperationalError as error:
            refusal = " ".join(str(error).split())
        else:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = process.wait(0.01)
            raise failed(f"it ended with {code}")
        if "FATAL:" in refusal and _RECOVERING not in refusal:
            raise failed(f"it accepts nobody ({refusal})")
        allowed = recovered_seconds if _RECOVERING in refusal else ready_seconds
        if time.monotonic() - started > allowed:
            raise failed(f"it was not ready after {allowed:.0f} seconds ({refusal})")
