"""What the service is told by its environment: one field a variable, its default, its bounds."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import psycopg
from msgspec import Struct
from msgspec.structs import FieldInfo, fields, force_setattr, replace
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from infrastructure import setting_kinds as kinds
from infrastructure.dotenv_file import WrongDotenv, misspelt, read_dotenv
from infrastructure.setting_kinds import seconds, whole

type Source = Literal["environment", ".env", "embedded", "default", "--to"]

MASK = "***"


class Settings(Struct, frozen=True, kw_only=True, rename=str.upper):
    """The configuration in force; a field's variable is its name in upper case.

    `sources` tells where each value that is not a default came from; `warnings` are sentences for the log.
    """

    database_url: Annotated[str | None, kinds.CONNECTION] = None
    direct_database_url: Annotated[str | None, kinds.CONNECTION] = None
    db_host: Annotated[str, kinds.TEXT] = "localhost"
    db_port: Annotated[int, whole(1, 65535)] = 5432
    db_user: Annotated[str, kinds.TEXT] = "postgres"
    db_password: Annotated[str, kinds.PASSWORD] = "postgres"  # noqa: S105 - the documented default
    db_password_file: Annotated[Path | None, kinds.FILE] = None
    db_name: Annotated[str, kinds.TEXT] = "task_scheduler"
    db_sslmode: Annotated[
        Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"], kinds.SSL_MODE
    ] = "prefer"
    db_max_connections: Annotated[int, whole(2, 10_000)] = 20
    host: Annotated[str, kinds.HOST] = "127.0.0.1"
    port: Annotated[int, whole(0, 65535)] = 8080
    app_mode: Annotated[Literal["debug", "release"], kinds.APP_MODE] = "debug"
    log_dir: Annotated[Path, kinds.DIRECTORY] = Path("logs")
    log_level: Annotated[Literal["DEBUG", "INFO", "WARN", "ERROR"], kinds.LOG_LEVEL] = "INFO"
    data_dir: Annotated[Path, kinds.DIRECTORY] = Path("data")
    archive_dir: Annotated[str | None, kinds.ARCHIVES] = None
    retention_days: Annotated[int, whole(0, 36_500)] = 0
    default_timezone: Annotated[str, kinds.TIME_ZONE] = "UTC"
    max_concurrency: Annotated[int, whole(1, 10_000)] = 4_000
    max_concurrency_per_host: Annotated[int, whole(1, 10_000)] = 100
    max_response_body_bytes: Annotated[int, whole(0, 16_777_216)] = 65_536
    max_request_body_bytes: Annotated[int, whole(1_024, 104_857_600)] = 1_048_576
    cors_allowed_origins: Annotated[tuple[str, ...], kinds.ORIGINS] = ()
    lease_seconds: Annotated[float, seconds(1, 86_400)] = 60.0
    shutdown_grace_seconds: Annotated[float, seconds(0, 3_600)] = 20.0
    visibility_timeout_seconds: Annotated[float, seconds(0, 60)] = 2.0
    node_expiry_seconds: Annotated[float, seconds(3, 600)] = 6.0
    max_clock_offset_seconds: Annotated[float, seconds(0.1, 3_600)] = 5.0
    node_name: Annotated[str, kinds.NODE_NAME] = ""
    audit_key_file: Annotated[Path | None, kinds.KEY_FILE] = None
    audit_publish: Annotated[str | None, kinds.PUBLISH] = None
    audit_publish_seconds: Annotated[float, seconds(1, 86_400)] = 300.0
    chronoledger_pg_bin: Annotated[Path | None, kinds.PROGRAMS] = None
    chronoledger_state_dir: Annotated[Path, kinds.DIRECTORY] = Path("/var/lib/chronoledger")

    sources: Mapping[str, Source] = {}
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.node_name:
            force_setattr(self, "node_name", _default_node_name(self.port, self.data_dir))

    def __repr__(self) -> str:
        """Without secrets: settings end up in tracebacks."""
        return f"Settings({', '.join(f'{name}={value!r}' for name, value, _ in in_force(self))})"

    @property
    def database_configured(self) -> bool:
        """Whether a database was named at all; if not, `serve` brings its own."""
        return "DATABASE_URL" in self.sources or any(part in self.sources for part in DATABASE_PARTS)

    def dsn(self) -> str:
        """The conninfo of the database, possibly through a pooler. Holds the password: never log it."""
        return self.database_url or make_conninfo(
            host=self.db_host,
            port=self.db_port,
            user=self.db_user,
            password=self.db_password,
            dbname=self.db_name,
            sslmode=self.db_sslmode,
        )

    def direct_dsn(self) -> str:
        """The conninfo past any pooler, for LISTEN and session locks."""
        return self.direct_database_url or self.dsn()


VARIABLES: Mapping[str, FieldInfo] = {
    field.encode_name: field for field in fields(Settings) if field.name not in {"sources", "warnings"}
}
DATABASE_PARTS = ("DB_HOST", "DB_PORT", "DB_USER", "DB_PASSWORD", "DB_PASSWORD_FILE", "DB_NAME")

# What the specification's own web framework reads, and what takes its place here.
_REPLACED = {"GIN_MODE": "APP_MODE"}


class WrongSetting(Exception):
    """Variables hold values that they cannot take: one line each, with what the value must be."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = tuple(lines)


