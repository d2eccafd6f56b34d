"""Having a database: the configured one, or the embedded one, with its migrations applied."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg
import structlog
from psycopg.conninfo import conninfo_to_dict

from application.ports import ArchiveAway, LogUnavailable
from infrastructure.audit_log.keys import FILE_NAME, ensure_key
from infrastructure.embedded_postgres.errors import DataDirectoryInUse
from infrastructure.embedded_postgres.supervisor import EmbeddedPostgres
from infrastructure.migrator import migrate, missing_migrations
from infrastructure.postgres import first_line, refusal, with_liveness
from infrastructure.settings import Settings, Source, masked_conninfo, with_database, with_unset

_ANY_VARIABLE = "DATABASE_URL or DB_HOST, DB_PORT, DB_USER, DB_PASSWORD and DB_NAME"
_TO: Source = "--to"


class LogDirectoryUnusable(Exception):
    """Nothing can be written to LOG_DIR."""

    def __init__(self, directory: Path, error: OSError) -> None:
        super().__init__(
            f"LOG_DIR={directory} cannot be used ({error.strerror}); make it writable, or choose another one."
        )


class MigrationRefused(Exception):
    """The database answers, and refuses to be migrated."""

    def __init__(self, error: Exception) -> None:
        super().__init__(
            f"The migrations cannot be applied ({first_line(error)}); the role that connects must own the "
            "tables, and may have to be granted CREATE on the schema."
        )


class MigrationsMissing(Exception):
    """A command that only reads has found an older schema."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(
            f"The database lacks migrations ({', '.join(names)}), and this command changes nothing; "
            "run `chronoledger migrate`, or start the service."
        )


class NotPermitted(Exception):
    """The database answers, and does not let this role do what a command has to."""

    def __init__(self, error: Exception) -> None:
        super().__init__(
            f"The database refuses it ({first_line(error)}); connect as the role that owns the tables, or "
            "grant this one what it lacks."
        )


class TablesMissing(Exception):
    """A table that a projector makes is not there yet."""

    def __init__(self, error: Exception) -> None:
        super().__init__(
            f"The database lacks a table ({first_line(error)}); start the service on it, or let a projector "
            "run there, and try again."
        )


class DatabaseUnusable(Exception):
    """The database does not answer, or does not let this service in."""

    def __init__(self, settings: Settings, error: Exception, dsn: str | None = None) -> None:
        """`dsn` is what was tried, unless it is the direct one."""
        dsn = dsn or settings.direct_dsn()
        complaint = _complaint(settings, error, conninfo_to_dict(dsn))
        super().__init__(f"{complaint}. In force: {masked_conninfo(dsn)}")


def _complaint(settings: Settings, error: Exception, tried: Mapping[str, Any]) -> str:
    role = f'"{tried["user"]}"' if "user" in tried else "the default role"
    said = first_line(error).rpartition("FATAL:")[2].strip()
    match refusal(error):
        case "password":
            state = "missing" if "no password" in said else "refused"
            return f"The password of {role} is {state}; correct {_variable(settings, _password(settings))}"
        case "role":
            where = _variable(settings, "DB_USER")
            return f"The server does not let {role} in ({said}); correct {where}, or permit it there"
        case "database":
            where = _variable(settings, "DB_NAME")
            return f'There is no database "{tried.get("dbname", "")}": create it, or correct {where}'
        case None:
            where = _TO if _is_second(settings) else _ANY_VARIABLE
            return f"The database does not answer ({first_line(error)}); start it, or correct {where}"


def _is_second(settings: Settings) -> bool:
    return settings.sources.get("DATABASE_URL") == _TO


def _variable(settings: Settings, part: str) -> str:
    if _is_second(settings):
        return _TO
    if settings.direct_database_url:
        return "DATABASE_URL and DIRECT_DATABASE_URL"
    return "DATABASE_URL" if settings.database_url else part


def _password(settings: Settings) -> str:
    return "DB_PASSWORD_FILE" if "DB_PASSWORD_FILE" in settings.sources else "DB_PASSWORD"


