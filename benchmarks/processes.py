"""The service's roles, its Postgres and the other end of its calls, each a process of its own."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from benchmarks import usage
from benchmarks.sink import Told
from infrastructure.audit_log.keys import ensure_key
from infrastructure.migrator import migrate
from tests.support import postgres
from tests.support.service import Service, until

ROOT = Path(__file__).resolve().parents[1]
# Durability stays as it is: fsync and synchronous_commit are on. Checkpoints in the middle of a run, and a
# cache smaller than the tables, would measure the disk instead.
POSTGRES_SETTINGS = {
    "shared_buffers": "1GB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "30min",
    "max_connections": "200",
}


@dataclass(frozen=True)
class Server:
    """A running Postgres and its first process."""

    dsn: str
    pid: int

    @contextlib.contextmanager
    def database(self, name: str) -> Iterator[str]:
        """A migrated database, dropped afterwards."""
        identifier = sql.Identifier(name)
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(identifier))
            try:
                dsn = make_conninfo(self.dsn, dbname=name)
                migrate(dsn)
                yield dsn
            finally:
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(identifier))

    def settle(self, dsn: str) -> None:
        """Do now what would otherwise fall into the measurement: statistics, vacuum, a checkpoint."""
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")
            connection.execute("CHECKPOINT")


@contextlib.contextmanager
def postgres_server() -> Iterator[Server]:
    """The embedded Postgres, tuned as a database of one's own would be; on a disk, where fsync costs."""
    with postgres.embedded(POSTGRES_SETTINGS, parent=Path("/var/tmp")) as dsn:
        with psycopg.connect(dsn) as connection:
            first = usage.parent_of(connection.info.backend_pid)
        yield Server(dsn, first)


@dataclass(frozen=True)
class Sink:
    """The other end of all calls."""

    url: str
    pid: int

    def told(self) -> Told:
        """What it has seen since it was last asked."""
        return msgspec.json.decode(_get(f"{self.url}/stats"), type=Told)

    def count(self) -> int:
        """How many calls it has seen since `told`."""
        return int(_get(f"{self.url}/count"))


@contextlib.contextmanager
def sink() -> Iterator[Sink]:
    """A running sink."""
    with _module("benchmarks.sink") as (port, pid):
        yield Sink(f"http://127.0.0.1:{port}", pid)


@contextlib.contextmanager
def hello() -> Iterator[str]:
    """The URL of a running endpoint that does nothing."""
    with _module("benchmarks.hello") as (url, _):
        yield url


@dataclass
class Roles:
    """Running roles, each with how to reach it and its process."""

    server: Server
    sink: Sink
    folder: Path
    dsn: str
    services: dict[str, Service] = field(default_factory=dict)
    pids: dict[str, int] = field(default_factory=dict)

    def start(self, name: str) -> None:
        """Start a role; it serves when this returns. `name` may have a number: scheduler-2."""
        home = self.folder / name
        home.mkdir(parents=True)
        key = self.folder / "audit.key"  # one for all: whoever seals signs with it
        ensure_key(key)
        service = self.services[name] = Service(
            home, name.partition("-")[0], DATABASE_URL=self.dsn, AUDIT_KEY_FILE=str(key)
        )
        service.start(healthy=False)
        [process] = service.processes()
        self.pids[name] = process.pid

    def cpu(self) -> dict[str, float]:
        """CPU seconds of every process that has to do with an execution, so far."""
        pids = {**self.pids, "postgres": self.server.pid, "sink": self.sink.pid}
        return {name: usage.cpu_seconds(pid) for name, pid in pids.items()}

    def close(self) -> None:
        """End them all, the schedulers first."""
        for service in reversed(self.services.values()):
            service.close()


@contextlib.contextmanager
def roles(
    server: Server,
    sink: Sink,
    folder: Path,
    dsn: str,
    names: tuple[str, ...],
    *,
    healthy: bool,
) -> Iterator[Roles]:
    """Roles on a database: serving, and `healthy` when that is asked for."""
    running = Roles(server, sink, folder, dsn)
    try:
        for name in names:
            running.start(name)
        # The API's own answer is about all roles.
        for name, service in running.services.items() if healthy else ():
            if name != "api" or any(each.startswith("scheduler") for each in names):
                until(service.is_healthy, f"{name} is healthy")
        yield running
    finally:
        running.close()


@contextlib.contextmanager
def _module(name: str) -> Iterator[tuple[str, int]]:
    """The first line that a module prints, and its process."""
    command = [sys.executable, "-m", name]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().decode().strip(), process.pid
        finally:
            process.kill()


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return bytes(answer.read())
