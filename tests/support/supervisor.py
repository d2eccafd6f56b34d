"""Supervisors of an embedded Postgres in processes of their own, and looks at what they leave behind."""

import contextlib
import os
import pwd
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg

from infrastructure.embedded_postgres.launcher import command_line
from infrastructure.embedded_postgres.supervisor import EmbeddedPostgres
from tests.support.places import new_folder

NOBODY = pwd.getpwnam("nobody")
_ROOT = Path(__file__).parents[2]
_SCRIPT = """
import os, sys, time
from pathlib import Path
from infrastructure.embedded_postgres import launcher
from infrastructure.embedded_postgres.errors import EmbeddedPostgresError
from infrastructure.embedded_postgres.supervisor import EmbeddedPostgres
if "without-prctl" in sys.argv:
    launcher._prctl = None
server = EmbeddedPostgres(Path(sys.argv[1]))
try:
    print(server.start(), flush=True)
except EmbeddedPostgresError as error:
    sys.exit(f"{type(error).__name__}: {error}")
if "with-fork" in sys.argv and os.fork() == 0:
    os.setsid()
    os.closerange(0, 3)
    time.sleep(20)
    os._exit(0)
sys.stdin.read()
server.stop()
"""


class Supervisor:
    """A process that starts a server on `data_dir` and stops it when its input ends."""

    def __init__(
        self, data_dir: Path, *options: str, nobody: bool = False, through: tuple[str, ...] = ()
    ) -> None:
        account: dict[str, Any] = as_nobody() if nobody else {}
        self.process = subprocess.Popen(
            [*through, sys.executable, "-c", _SCRIPT, str(data_dir), *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd="/",
            env={"PYTHONPATH": str(_ROOT), "PYTHONDONTWRITEBYTECODE": "1", **environ(data_dir)},
            **account,
        )

    def dsn(self) -> str:
        """Return the server's address once it serves."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip() or self._fail()

    def refusal(self) -> str:
        """Return the error, on one line, with which the server was not started."""
        _, said = self.process.communicate(timeout=60)
        assert self.process.returncode == 1, said
        (line,) = said.splitlines()
        return str(line)

    def stop(self) -> None:
        """End it in order."""
        _, said = self.process.communicate("", timeout=60)
        assert self.process.returncode == 0, said

    def kill(self) -> None:
        """End it as a crash does."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe:
                pipe.close()

    def _fail(self) -> str:
        raise AssertionError(self.process.communicate(timeout=60)[1])


@contextlib.contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that every account can enter, and that goes with whoever opened it."""
    folder = new_folder()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def as_nobody() -> dict[str, Any]:
    """How `subprocess` makes a normal user of root."""
    return {"user": NOBODY.pw_uid, "group": NOBODY.pw_gid, "extra_groups": []}


def nobody_can_run_python() -> bool:
    """Whether `nobody` reaches this checkout and its interpreter."""
    probe = [sys.executable, "-c", "import infrastructure.embedded_postgres.supervisor"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        subprocess.run(probe, cwd=_ROOT, capture_output=True, check=True, **as_nobody())
        return True
    return False


def environ(data_dir: Path) -> dict[str, str]:
    """Variables that keep what root writes outside of a data directory within the test's own folder."""
    return {"PATH": os.environ["PATH"], "CHRONOLEDGER_STATE_DIR": str(data_dir.parent / "state")}


def embedded(data_dir: Path, *, connections: int = 100, **variables: str) -> EmbeddedPostgres:
    """A server of this process."""
    return EmbeddedPostgres(data_dir, connections=connections, environ=environ(data_dir) | variables)


def eventually(holds: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not true after {seconds} seconds"
        time.sleep(0.005)


def postmaster_of(cluster: Path) -> int:
    """The pid that a running server has written down."""
    return int((cluster / "postmaster.pid").read_text().splitlines()[0])


def is_gone(pid: int) -> bool:
    """Whether a process has ended, reaped or not."""
    return not command_line(pid)


def insert(dsn: str, count: int = 1) -> None:
    """Commit `count` rows, one by one."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (n serial)")
        for _ in range(count):
            connection.execute("INSERT INTO kept DEFAULT VALUES")


def kept(dsn: str) -> int:
    """How many committed rows are there."""
    return int(value(dsn, "SELECT count(*) FROM kept"))


def value(dsn: str, query: str) -> str:
    """The one value that a query gives."""
    with psycopg.connect(dsn) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return str(row[0])
