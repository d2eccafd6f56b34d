"""A log that has been projected, of which each test has a copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.projecting import projected_log

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.databases import Databases


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
