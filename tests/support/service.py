"""The service as a user runs it: processes, started, stopped, killed and looked at from outside."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import httpx
import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PROGRAM = Path(sys.executable).parent / "chronoledger"
# Generous: several suites may share a machine of two cores.
DEADLINE_SECONDS = 60.0
POLL_SECONDS = 0.02
# Asking costs those who are waited for: the longer they take, the less often they are asked.
LONGEST_POLL_SECONDS = 0.1
POLLS_SHARE = 1 / 20
TAIL_LINES = 60


def until[T](probe: Callable[[], T], what: str, *, seconds: float = DEADLINE_SECONDS) -> T:
    """The first true answer of `probe`; fails when there is none in time, and says what was waited for."""
    began = time.monotonic()
    while not (answer := probe()):
        waited = time.monotonic() - began
        if waited > seconds:
            raise AssertionError(f"not within {seconds:.0f} s: {what}; the last answer was {answer!r}")
        time.sleep(min(max(POLL_SECONDS, waited * POLLS_SHARE), LONGEST_POLL_SECONDS))
    return answer


class Process(NamedTuple):
    """A living process; `arguments` is its command line."""

    pid: int
    arguments: tuple[str, ...]


class Service:
    """One `chronoledger` process (`serve` unless told) with all that it starts, in a folder of its own.

    Whatever works in the folder or below it belongs to the service: that finds its children even when their
    parent is gone.
    """

    known: ClassVar[list[Service]] = []
    """Those whose log a failing test should show."""

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        account: Mapping[str, Any] | None = None,
        **variables: str,
    ) -> None:
        """`account` is what makes `subprocess` start it as somebody else."""
        self.folder = folder
        self.url = ""
        self.log = folder / "service.log"
        self._arguments = arguments or ("serve",)
        self._account = account or {}
        self._variables = variables
        self._process: subprocess.Popen[bytes] | None = None
        Service.known.append(self)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException as error:
            error.add_note(self.tail())
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, *, healthy: bool = True) -> None:
        """Return once it serves, and unless told otherwise is healthy."""
        written = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [PROGRAM, *self._arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=self.environment(),
                start_new_session=True,
                **self._account,
            )
        self.url = until(lambda: self._served(written), "the service tells its address")
        if healthy:
            until(self.is_healthy, "the service is healthy")

    def stop(self, seconds: float = DEADLINE_SECONDS) -> int:
        """Ask it to end; its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(seconds)

    def kill(self) -> None:
        """End every one of its processes as a crash does, the first one first, before any can react."""
        others = self.processes()
        if self._process is not None:
            self._process.kill()  # does nothing once it has been waited for
        for process in others:
            _signal(process.pid, signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
        until(self._is_gone, "every process is gone")

    def close(self) -> None:
        """Leave no process behind, whatever has happened."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            if self._process is not None and self._process.poll() is None:
                self.stop(20)
        self.kill()
        Service.known.remove(self)

    def is_healthy(self) -> bool:
        """Whether all of its parts say so."""
        with contextlib.suppress(httpx.TransportError):
            # Without verify=False each call reads all certificates of the machine first.
            return httpx.get(f"{self.url}/health", timeout=10, verify=False).status_code == 200
        return False

    def processes(self) -> list[Process]:
        """All of its processes, the database's among them."""
        folder = self.folder.resolve()
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended meanwhile, or is somebody else's
                if (entry / "cwd").readlink().is_relative_to(folder):
                    shown = (entry / "cmdline").read_bytes().rstrip(b"\0")
                    arguments = tuple(os.fsdecode(part) for part in shown.split(b"\0"))
                    found.append(Process(int(entry.name), arguments))
        return found

    def pid_of(self, role: str) -> int | None:
        """The process of a child role, or of the `postmaster`; None while there is none."""
        for process in self.processes():
            is_child = role in process.arguments and "--child" in process.arguments
            is_postmaster = role == "postmaster" and process.arguments[0].endswith("/postgres")
            if is_child or is_postmaster:
                return process.pid
        return None

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """A one-shot command in the same folder and with the same settings."""
        return subprocess.run(
            [PROGRAM, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE_SECONDS,
            cwd=self.folder,
            env=self.environment() | variables,
            **self._account,
        )

    def dsn(self) -> str:
        """How to reach its database."""
        return self._variables.get("DATABASE_URL") or (self.folder / "data/embedded.conninfo").read_text()

    def environment(self) -> dict[str, str]:
        """Nothing of the developer's settings; any free port unless a port is asked for."""
        kept = {name: text for name, text in os.environ.items() if name.startswith("COVERAGE_")}
        state = str(self.folder / "state")
        return {
            "PATH": os.environ["PATH"],
            "PORT": "0",
            "CHRONOLEDGER_STATE_DIR": state,
            **kept,
            **self._variables,
        }

    def tail(self) -> str:
        """The end of what it printed."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(lines[-TAIL_LINES:])

    def _served(self, skip: int) -> str:
        assert self._process is not None
        with self.log.open("rb") as printed:
            printed.seek(skip)
            lines = printed.read().splitlines()
        for line in lines:
            with contextlib.suppress(msgspec.DecodeError):
                if (entry := msgspec.json.decode(line)).get("event") == "serving":
                    return str(entry["url"])
        code = self._process.poll()
        assert code is None, f"the service ended with {code}:\n{self.tail()}"
        return ""

    def _is_gone(self) -> bool:
        """Kills again what was being born."""
        left = self.processes()
        for process in left:
            _signal(process.pid, signal.SIGKILL)
        return not left


def kill(pid: int | None) -> None:
    """End a process as a crash does."""
    assert pid is not None, "there is no such process"
    os.kill(pid, signal.SIGKILL)


def resident_mib(pid: int) -> float:
    """The memory of a process that is in RAM."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"process {pid} has no memory")


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