STARTUP_SECONDS = 30.0
STARTUP_POLL_SECONDS = 0.5
# `serve` is three processes. Each opens up to three connections besides its pool; one-shot commands and
# people with psql want some, too.
PROCESSES, BESIDES_POOL, SPARE_CONNECTIONS = 3, 3, 20
# Where a running service tells one-shot commands how to reach its embedded Postgres.
CONNINFO_FILE = "embedded.conninfo"
ARCHIVES = "archives"

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
        if settings.audit_key_file is None:
            ensure_key(settings.data_dir / FILE_NAME)
        yield postgres, _at(settings, dsn)


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

    Raises `EmbeddedPostgresError`, and `DatabaseUnusable` in the place of what the body meets in an outage,
    `NotPermitted` and `TablesMissing` in that of a refusal.
    """
    with contextlib.ExitStack() as stack:
        found = settings if settings.database_configured else _own(stack, settings)
        with in_sentences(found):
            yield found


@contextlib.contextmanager
def in_sentences(settings: Settings) -> Iterator[None]:
    """Raises `DatabaseUnusable`, `NotPermitted` and `TablesMissing` in the place of what the body meets."""
    try:
        yield
    except ArchiveAway:
        raise
    except (psycopg.OperationalError, LogUnavailable) as error:
        raise DatabaseUnusable(settings, error) from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise NotPermitted(error) from error
    except psycopg.errors.UndefinedTable as error:
        raise TablesMissing(error) from error


def has_embedded(settings: Settings) -> bool:
    """Whether no database is configured, and an embedded one is there already."""
    return not settings.database_configured and (settings.data_dir / CONNINFO_FILE).exists()


def _own(stack: contextlib.ExitStack, settings: Settings) -> Settings:
    try:
        return stack.enter_context(embedded(settings))[1]
    except DataDirectoryInUse:
        conninfo = settings.data_dir / CONNINFO_FILE
        if not conninfo.exists():
            raise
        return _at(settings, conninfo.read_text(encoding="utf-8"))


def _at(settings: Settings, dsn: str) -> Settings:
    """Settings that lead to the embedded Postgres, and to the archives and the key beside it."""
    return beside_embedded(with_database(settings, dsn))


def beside_embedded(settings: Settings) -> Settings:
    """The same settings with the archives and the key that belong to the embedded Postgres."""
    archives, key = settings.data_dir / ARCHIVES, settings.data_dir / FILE_NAME
    return with_unset(settings, archive_dir=str(archives), audit_key_file=key)


def prepare_database(settings: Settings, *, patience_seconds: float = STARTUP_SECONDS) -> list[str]:
    """Apply the migrations that are missing and name them; waits half a minute for the database to come up.

    Raises `DatabaseUnusable`, at once when the server refuses the login, `MigrationRefused` and
    `TablesLocked`.
    """
    deadline, direct = time.monotonic() + patience_seconds, settings.direct_dsn()
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


def check_database(settings: Settings, *, patience_seconds: float = STARTUP_SECONDS) -> None:
    """See that no migration is missing, and apply none; waits half a minute for the database to come up.

    Raises `DatabaseUnusable`, at once when the server refuses the login, and `MigrationsMissing`.
    """
    missing = _once_up(settings, settings.dsn(), time.monotonic() + patience_seconds, missing_migrations)
    if missing:
        raise MigrationsMissing(missing)


def _once_up[T](settings: Settings, dsn: str, deadline: float, use: Callable[[str], T]) -> T:
    told = ""
    while True:
        try:
            return use(with_liveness(dsn))
        except psycopg.Error as error:
            away = isinstance(error, psycopg.OperationalError)
            if refusal(error) or (away and time.monotonic() > deadline):
                raise DatabaseUnusable(settings, error, dsn) from error
            if not away:
                raise
            if told != (told := first_line(error)):
                log.warning("waiting for the database", error=told)
        time.sleep(STARTUP_POLL_SECONDS)


def _connect(dsn: str) -> None:
    psycopg.connect(dsn).close()
