"""Applying and rolling back `migrations/`, one process at a time."""

from __future__ import annotations

import contextlib
from importlib import resources
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import psycopg
import structlog
from psycopg.conninfo import conninfo_to_dict
from yoyo import get_backend, read_migrations  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Iterator

log = structlog.get_logger(__name__)

TRY_LOCK = "SELECT pg_try_advisory_lock(hashtextextended('chronoledger.migrations', 0))"
LOCK = "SELECT pg_advisory_lock(hashtextextended('chronoledger.migrations', 0))"

# yoyo's own way to ask creates its tables.
KEPT = "SELECT to_regclass('_yoyo_migration') IS NOT NULL"
APPLIED = "SELECT migration_id FROM _yoyo_migration"

# By the name that `infrastructure.database` gives them.
SERVICES = (
    "SELECT count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() AND application_name = 'chronoledger' AND pid <> pg_backend_pid()"
)


def migrate(dsn: str) -> list[str]:
    """Apply what is missing and name it; a second process waits and finds nothing left to do.

    Raises `psycopg.Error`. `dsn` must reach Postgres directly.
    """
    with _alone(dsn) as backend:
        todo = backend.to_apply(_migrations())
        for migration in todo:
            # In one transaction: yoyo's own loop commits the steps before the mark, and a process killed in
            # between would leave a schema that cannot be applied again.
            with backend.transaction():
                migration.process_steps(backend, "apply")
                backend.mark_one(migration, log=False)
        return [migration.id for migration in todo]


def missing_migrations(dsn: str) -> list[str]:
    """What `migrate` would apply; nothing is written. Raises `psycopg.Error`."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        found = connection.execute(KEPT).fetchone()
        applied = connection.execute(APPLIED).fetchall() if found == (True,) else []
    return sorted({migration.id for migration in _migrations()}.difference(name for (name,) in applied))


def migrate_down(dsn: str) -> list[str]:
    """Roll every migration back and name it: all events are gone for good. Raises `psycopg.Error`."""
    with _alone(dsn) as backend:
        todo = backend.to_rollback(_migrations())
        for migration in todo:
            with backend.transaction():
                migration.process_steps(backend, "rollback")
                backend.unmark_one(migration, log=False)
        return [migration.id for migration in todo]


def events_stored(dsn: str) -> int:
    """How many events a rollback would delete; 0 when there is no log yet."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        found = connection.execute("SELECT to_regclass('events') IS NOT NULL").fetchone()
        if not found or not found[0]:
            return 0
        row = connection.execute("SELECT count(*) FROM events").fetchone()
        return int(row[0]) if row else 0


def services_connected(dsn: str) -> int:
    """How many connections others of this program hold to the database. Raises `psycopg.Error`."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        row = connection.execute(SERVICES).fetchone()
        return int(row[0]) if row else 0


def _migrations() -> Any:  # yoyo ships no types
    with resources.as_file(resources.files("migrations")) as folder:
        return read_migrations(str(folder)).filter(lambda migration: migration.id[0].isdigit())


@contextlib.contextmanager
def _alone(dsn: str) -> Iterator[Any]:
    # yoyo's own lock is a row that a killed process leaves behind; an advisory lock dies with its session.
    with psycopg.connect(dsn, autocommit=True) as guard:
        if guard.execute(TRY_LOCK).fetchone() != (True,):
            log.info("waiting for another process that migrates this database")
            guard.execute(LOCK)
        backend = get_backend(_yoyo_uri(dsn))
        try:
            backend.break_lock()
            yield backend
        finally:
            backend.connection.close()


def _yoyo_uri(dsn: str) -> str:
    return f"postgresql+psycopg:///?{urlencode(conninfo_to_dict(dsn))}"