def load(environ: Mapping[str, str], dotenv: Path | None = None) -> Settings:
    """The settings that the environment and, for what it leaves out, a `.env` file ask for.

    An empty value counts as not set. Raises `WrongSetting` with everything that is wrong.
    """
    try:
        in_file = read_dotenv(dotenv) if dotenv else {}
    except WrongDotenv as error:
        raise WrongSetting([str(error)]) from error
    texts = {**_ours(in_file), **_ours(environ)}
    values, problems = _converted(texts)
    problems += _alone(texts) + _homeless(texts, values)
    if "db_password_file" in values:
        values["db_password"] = _password_in(values["db_password_file"], problems)
    if problems:
        raise WrongSetting(problems)
    sources: dict[str, Source] = dict.fromkeys(texts, ".env")
    sources |= dict.fromkeys(_ours(environ), "environment")
    if "DB_PASSWORD_FILE" in sources:
        sources["DB_PASSWORD"] = sources["DB_PASSWORD_FILE"]
    return Settings(**values, sources=sources, warnings=(*_conflicts(texts), *_typos(in_file)))


def _ours(given: Mapping[str, str]) -> dict[str, str]:
    return {name: given[name] for name in VARIABLES if given.get(name)}


def _converted(texts: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    values, problems = {}, []
    for name, text in texts.items():
        field = VARIABLES[name]
        try:
            values[field.name] = _convert(field, text)
        except UnicodeEncodeError:
            problems.append(_wrong(name, text, "it is not UTF-8"))
        except msgspec.ValidationError:
            problems.append(_wrong(name, text))
        except ValueError as error:
            problems.append(_wrong(name, text, str(error)))
    return values, problems


def _convert(field: FieldInfo, text: str) -> Any:
    text.encode()  # bytes that are not UTF-8 arrive as surrogates, on which libpq and msgspec choke later
    read = (kind_of(field).extra or {}).get("read", str.strip)
    return msgspec.convert(read(text), field.type, strict=False)


def _wrong(name: str, text: str, reason: str = "") -> str:
    """One line, whatever the value holds."""
    field = VARIABLES[name]
    value = MASK if is_secret(field) else json.dumps(text[:200], ensure_ascii=not text.isprintable())
    return f"{name}={value} must be {kind_of(field).description}" + (f" ({reason})" if reason else "")


def _password_in(path: Path, problems: list[str]) -> str:
    try:
        password = path.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        problems.append(_wrong("DB_PASSWORD_FILE", str(path), error.strerror or ""))
    except UnicodeDecodeError:
        problems.append(_wrong("DB_PASSWORD_FILE", str(path), "it is not UTF-8 text"))
    else:
        if password and "\0" not in password:
            return password
        problems.append(
            _wrong("DB_PASSWORD_FILE", str(path), "it is empty" if not password else "it holds a NUL")
        )
    return ""


def _alone(texts: Mapping[str, str]) -> list[str]:
    if "DIRECT_DATABASE_URL" not in texts or any(name in texts for name in ("DATABASE_URL", *DATABASE_PARTS)):
        return []
    return [f"DIRECT_DATABASE_URL={MASK} must be set together with DATABASE_URL or DB_HOST"]


def _homeless(texts: Mapping[str, str], values: Mapping[str, Any]) -> list[str]:
    own = not any(name in texts for name in ("DATABASE_URL", *DATABASE_PARTS))
    if own or "ARCHIVE_DIR" in texts or not values.get("retention_days"):
        return []
    return [
        f"RETENTION_DAYS={values['retention_days']} must be set together with ARCHIVE_DIR: a directory that "
        "outlives the process and that every process shares, or s3://bucket/prefix"
    ]


def _conflicts(texts: Mapping[str, str]) -> list[str]:
    parts = [name for name in (*DATABASE_PARTS, "DB_SSLMODE") if name in texts]
    if "DATABASE_URL" in texts and parts:
        return [f"DATABASE_URL is set, so {', '.join(parts)} {'is' if len(parts) == 1 else 'are'} ignored"]
    if "DB_PASSWORD" in parts and "DB_PASSWORD_FILE" in parts:
        return ["DB_PASSWORD_FILE is set, so DB_PASSWORD is ignored"]
    return []


def _typos(in_file: Mapping[str, str]) -> list[str]:
    guesses = misspelt(in_file, VARIABLES.keys(), _REPLACED)
    return [
        f"{name} in .env is not a variable of this service; did you mean {guess}?" for name, guess in guesses
    ]


def with_database(settings: Settings, dsn: str, source: Source = "embedded") -> Settings:
    """The same settings on another database, such as the embedded one."""
    kept = {name: known for name, known in settings.sources.items() if name != "DIRECT_DATABASE_URL"}
    sources: dict[str, Source] = {**kept, "DATABASE_URL": source}
    return replace(settings, database_url=dsn, direct_database_url=None, sources=sources)


def with_audit_key(settings: Settings, path: Path) -> Settings:
    """The same settings with the embedded database's own key, unless another one is named."""
    if settings.audit_key_file is not None:
        return settings
    sources: dict[str, Source] = {**settings.sources, "AUDIT_KEY_FILE": "embedded"}
    return replace(settings, audit_key_file=path, sources=sources)


def with_archives(settings: Settings, path: Path) -> Settings:
    """The same settings with the archives beside the embedded database, unless another place is named."""
    if settings.archive_dir is not None:
        return settings
    sources: dict[str, Source] = {**settings.sources, "ARCHIVE_DIR": "embedded"}
    return replace(settings, archive_dir=str(path), sources=sources)


def in_force(settings: Settings) -> list[tuple[str, str, str]]:
    """Each variable, its value with secrets masked, and its source, in the order of the declaration."""
    return [
        (name, _shown(field, getattr(settings, field.name)), settings.sources.get(name, "default"))
        for name, field in VARIABLES.items()
    ]


def is_secret(field: FieldInfo) -> bool:
    """Whether the variable's value must not be shown."""
    return bool((kind_of(field).extra or {}).get("secret"))


def kind_of(field: FieldInfo) -> msgspec.Meta:
    """What the variable's value must be."""
    meta: msgspec.Meta = field.type.__metadata__[0]
    return meta


def _shown(field: FieldInfo, value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, tuple):
        return ",".join(value)
    if not is_secret(field):
        return f"{value:g}" if isinstance(value, float) else str(value)
    return masked_conninfo(str(value)) if kind_of(field) is kinds.CONNECTION else MASK


def masked_conninfo(conninfo: str) -> str:
    """The parameters of a conninfo or URL as key=value, secrets masked; "***" when it cannot be read."""
    try:
        parts = conninfo_to_dict(conninfo)
    except psycopg.Error:
        return MASK
    for name in parts:
        if any(word in name for word in ("password", "secret", "scram")):
            parts[name] = MASK
    return make_conninfo("", **parts)


def _default_node_name(port: int, data_dir: Path) -> str:
    """Two nodes of one machine differ in their port; where the system picks it, in their data directory."""
    suffix = port or hashlib.blake2b(bytes(data_dir.absolute()), digest_size=4).hexdigest()
    return f"{socket.gethostname()}-{suffix}"
