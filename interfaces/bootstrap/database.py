"""Having a database: the configured one, or the embedded one, with its migrations applied."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

import psycopg
import structlog

from infrastructure.database import with_liveness
from infrastructure.embedded_postgres import DataDirectoryInUse, EmbeddedPostgres
from infrastructure.event_store.outage import first_line
from infrastructure.migrator import migrate
from infrastructure.settings import masked_conninfo, with_database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infrastructure.settings import Settings

STARTUP_SECONDS = 30.0
STARTUP_POLL_SECONDS = 0.5
# Where a running service tells one-shot commands how to reach its embedded Postgres.
CONNINFO_FILE = "embedded.conninfo"

log = structlog.get_logger(__name__)


@contextlib.contextmanager
def embedded(settings: Settings) -> Iterator[tuple[EmbeddedPostgres, Settings]]:
    """The embedded Postgres, running, and the settings that lead to it. Raises `EmbeddedPostgresError`."""
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


@contextlib.contextmanager
def database(settings: Settings) -> Iterator[Settings]:
    """Settings that lead to a database for a one-shot command: that of a running `serve`, where there is one.

    Raises `EmbeddedPostgresError`.
    """
    if settings.database_configured:
        yield settings
        return
    with contextlib.ExitStack() as stack:
        try:
            _, found = stack.enter_context(embedded(settings))
        except DataDirectoryInUse:
            conninfo = settings.data_dir / CONNINFO_FILE
            if not conninfo.exists():
                raise
            found = with_database(settings, conninfo.read_text(encoding="utf-8"))
        yield found


class DatabaseUnusable(Exception):
    """The database did not answer at the start."""


def prepare_database(settings: Settings) -> list[str]:
    """Apply the migrations that are missing and name them; waits half a minute for the database to come up.

    Raises `DatabaseUnusable`.
    """
    deadline = time.monotonic() + STARTUP_SECONDS
    while True:
        try:
            applied = migrate(with_liveness(settings.direct_dsn()))
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline:
                where = masked_conninfo(settings.direct_dsn())
                raise DatabaseUnusable(
                    f"The database does not answer ({first_line(error)}); start it, or correct DATABASE_URL "
                    f"or DB_HOST, DB_PORT, DB_USER, DB_PASSWORD and DB_NAME. In force: {where}"
                ) from error
            log.warning("waiting for the database", error=first_line(error))
        else:
            if applied:
                log.info("migrations applied", migrations=applied)
            return applied
        time.sleep(STARTUP_POLL_SECONDS)
