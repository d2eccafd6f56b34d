"""The whole life of an embedded PostgreSQL: lock, place, settle, make, start, stop."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import psycopg
from psycopg import sql

from infrastructure.embedded_postgres import cluster as placement
from infrastructure.embedded_postgres.cluster import (
    HALF_MADE,
    Binaries,
    NotExecutable,
    ensure_cluster,
    find_bin_dir,
    inspect,
    open_socket_directory,
    readable_copy,
    remove_stale_sockets,
)
from infrastructure.embedded_postgres.errors import (
    DataDirectoryInUse,
    DataDirectoryUnusable,
    StartFailed,
    failure,
)
from infrastructure.embedded_postgres.launcher import (
    Launcher,
    account_for,
    account_of_this_process,
    command_line,
    end,
    is_postmaster,
    serves,
    serving,
)
from infrastructure.embedded_postgres.postmaster import LEAST_CONNECTIONS, Postmaster, ServerLog

# A fast shutdown, then an immediate one: in that, the postmaster kills what does not obey within 5 seconds.
_POSTMASTER = ((signal.SIGINT, 20.0), (signal.SIGQUIT, 10.0))
# What a postmaster does to its children when one of them has crashed. Without it, nobody needs them any more.
_ORPHANS = ((signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))
_SHARED_MEMORY_SECONDS = 10.0
_SHARED_MEMORY = Path("/proc/sysvipc/shm")


def remove_half_made(home: Path, pattern: str) -> None:
    """Remove clusters whose making was interrupted, and end what still works on them."""
    for half_made in home.glob(pattern):
        end(serving(half_made), half_made, [(signal.SIGKILL, 5.0)])
        shutil.rmtree(half_made, ignore_errors=True)  # what resists now is in nobody's way: names are random


def settle(cluster: Path) -> None:
    """Return once no process serves `cluster` and no stale `postmaster.pid` can mislead the next postmaster.

    Only a process that surely is a PostgreSQL on this very directory is stopped. Raises DataDirectoryInUse
    when one does not go, or when it cannot be seen whether it is one.
    """
    _stop_servers(cluster)
    pid_file = cluster / "postmaster.pid"
    lines = _lines(pid_file)
    _wait_for_shared_memory(cluster, lines)
    if pid := _number(lines, 0):
        # The file of a standalone server holds its pid negated.
        if serves(abs(pid), cluster) is None:
            raise DataDirectoryInUse(cluster, _named(abs(pid)))
        pid_file.unlink(missing_ok=True)


def _stop_servers(cluster: Path) -> None:
    postmasters = [pid for pid in serving(cluster) if is_postmaster(pid)]
    left = end(postmasters, cluster, _POSTMASTER) or end(serving(cluster), cluster, _ORPHANS)
    if left:
        raise DataDirectoryInUse(cluster, _named(left[0]))


def _wait_for_shared_memory(cluster: Path, pid_file: list[str]) -> None:
    """Wait for orphans that cannot be seen: a new postmaster refuses while they hold the old memory."""
    key_and_id = pid_file[6].split() if len(pid_file) > 6 else []
    segment = _number(key_and_id, 1)
    deadline = time.monotonic() + _SHARED_MEMORY_SECONDS
    while segment is not None and _attached(segment):
        if time.monotonic() > deadline:
            raise DataDirectoryInUse(cluster, "PostgreSQL processes without a parent (see ps -ef)")
        time.sleep(0.02)


def _attached(segment: int) -> bool:
    rows = [line.split() for line in _lines(_SHARED_MEMORY)]
    return any(row[1] == str(segment) and row[6] != "0" for row in rows if len(row) > 6)


def _named(pid: int) -> str:
    return f"process {pid} ({' '.join(command_line(pid) or ['unknown'])[:200]})"


def _lines(path: Path) -> list[str]:
    with contextlib.suppress(FileNotFoundError, PermissionError):
        return path.read_text(errors="replace").splitlines()
    return []


def _number(words: list[str], index: int) -> int | None:
    with contextlib.suppress(ValueError, IndexError):
        return int(words[index])
    return None


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
