"""The roles as processes of their own on one Postgres: an API, a projector and several schedulers."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from tests.e2e.client import Client
from tests.support.service import Service, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.client import Json

SCHEDULERS = 3


class Cluster:
    """The API on `dsn`, the others on `workers_dsn` when there is one."""

    def __init__(self, folder: Path, dsn: str, *, workers_dsn: str = "", **variables: str) -> None:
        self._folder = folder
        self._dsn = dsn
        self._workers_dsn = workers_dsn or dsn
        self._variables = variables
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.api = self._start(stack, "api", self._dsn)
            self.projector = self._start(stack, "projector", self._workers_dsn)
            self.schedulers = [
                self._start(stack, f"scheduler-{number}", self._workers_dsn) for number in range(SCHEDULERS)
            ]
            self.client = Client(self.api.url)
            self.until_all_share()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def until_all_share(self) -> None:
        """Return once every scheduler takes its share of the work."""
        until(lambda: self.sharing() == SCHEDULERS, "every scheduler shares the work")

    def sharing(self) -> int:
        """How many schedulers are counted on."""
        return sum(bool(node["claims"]) for node in self._schedulers())

    def silent(self) -> int:
        """How many runs of schedulers have gone without a word."""
        return sum(not node["alive"] for node in self._schedulers())

    def knows(self, scheduler: Service) -> bool:
        """Whether a run of it is listed: one that has left in peace is not."""
        return any(node["name"].startswith(f"{scheduler.folder.name}.") for node in self._schedulers())

    def errors(self) -> list[str]:
        """What its processes have logged as errors: all that happens here is nothing but bad luck to them."""
        logs = [service.log.read_text() for service in (self.api, self.projector, *self.schedulers)]
        return [line for log in logs for line in log.splitlines() if '"level": "ERROR"' in line]

    def _schedulers(self) -> list[Json]:
        nodes: list[Json] = self.client.get("/nodes")["items"]
        return [node for node in nodes if node["role"] == "scheduler"]

    def _start(self, stack: ExitStack, name: str, dsn: str) -> Service:
        own = self._folder / name
        own.mkdir()
        role, variables = name.partition("-")[0], {"NODE_NAME": name, **self._variables}
        service = Service(own, role, account=None, DATABASE_URL=dsn, **variables)
        stack.callback(service.close)
        service.start(healthy=False)
        return service


def freeze(service: Service) -> None:
    """Stop every one of its processes where it stands, until `thaw`."""
    _signal(service, signal.SIGSTOP)


def thaw(service: Service) -> None:
    """Let its processes go on, which do not know that time has passed."""
    _signal(service, signal.SIGCONT)


def _signal(service: Service, number: signal.Signals) -> None:
    for process in service.processes():
        os.kill(process.pid, number)
