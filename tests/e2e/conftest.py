"""A callee, folders and services; a failing test shows what the running services printed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.callee import Callee
from tests.e2e.client import Client, cron
from tests.support.service import Service
from tests.support.supervisor import open_folder

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from tests.e2e.client import Json


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Generator[None, Any, Any]:
    """Attach the services' logs to a failure."""
    report = yield
    if report.failed:
        for service in Service.known:
            report.sections.append((f"log of the service in {service.folder}", service.tail()))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what tests measured, whether it was good enough or not."""
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{report.nodeid}: {name} {value}")


@pytest.fixture(scope="session")
def callee(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callee]:
    """The server that tasks call."""
    with Callee(tmp_path_factory.mktemp("callee")) as server:
        yield server


@pytest.fixture(scope="session")
def shared_service() -> Iterator[Service]:
    """A service on its embedded Postgres, for tests that neither stop it nor harm its database."""
    with open_folder() as folder, Service(folder) as service:
        yield service


@pytest.fixture(scope="session")
def every_minute(shared_service: Service, callee: Callee) -> Json:
    """A cron task of the shared service."""
    task = cron(callee.url("/ok?every-minute"), "* * * * *", name="Every minute")
    return Client(shared_service.url).create(task)


@pytest.fixture(scope="session")
def client(shared_service: Service, every_minute: Json) -> Client:
    """The API of the shared service; the minute of its cron task passes while tests run."""
    return Client(shared_service.url)


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder that every account can enter."""
    with open_folder() as path:
        yield path


@pytest.fixture
def own_service(folder: Path) -> Iterator[Service]:
    """A service on its embedded Postgres that belongs to one test."""
    with Service(folder) as service:
        yield service
