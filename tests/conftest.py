"""Fixtures that more than one suite uses."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from infrastructure.migrator import migrate
from tests.support import postgres

if TYPE_CHECKING:
    from collections.abc import Iterator


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
def template_database(postgres_server: str) -> str:
    """The name of a migrated, empty database to copy."""
    name = "migrated_template"
    _create(postgres_server, name, template=None)
    migrate(make_conninfo(postgres_server, dbname=name))
    return name


@pytest.fixture
def empty_database(postgres_server: str) -> Iterator[str]:
    """The DSN of a database without a schema, dropped afterwards."""
    name = f"test_{uuid4().hex}"
    _create(postgres_server, name, template=None)
    yield make_conninfo(postgres_server, dbname=name)
    _drop(postgres_server, name)


@pytest.fixture
def database(postgres_server: str, template_database: str) -> Iterator[str]:
    """The DSN of a migrated, empty database of the test's own, dropped afterwards."""
    name = f"test_{uuid4().hex}"
    _create(postgres_server, name, template=template_database)
    yield make_conninfo(postgres_server, dbname=name)
    _drop(postgres_server, name)


@pytest.fixture
def other_database(postgres_server: str, template_database: str) -> Iterator[str]:
    """As `database`, beside it."""
    name = f"test_{uuid4().hex}"
    _create(postgres_server, name, template=template_database)
    yield make_conninfo(postgres_server, dbname=name)
    _drop(postgres_server, name)


def _create(server: str, name: str, template: str | None) -> None:
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
        sql.Identifier(name), sql.Identifier(template or "template0")
    )
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(statement)


def _drop(server: str, name: str) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
