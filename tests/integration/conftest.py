"""A log that has been projected, of which each test has a copy."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.support.databases import Databases
from tests.support.projecting import Store, projected_log, store_of


@pytest.fixture(scope="module")
def projected_template(
    request: pytest.FixtureRequest, databases: Databases, template_database: str
) -> Iterator[str]:
    """A database with a random log of the module's `EVENTS` events, projected by one process."""
    with projected_log(databases, template_database, request.module.EVENTS) as dsn:
        yield dsn


@pytest.fixture
def projected(databases: Databases, projected_template: str) -> Iterator[str]:
    """The DSN of a database with that log of the test's own."""
    with databases.copy(projected_template) as dsn:
        yield dsn


@pytest.fixture
async def store(database: str) -> AsyncIterator[Store]:
    """An empty database of the test's own, with a connection to it."""
    async with store_of(database) as store:
        yield store


@pytest.fixture
async def projected_store(projected: str) -> AsyncIterator[Store]:
    """The same of `projected`."""
    async with store_of(projected) as store:
        yield store
