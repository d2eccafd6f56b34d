"""Having a database: the configured one, or the embedded one, with its migrations applied."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from typing import TYPE_CHECKING

import psycopg
import structlog
from psycopg.conninfo import conninfo_to_dict

from application.ports import LogUnavailable
from infrastructure.database import with_liveness
from infrastructure.embedded_postgres import DataDirectoryInUse, EmbeddedPostgres
from infrastructure.event_store.outage import first_line
from infrastructure.login import refusal
from infrastructure.migrator import migrate
from infrastructure.settings import masked_conninfo, with_database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from typing import Any

    from infrastructure.settings import Settings

STARTUP_SECONDS = 30.0
STARTUP_POLL_SECONDS = 0.5
# `serve` is three processes. Each opens up to two connections besides its pool; one-shot commands and people
# with psql want some, too.
PROCESSES, BESIDES_POOL, SPARE_CONNECTIONS = 3, 2, 20
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
        connections=PROCESSES * (settings.db_max_connections + BESIDES_POOL) + SPARE_CONNECTIONS,
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
    """The database does not answer, or does not let this service in."""

    def __init__(self, settings: Settings, error: Exception, dsn: str | None = None) -> None:
        """`dsn` is what was tried, unless it is the direct one."""
        dsn = dsn or settings.direct_dsn()
        in_force = f"In force: {masked_conninfo(dsn)}"
        super().__init__(f"{_complaint(settings, error, conninfo_to_dict(dsn))}. {in_force}")


def _complaint(settings: Settings, error: Exception, tried: Mapping[str, Any]) -> str:
    said, url = first_line(error), _url_variable(settings)
    match refusal(error):
        case "password":
            return (
                f'The password of "{tried.get("user")}" is refused ({said}); correct {url or "DB_PASSWORD"}'
            )
        case "role":
            return (
                f'The server does not let "{tried.get("user")}" in ({said}); correct {url or "DB_USER"}, '
                "or create that role and permit it in pg_hba.conf"
            )
        case "database":
            name = tried.get("dbname")
            return f'There is no database "{name}": create it, or correct {url or "DB_NAME"} ({said})'
        case None:
            return (
                f"The database does not answer ({said}); start it, or correct DATABASE_URL or "
                "DB_HOST, DB_PORT, DB_USER, DB_PASSWORD and DB_NAME"
            )


def _url_variable(settings: Settings) -> str | None:
    if settings.direct_database_url:
        return "DATABASE_URL and DIRECT_DATABASE_URL"
    return "DATABASE_URL" if settings.database_url else None


class MigrationRefused(Exception):
    """The database answers, and refuses to be migrated."""

    def __init__(self, error: Exception) -> None:
        super().__init__(
            f"The migrations cannot be applied ({first_line(error)}); the role that connects must own the "
            "tables, and may have to be granted CREATE on the schema."
        )


def prepare_database(settings: Settings) -> list[str]:
    """Apply the migrations that are missing and name them; waits half a minute for the database to come up.

    Raises `DatabaseUnusable`, at once when the server refuses the login, and `MigrationRefused`.
    """
    deadline, direct = time.monotonic() + STARTUP_SECONDS, settings.direct_dsn()
    try:
        applied = _once_up(settings, direct, deadline, migrate)
    except psycopg.Error as error:
        raise MigrationRefused(error) from error
    if settings.dsn() != direct:
        # Behind a pooler the login may be another one.
        _once_up(settings, settings.dsn(), deadline, _connect)
    if applied:
        log.info("migrations applied", migrations=applied)
    return applied


def _once_up[T](settings: Settings, dsn: str, deadline: float, use: Callable[[str], T]) -> T:
    told = ""
    while True:
        try:
            return use(with_liveness(dsn))
        except psycopg.OperationalError as error:
            if refusal(error) or time.monotonic() > deadline:
                raise DatabaseUnusable(settings, error, dsn) from error
            if told != (told := first_line(error)):
                log.warning("waiting for the database", error=told)
        time.sleep(STARTUP_POLL_SECONDS)


def _connect(dsn: str) -> None:
    psycopg.connect(dsn).close()
