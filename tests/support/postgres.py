"""A Postgres to test on: a container when an engine answers, else the embedded one."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from infrastructure.embedded_postgres.supervisor import EmbeddedPostgres
from tests.support.places import new_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

IMAGE = "postgres:17"
# It need not survive a power cut: what is tested of crashes has a server of its own.
IN_HASTE = {"fsync": "off", "full_page_writes": "off"}


def engine_answers() -> bool:
    """Whether a container engine answers and holds the image (nothing is pulled by a test)."""
    docker = shutil.which("docker")
    if docker is None or os.environ.get("TEST_POSTGRES") == "embedded":
        return False
    asked = subprocess.run([docker, "image", "inspect", IMAGE], capture_output=True, check=False, timeout=30)
    return asked.returncode == 0


@contextlib.contextmanager
def server() -> Iterator[str]:
    """The DSN of a superuser on a running server."""
    with _container() if engine_answers() else embedded(IN_HASTE) as dsn:
        yield dsn


@contextlib.contextmanager
def _container() -> Iterator[str]:
    os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
    from testcontainers.community.postgres import PostgresContainer  # noqa: PLC0415 - slow to import

    settings = [word for name, value in IN_HASTE.items() for word in ("-c", f"{name}={value}")]
    container = PostgresContainer(IMAGE, driver=None).with_command(["postgres", *settings])
    with container.with_tmpfs_mount("/var/lib/postgresql/data"):
        yield container.get_connection_url()


@contextlib.contextmanager
def embedded(settings: Mapping[str, str] | None = None, *, parent: Path | None = None) -> Iterator[str]:
    """The DSN of a superuser on an embedded server, with other settings than postgresql.conf's."""
    folder = new_folder(parent)
    try:
        if settings:
            with EmbeddedPostgres(folder) as dsn:
                _configure(dsn, settings)
        with EmbeddedPostgres(folder) as dsn:
            yield dsn
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _configure(dsn: str, settings: Mapping[str, str]) -> None:
    """From the next start on."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        for name, value in settings.items():
            statement = sql.SQL("ALTER SYSTEM SET {} = {}")
            connection.execute(statement.format(sql.Identifier(name), sql.Literal(value)))
