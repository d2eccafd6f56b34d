"""The whole life of an embedded PostgreSQL: lock, place, settle, make, start, stop."""

import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import psycopg
from psycopg import sql

from infrastructure.embedded_postgres import placement
from infrastructure.embedded_postgres.account import account_for, account_of_this_process
from infrastructure.embedded_postgres.binaries import Binaries, NotExecutable, find_bin_dir, inspect
from infrastructure.embedded_postgres.cluster import HALF_MADE, ensure_cluster
from infrastructure.embedded_postgres.errors import DataDirectoryUnusable, StartFailed, failure
from infrastructure.embedded_postgres.launcher import Launcher
from infrastructure.embedded_postgres.leftovers import remove_half_made, settle
from infrastructure.embedded_postgres.lock import DirectoryLock
from infrastructure.embedded_postgres.postmaster import LEAST_CONNECTIONS, Postmaster
from infrastructure.embedded_postgres.readable_copy import readable_copy
from infrastructure.embedded_postgres.server_log import ServerLog
from infrastructure.embedded_postgres.socket_directory import open_socket_directory, remove_stale_sockets


class EmbeddedPostgres:
    """A PostgreSQL server that belongs to this process, with its data under `data_dir`.

    It listens on a Unix socket alone (`port` is only a part of that socket's name). It is stopped by `stop`,
    and goes when this process goes, `kill -9` included. `postgres.log` is in `log_dir`, else in `data_dir`.
    It allows for `connections` at least. `environ` may hold CHRONOLEDGER_PG_BIN and CHRONOLEDGER_STATE_DIR.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        database: str = "chronoledger",
        log_dir: Path | None = None,
        port: int = 5432,
        connections: int = LEAST_CONNECTIONS,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._data_dir = data_dir.resolve()
        self._database = database
        self._log = ServerLog((log_dir or data_dir).resolve())
        self._port = port
        self._connections = connections
        self._environ = environ
        self._postmaster: Postmaster | None = None
        self._held = contextlib.ExitStack()

    def __enter__(self) -> str:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> str:
        """Return the libpq conninfo of the database, which exists and accepts connections then.

        A server that has died by itself may be started again. This blocks until the server is there, which
        takes minutes when much has to be recovered: whoever has other things to do meanwhile takes the three
        steps below instead. Call it on the main thread. Raises EmbeddedPostgresError, and leaves nothing
        running then, as each of the steps does.
        """
        _check_thread()
        self.prepare()
        try:
            self.launch()
            while not self.is_ready():
                pass
        except BaseException:
            self.stop()
            raise
        assert self._postmaster is not None
        return self._postmaster.conninfo(self._database)

    def prepare(self) -> None:
        """First: lock the directory, end what is left of earlier runs, make a cluster where there is none."""
        if self._postmaster and self._postmaster.poll() is None:
            raise StartFailed("this supervisor has started it already")
        self.stop()
        with self._undone_by_failure():
            self._postmaster = self._prepared()
            self._postmaster.configure(self._connections)

    def launch(self) -> None:
        """Second, on the main thread, because Linux ends the server with the thread that starts it."""
        _check_thread()
        assert self._postmaster is not None, "prepare it first"
        with self._undone_by_failure():
            self._postmaster.launch()

    def is_ready(self) -> bool:
        """Third, asked until it is true: whether the database accepts connections; takes 5 s at most."""
        postmaster = self._postmaster
        assert postmaster is not None, "launch it first"
        with self._undone_by_failure():
            if not postmaster.is_ready():
                return False
            _ensure_database(postmaster.conninfo("postgres"), self._database)
            return True

    def poll(self) -> int | None:
        """Return the exit code when the server has died by itself, None while it runs or is not wanted."""
        return self._postmaster.poll() if self._postmaster else None

    def stop(self) -> None:
        """Shut down within 35 seconds and unlock the data directory; a second time does nothing."""
        postmaster, self._postmaster = self._postmaster, None
        try:
            if postmaster:
                postmaster.stop()
        finally:
            self._held.close()

    @contextlib.contextmanager
    def _undone_by_failure(self) -> Iterator[None]:
        try:
            yield
        except (OSError, subprocess.SubprocessError, psycopg.Error) as error:
            self.stop()
            raise _explained(self._data_dir, error) from error
        except BaseException:
            self.stop()
            raise

    def _prepared(self) -> Postmaster:
        self._data_dir.mkdir(parents=True, exist_ok=True)
        self._lock(self._data_dir)
        state_dir = placement.state_dir_of(self._environ)
        home = placement.recorded_home(self._data_dir, state_dir)
        launcher = Launcher(account_for(home / "postgres"), self._environ)
        binaries = _runnable(find_bin_dir(self._environ), launcher, state_dir)
        can_enter = partial(launcher.can_enter, program=binaries.postgres)
        home = placement.reachable_home(self._data_dir, home, launcher.account, state_dir, can_enter)
        if home != self._data_dir:  # a copy of the data directory points at the same cluster
            self._lock(home)
        socket_directory = open_socket_directory(home, launcher.account, self._port, can_enter)
        self._held.callback(_remove_if_empty, socket_directory)
        cluster = home / "postgres"
        remove_half_made(home, HALF_MADE)
        settle(cluster)
        remove_stale_sockets(socket_directory)
        ensure_cluster(cluster, binaries, launcher)
        return Postmaster(cluster, socket_directory, self._port, self._log, binaries, launcher)

    def _lock(self, directory: Path) -> None:
        lock = DirectoryLock(directory)
        lock.acquire()
        self._held.callback(lock.release)


def _check_thread() -> None:
    if threading.current_thread() is not threading.main_thread():
        raise StartFailed(
            "it was asked for on a thread that may end before the process: call it on the main one"
        )


def _runnable(bin_dir: Path, launcher: Launcher, state_dir: Path) -> Binaries:
    try:
        return inspect(bin_dir, launcher)
    except NotExecutable:
        if not launcher.account.is_other:
            raise
    copy = readable_copy(bin_dir, placement.open_state_dir(state_dir))
    return inspect(copy, launcher)


def _explained(data_dir: Path, error: OSError | subprocess.SubprocessError | psycopg.Error) -> Exception:
    if isinstance(error, OSError):
        return DataDirectoryUnusable.because(data_dir, error, account_of_this_process().name)
    return failure(data_dir, "one of its first steps failed", str(error).splitlines())


def _remove_if_empty(directory: Path) -> None:
    with contextlib.suppress(OSError):
        directory.rmdir()


def _ensure_database(server: str, name: str) -> None:
    database = sql.Identifier(name)
    with psycopg.connect(server, autocommit=True) as connection:
        if connection.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchone() is not None:
            return
        connection.execute(sql.SQL("CREATE DATABASE {}").format(database))
        # The details of a refused row hold its values, and payloads and header values belong in no log.
        connection.execute(sql.SQL("ALTER DATABASE {} SET log_error_verbosity = terse").format(database))
