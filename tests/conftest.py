"""Fixtures that more than one suite uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from infrastructure.migrator import migrate
from tests.support import postgres
from tests.support.databases import Databases

if TYPE_CHECKING:
    from collections.abc import Iterator


# Unit tests that take long: none should be what one worker still has when the others have nothing left.
LONG = {
    "test_schedule_oracle.py",
    "test_schedule_properties.py",
    "test_scheduler_simulation.py",
    "test_what_if_worlds.py",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of the unit tests, begin with the long ones."""
    items.sort(key=lambda item: item.path.parent.name == "unit" and 1 + (item.path.name not in LONG))


def pytest_report_header() -> str:
    """Say which Postgres the integration and e2e tests run on."""
    kind = f"container {postgres.IMAGE}" if postgres.engine_answers() else "embedded, no container engine"
    return f"postgres for integration tests: {kind}"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """A superuser's DSN on a running server."""
    with postgres.server() as dsn:
        yield dsn


@pytest.fixture(scope="session")
def databases(postgres_server: str) -> Databases:
    """What makes databases on it."""
    return Databases(postgres_server)


@pytest.fixture(scope="session")
def template_database(databases: Databases) -> Iterator[str]:
    """The DSN of a migrated, empty database to copy."""
    with databases.empty() as dsn:
        migrate(dsn)
        yield dsn


@pytest.fixture
def empty_database(databases: Databases) -> Iterator[str]:
    """The DSN of a database without a schema, dropped afterwards."""
    with databases.empty() as dsn:
        yield dsn


@pytest.fixture
def database(databases: Databases, template_database: str) -> Iterator[str]:
    """The DSN of a migrated, empty database of the test's own, dropped afterwards."""
    with databases.copy(template_database) as dsn:
        yield dsn


@pytest.fixture
def other_database(databases: Databases, template_database: str) -> Iterator[str]:
    """As `database`, beside it."""
    with databases.copy(template_database) as dsn:
        yield dsn
