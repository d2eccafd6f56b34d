"""Having a database: the configured one, or the embedded one, with its migrations applied."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from typing import TYPE_CHECKING

import psycopg
import structlog

from application.ports import LogUnavailable
from infrastructure.database import with_liveness
from infrastructure.embedded_postgres import DataDirectoryInUse, EmbeddedPostgres
from infrastructure.event_store.outage import first_line
from infrastructure.migrator import migrate
from infrastructure.settings import masked_conninfo, with_database

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from infrastructure.settings import Settings

STARTUP_SECONDS = 30.0
STARTUP_POLL_SECONDS = 0.5
# Where a running service tells one-shot commands how to reach its embedded Postgres.
CONNINFO_FILE = "embedded.conninfo"

log = structlog.get_logger(__name__)


@contextlib.contextmanager
def embedded(settings: Settings) -> Iterator[tuple[EmbeddedPostgres, Settings]]:
    """The embedded Postgres, running, and the settings that lead to it.

    Raises `EmbeddedPostgresError` and `LogDirectoryUnusable`.
    """
    _check_writable(settings.log_dir)
    postgres = EmbeddedPostgres(
        settings.data_dir,
        log_dir=settings.log_dir,
        environ={
            **os.environ,
            "CHRONOLEDGER_PG_BIN": str(settings.chronoledger_pg_bin or ""),
            "CHRONOLEDGER_STATE_DIR": str(settings.chronoledger_state_dir),
        },
    )
    with postgres as dsn:
        (settings.data_dir / CONNINFO_FILE).write_text(dsn, encoding="utf-8")
        yield postgres, with_database(settings, dsn)


class LogDirectoryUnusable(Exception):
    """Nothing can be written to LOG_DIR."""

    def __init__(self, directory: Path, error: OSError) -> None:
        super().__init__(
            f"LOG_DIR={directory} cannot be used ({error.strerror}); make it writable, or choose another one."
        )


def _check_writable(log_dir: Path) -> None:
    try:
        log_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=log_dir):
            pass
    except OSError as error:
        raise LogDirectoryUnusable(log_dir, error) from error


@contextlib.contextmanager
def database(settings: Settings) -> Iterator[Settings]:
    """Settings that lead to a database for a one-shot command: that of a running `serve`, where there is one.

    Raises `EmbeddedPostgresError`, and `DatabaseUnusable` in the place of what the body meets in an outage.
    """
    with contextlib.ExitStack() as stack:
        found = settings if settings.database_configured else _own(stack, settings)
        try:
            yield found
        except (psycopg.OperationalError, LogUnavailable) as error:
            raise DatabaseUnusable(found, error) from error


def _own(stack: contextlib.ExitStack, settings: Settings) -> Settings:
    try:
        return stack.enter_context(embedded(settings))[1]
    except DataDirectoryInUse:
        conninfo = settings.data_dir / CONNINFO_FILE
        if not conninfo.exists():
            raise
        return with_database(settings, conninfo.read_text(encoding="utf-8"))


class DatabaseUnusable(Exception):
    """The database does not answer, or not as it must."""

    def __init__(self, settings: Settings, error: Exception) -> None:
        where = masked_conninfo(settings.direct_dsn())
        super().__init__(
            f"The database does not answer ({first_line(error)}); start it, or correct DATABASE_URL or "
            f"DB_HOST, DB_PORT, DB_USER, DB_PASSWORD and DB_NAME. In force: {where}"
        )


class MigrationRefused(Exception):
    """The database answers, and refuses to be migrated."""

    def __init__(self, error: Exception) -> None:
        super().__init__(
            f"The migrations cannot be applied ({first_line(error)}); the role that connects must own the "
            "tables, and may have to be granted CREATE on the schema."
        )


def prepare_database(settings: Settings) -> list[str]:
    """Apply the migrations that are missing and name them; waits half a minute for the database to come up.

    Raises `DatabaseUnusable` and `MigrationRefused`.
    """
    deadline, told = time.monotonic() + STARTUP_SECONDS, ""
    while True:
        try:
            applied = migrate(with_liveness(settings.direct_dsn()))
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline:
                raise DatabaseUnusable(settings, error) from error
            if told != (told := first_line(error)):
                log.warning("waiting for the database", error=told)
        except psycopg.Error as error:
            raise MigrationRefused(error) from error
        else:
            if applied:
                log.info("migrations applied", migrations=applied)
            return applied
        time.sleep(STARTUP_POLL_SECONDS)
