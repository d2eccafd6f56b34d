"""What a scenario works with."""

from __future__ import annotations

import contextlib
import itertools
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from benchmarks import processes
from benchmarks.processes import Roles, Server, Sink
from benchmarks.progress import Progress

EVERYTHING = ("projector", "api", "scheduler")


@dataclass
class Stage:
    """A Postgres, a sink, and a folder for what processes write; `scale` makes everything smaller."""

    server: Server
    sink: Sink
    folder: Path
    scale: float
    progress: Progress
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def scaled(self, count: int, least: int = 1) -> int:
        """A number of the full run, at this scale."""
        return max(least, round(count * self.scale))

    def seconds(self, full: float, least: float = 1.0) -> float:
        """A duration of the full run, at this scale."""
        return max(least, full * self.scale)

    @contextlib.contextmanager
    def database(self) -> Iterator[str]:
        """A new database."""
        with self.server.database(f"benchmark_{next(self._numbers)}") as dsn:
            yield dsn

    @contextlib.contextmanager
    def service(
        self, dsn: str, names: tuple[str, ...] = EVERYTHING, *, healthy: bool = True
    ) -> Iterator[Roles]:
        """The service on it; the sink has forgotten what was before."""
        home = self.folder / f"service-{next(self._numbers)}"
        with processes.roles(self.server, self.sink, home, dsn, names, healthy=healthy) as running:
            self.sink.told()
            yield running


def machine(server: Server) -> dict[str, str]:
    """What figures depend on besides the code."""
    with psycopg.connect(server.dsn) as connection:
        version = connection.execute("SHOW server_version").fetchone()
    return {
        "cpu": f"{os.cpu_count()} x {_processor()}",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "postgres": str(version[0]) if version else "unknown",
        "load": f"{os.getloadavg()[0]:.1f}",
    }


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
