"""Applying and rolling back `migrations/`, one process at a time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from importlib import resources
from typing import Any, LiteralString
from urllib.parse import urlencode

import psycopg
import structlog
from psycopg import Connection
from psycopg.conninfo import conninfo_to_dict

log = structlog.get_logger(__name__)

TRY_LOCK = "SELECT pg_try_advisory_lock(hashtextextended('chronoledger.migrations', 0))"
LOCK = "SELECT pg_advisory_lock(hashtextextended('chronoledger.migrations', 0))"

# Whoever reads or appends waits behind whoever waits for a table: so long at most, and then it is their turn.
LIMIT_LOCK_WAIT = "SET LOCAL lock_timeout = '3s'"
PAUSE_SECONDS = 0.5
PATIENCE_SECONDS = 120.0

# yoyo's own way to ask creates its tables.
KEPT = "SELECT to_regclass('_yoyo_migration') IS NOT NULL"
APPLIED = "SELECT migration_id FROM _yoyo_migration"

# yoyo's own way finds out by trying, at every start: an error each time in the server's log.
LOCK_TABLE_THERE = "SELECT to_regclass('yoyo_lock') IS NOT NULL"

# By the name that `infrastructure.postgres` gives them.
SERVICES = (
    "SELECT count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() AND application_name = 'chronoledger' AND pid <> pg_backend_pid()"
)
# Postgres counts a connection that was closed, such as that of the migrations, until its process is gone.
CLOSING_SECONDS = 3.0
CLOSING_POLL_SECONDS = 0.02


class TablesLocked(Exception):
    """A migration needs tables that long transactions hold; end those and start again."""

    def __init__(self, migration: str) -> None:
        super().__init__(
            f"the migration {migration} needs tables that long-running transactions hold; end those (see "
            "pg_stat_activity) and start again"
        )


def migrate(dsn: str, patience_seconds: float = PATIENCE_SECONDS) -> list[str]:
    """Apply what is missing and name it; a second process waits and finds nothing left to do.

    `patience_seconds` is how long to try each when others hold its tables. Raises `TablesLocked` and
    `psycopg.Error`. `dsn` must reach Postgres directly.
    """
    with _alone(dsn) as backend:
        todo = backend.to_apply(_migrations())
        for migration in todo:
            _carry_out(backend, migration, _apply, patience_seconds)
        return [migration.id for migration in todo]


def missing_migrations(dsn: str) -> list[str]:
    """What `migrate` would apply; nothing is written. Raises `psycopg.Error`."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        found = connection.execute(KEPT).fetchone()
        applied = connection.execute(APPLIED).fetchall() if found == (True,) else []
    return sorted({migration.id for migration in _migrations()}.difference(name for (name,) in applied))


def migrate_down(dsn: str, patience_seconds: float = PATIENCE_SECONDS) -> list[str]:
    """Roll every migration back and name it: all events are gone for good. Raises as `migrate` does."""
    with _alone(dsn) as backend:
        todo = backend.to_rollback(_migrations())
        for migration in todo:
            _carry_out(backend, migration, _roll_back, patience_seconds)
        return [migration.id for migration in todo]


def _carry_out(
    backend: Any, migration: Any, step: Callable[[Any, Any], None], patience_seconds: float
) -> None:
    """In one transaction: yoyo's own loop commits the steps before the mark, and a process killed in between
    would leave a schema that cannot be applied again.
    """
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            with backend.transaction():
                backend.execute(LIMIT_LOCK_WAIT)
                step(backend, migration)
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
            if time.monotonic() >= deadline:
                raise TablesLocked(migration.id) from error
            log.warning("a migration waits for transactions that hold its tables", migration=migration.id)
        else:
            return
        time.sleep(PAUSE_SECONDS)


def _apply(backend: Any, migration: Any) -> None:
    migration.process_steps(backend, "apply")
    backend.mark_one(migration, log=False)


def _roll_back(backend: Any, migration: Any) -> None:
    migration.process_steps(backend, "rollback")
    backend.unmark_one(migration, log=False)


def events_stored(dsn: str) -> int:
    """How many events a rollback would delete; 0 when there is no log yet."""
    return _counted(dsn, "events", "SELECT count(*) FROM events")


def months_archived(dsn: str) -> int:
    """How many months a rollback would forget whose events are in files alone."""
    return _counted(dsn, "archives", "SELECT count(*) FROM archives WHERE state = 'archived'")


def _counted(dsn: str, table: str, query: LiteralString) -> int:
    with psycopg.connect(dsn, autocommit=True) as connection:
        found = connection.execute("SELECT to_regclass(%s) IS NOT NULL", (table,)).fetchone()
        if not found or not found[0]:
            return 0
        row = connection.execute(query).fetchone()
        return int(row[0]) if row else 0


def services_connected(dsn: str) -> int:
    """How many connections others of this program hold to the database. Raises `psycopg.Error`."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        return services_beside(connection)


def services_beside(connection: Connection) -> int:
    """How many beside this connection, which is in no transaction; those that end within 3 s do not count."""
    deadline = time.monotonic() + CLOSING_SECONDS
    while True:
        [(count,)] = connection.execute(SERVICES).fetchall()
        if not count or time.monotonic() > deadline:
            return int(count)
        time.sleep(CLOSING_POLL_SECONDS)


def _migrations() -> Any:  # yoyo ships no types
    from yoyo import read_migrations  # type: ignore[import-untyped]  # noqa: PLC0415 - as below

    with resources.as_file(resources.files("migrations")) as folder:
        return read_migrations(str(folder)).filter(lambda migration: migration.id[0].isdigit())


@contextlib.contextmanager
def _alone(dsn: str) -> Iterator[Any]:
    # yoyo's own lock is a row that a killed process leaves behind; an advisory lock dies with its session.
    with psycopg.connect(dsn, autocommit=True) as guard:
        if guard.execute(TRY_LOCK).fetchone() != (True,):
            log.info("waiting for another process that migrates this database")
            guard.execute(LOCK)
        backend = _backend(dsn)
        try:
            if guard.execute(LOCK_TABLE_THERE).fetchone() != (True,):
                backend.create_lock_table()
            backend.break_lock()
            yield backend
        finally:
            backend.connection.close()


def _backend(dsn: str) -> Any:
    # Those that `serve` starts migrate nothing, and do not pay for it.
    from yoyo.backends.core import PostgresqlPsycopgBackend  # type: ignore[import-untyped]  # noqa: PLC0415
    from yoyo.connections import parse_uri  # type: ignore[import-untyped]  # noqa: PLC0415
    from yoyo.migrations import default_migration_table  # type: ignore[import-untyped]  # noqa: PLC0415

    return PostgresqlPsycopgBackend(parse_uri(_yoyo_uri(dsn)), default_migration_table)


def _yoyo_uri(dsn: str) -> str:
    return f"postgresql+psycopg:///?{urlencode(conninfo_to_dict(dsn))}"
