"""Why a start ends: one sentence each, with what to change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg.conninfo import conninfo_to_dict

from infrastructure.event_store.outage import first_line
from infrastructure.login import refusal
from infrastructure.settings import masked_conninfo

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from infrastructure.settings import Settings, Source


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
