"""The settings: one field a variable of the environment or of `.env`, its default, its bounds, its words.

A field is annotated with a `msgspec.Meta`. Its description completes the sentence "VARIABLE=value must be …";
`read` in its extra turns the text into what msgspec converts, and refuses it with ValueError (its text, if
any, is added to the sentence); `secret` keeps the value out of every message.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import socket
import stat
from collections.abc import Callable, Iterator, Mapping
from itertools import filterfalse
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

import msgspec
import psycopg
from dotenv.parser import parse_stream
from msgspec import Meta, Struct
from msgspec.structs import FieldInfo, fields, force_setattr, replace
from psycopg.conninfo import conninfo_to_dict, make_conninfo

type Source = Literal["environment", ".env", "embedded", "default", "--to"]

MASK = "***"

# A host as browsers put it into an Origin header: no path, no trailing slash, lower case.
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?")

# Names as S3 allows them; what follows is the beginning of the objects' names.
_BUCKET = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^?#]*)?")


def kind(must_be: str, read: Callable[[str], object] = str.strip, *, secret: bool = False) -> Meta:
    """A value that `read` understands."""
    return Meta(description=must_be, extra={"read": read, "secret": secret})


def whole(least: int, most: int) -> Meta:
    """A whole number within inclusive bounds."""
    return Meta(ge=least, le=most, description=f"a whole number from {least} to {most}")


def seconds(least: float, most: float) -> Meta:
    """A number of seconds within inclusive bounds, fractions allowed."""
    return Meta(ge=least, le=most, description=f"a number of seconds from {least:g} to {most:g}")


def _path(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise ValueError("no such user") from error


def _directory(text: str) -> Path:
    path = _path(text)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return path
    except OSError as error:  # one above it is a file, or may not be entered
        raise ValueError((error.strerror or "it cannot be reached").lower()) from error
    if not stat.S_ISDIR(mode):
        raise ValueError("that is a file")
    return path


def _archives(text: str) -> str:
    place = text.strip()
    if "://" not in place:
        return str(_directory(text))
    if not _BUCKET.fullmatch(place):
        raise ValueError("a URL begins with s3:// and a bucket's name")
    return place.rstrip("/")


def _existing_directory(text: str) -> Path:
    path = _directory(text)
    if not path.is_dir():
        raise ValueError("there is no such directory")
    return path


def _time_zone(text: str) -> str:
    name = text.strip()
    try:
        ZoneInfo(name)
    except (LookupError, ValueError, OSError) as error:
        near = difflib.get_close_matches(name, available_timezones(), n=1)
        raise ValueError(f"did you mean {near[0]}?" if near else "") from error
    return name


def _connection(text: str) -> str:
    conninfo = text.strip()
    try:
        port = str(conninfo_to_dict(conninfo).get("port", ""))
    except psycopg.Error:  # its text may quote the password, so it is not repeated
        raise ValueError from None
    if not re.fullmatch(r"[0-9,]*", port):  # libpq would tell only when it connects
        raise ValueError("its port is not a number")
    return conninfo


def _log_level(text: str) -> str:
    level = text.strip().upper()
    return "WARN" if level == "WARNING" else level


def _origins(text: str) -> list[str]:
    origins = [origin.strip().lower() for origin in text.split(",") if origin.strip()]
    for origin in origins:
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            raise ValueError(f"{origin[:80]!r} is not")
    return origins


def _place(text: str) -> str:
    place = text.strip()
    if not place.lower().startswith(("http://", "https://")):
        return str(_path(place))
    try:
        host = urlsplit(place).hostname
    except ValueError as error:
        raise ValueError("its host cannot be read") from error
    if not host:
        raise ValueError("it has no host")
    return place


def _word(text: str) -> str:
    return text.strip().lower()


CONNECTION = kind(
    "a PostgreSQL URL such as postgresql://user:password@host:5432/name?sslmode=disable,"
    " with special characters of the password percent-encoded",
    _connection,
    secret=True,
)
TEXT = kind("text")
PASSWORD = kind("text", str, secret=True)
FILE = kind("the path of a readable file that holds the password", _path)
KEY_FILE = kind("the path of a file with an Ed25519 private key in PEM", _path)
PUBLISH = kind("the path of a file or an http(s) URL", _place, secret=True)
DIRECTORY = kind("the path of a directory", _directory)
ARCHIVES = kind("the path of a directory, or s3://bucket/prefix", _archives)
PROGRAMS = kind("a directory with PostgreSQL's programs (initdb, postgres)", _existing_directory)
TIME_ZONE = kind("an IANA time zone such as UTC or Europe/Berlin", _time_zone)
ORIGINS = kind("a comma-separated list of origins, each * or scheme://host[:port] without a path", _origins)
LOG_LEVEL = kind("DEBUG, INFO, WARN (or WARNING) or ERROR", _log_level)
APP_MODE = kind("debug or release", _word)
SSL_MODE = kind("disable, allow, prefer, require, verify-ca or verify-full", _word)
HOST = Meta(pattern=r"^[A-Za-z0-9.:_%-]+$", description="a host name or an IP address without a port")
NODE_NAME = Meta(
    pattern=r"^[A-Za-z0-9._:-]{0,100}$",
    description="up to 100 letters, digits or any of . _ : - and no spaces",
)


class Settings(Struct, frozen=True, kw_only=True, rename=str.upper):
    """The configuration in force; a field's variable is its name in upper case.

    `sources` tells where each value that is not a default came from; `warnings` are sentences for the log.
    """

    database_url: Annotated[str | None, CONNECTION] = None
    direct_database_url: Annotated[str | None, CONNECTION] = None
    db_host: Annotated[str, TEXT] = "localhost"
    db_port: Annotated[int, whole(1, 65535)] = 5432
    db_user: Annotated[str, TEXT] = "postgres"
    db_password: Annotated[str, PASSWORD] = "postgres"  # noqa: S105 - the documented default
    db_password_file: Annotated[Path | None, FILE] = None
    db_name: Annotated[str, TEXT] = "task_scheduler"
    db_sslmode: Annotated[
        Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"], SSL_MODE
    ] = "prefer"
    db_max_connections: Annotated[int, whole(2, 10_000)] = 20
    host: Annotated[str, HOST] = "127.0.0.1"
    port: Annotated[int, whole(0, 65535)] = 8080
    app_mode: Annotated[Literal["debug", "release"], APP_MODE] = "debug"
    log_dir: Annotated[Path, DIRECTORY] = Path("logs")
    log_level: Annotated[Literal["DEBUG", "INFO", "WARN", "ERROR"], LOG_LEVEL] = "INFO"
    data_dir: Annotated[Path, DIRECTORY] = Path("data")
    archive_dir: Annotated[str | None, ARCHIVES] = None
    retention_days: Annotated[int, whole(0, 36_500)] = 0
    default_timezone: Annotated[str, TIME_ZONE] = "UTC"
    max_concurrency: Annotated[int, whole(1, 10_000)] = 4_000
    max_concurrency_per_host: Annotated[int, whole(1, 10_000)] = 100
    max_response_body_bytes: Annotated[int, whole(0, 16_777_216)] = 65_536
    max_request_body_bytes: Annotated[int, whole(1_024, 104_857_600)] = 1_048_576
    cors_allowed_origins: Annotated[tuple[str, ...], ORIGINS] = ()
    lease_seconds: Annotated[float, seconds(1, 86_400)] = 60.0
    shutdown_grace_seconds: Annotated[float, seconds(0, 3_600)] = 20.0
    visibility_timeout_seconds: Annotated[float, seconds(0, 60)] = 2.0
    node_expiry_seconds: Annotated[float, seconds(3, 600)] = 6.0
    max_clock_offset_seconds: Annotated[float, seconds(0.1, 3_600)] = 5.0
    node_name: Annotated[str, NODE_NAME] = ""
    audit_key_file: Annotated[Path | None, KEY_FILE] = None
    audit_publish: Annotated[str | None, PUBLISH] = None
    audit_publish_seconds: Annotated[float, seconds(1, 86_400)] = 300.0
    chronoledger_pg_bin: Annotated[Path | None, PROGRAMS] = None
    chronoledger_state_dir: Annotated[Path, DIRECTORY] = Path("/var/lib/chronoledger")

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
# High enough that POSTGRES_PASSWORD, which compose files keep in the same .env, is not taken for DB_PASSWORD.
_TYPO_LIKENESS = 0.8


class WrongSetting(Exception):
    """Variables hold values that they cannot take: one line each, with what the value must be."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = tuple(lines)


def load(environ: Mapping[str, str], dotenv: Path | None = None) -> Settings:
    """The settings that the environment and, for what it leaves out, a `.env` file ask for.

    An empty value counts as not set. Raises `WrongSetting` with everything that is wrong.
    """
    in_file = _read_dotenv(dotenv) if dotenv else {}
    texts = {**_set_in(in_file), **_set_in(environ)}
    problems: list[str] = []
    values = {VARIABLES[name].name: value for name, value in _converted(texts, problems)}
    if "db_password_file" in values:
        values["db_password"] = _password_in(values["db_password_file"], problems)
    problems += _incomplete(texts, values)
    if problems:
        raise WrongSetting(problems)
    sources: dict[str, Source] = dict.fromkeys(texts, ".env")
    sources |= dict.fromkeys(_set_in(environ), "environment")
    if "DB_PASSWORD_FILE" in sources:
        sources["DB_PASSWORD"] = sources["DB_PASSWORD_FILE"]
    return Settings(**values, sources=sources, warnings=(*_ignored(texts), *_misspelt(in_file)))


def _set_in(given: Mapping[str, str]) -> dict[str, str]:
    return {name: given[name] for name in VARIABLES if given.get(name)}


def _read_dotenv(path: Path) -> dict[str, str]:
    """The file's NAME=value pairs; none when it does not exist. `${…}` is not expanded: passwords hold it."""
    try:
        with path.open(encoding="utf-8-sig") as stream:
            bindings = list(parse_stream(stream))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise WrongSetting([f"{path} must be a readable file ({error.strerror})"]) from error
    except UnicodeDecodeError as error:
        raise WrongSetting([f"{path} must be UTF-8 text"]) from error
    for binding in bindings:
        if binding.error:
            line = binding.original.line
            raise WrongSetting([f"{path} line {line} must be NAME=value or a comment after #"])
    return {binding.key: binding.value for binding in bindings if binding.key and binding.value is not None}


def _converted(texts: Mapping[str, str], problems: list[str]) -> Iterator[tuple[str, Any]]:
    for name, text in texts.items():
        field = VARIABLES[name]
        try:
            text.encode()  # bytes that are not UTF-8 arrive as surrogates, on which libpq and msgspec choke
            read = (_meta(field).extra or {}).get("read", str.strip)
            yield name, msgspec.convert(read(text), field.type, strict=False)
        except UnicodeEncodeError:
            problems.append(_wrong(name, text, "it is not UTF-8"))
        except msgspec.ValidationError:
            problems.append(_wrong(name, text))
        except ValueError as error:
            problems.append(_wrong(name, text, str(error)))


def _wrong(name: str, text: str, reason: str = "") -> str:
    """One line, whatever the value holds."""
    field = VARIABLES[name]
    value = MASK if _is_secret(field) else json.dumps(text[:200], ensure_ascii=not text.isprintable())
    return f"{name}={value} must be {_meta(field).description}" + (f" ({reason})" if reason else "")


def _password_in(path: Path, problems: list[str]) -> str:
    try:
        password = path.read_text(encoding="utf-8").rstrip("\r\n")
        wrong = "it is empty" if not password else "it holds a NUL" if "\0" in password else None
    except OSError as error:
        password, wrong = "", error.strerror or ""
    except UnicodeDecodeError:
        password, wrong = "", "it is not UTF-8 text"
    if wrong is not None:
        problems.append(_wrong("DB_PASSWORD_FILE", str(path), wrong))
    return password


def _incomplete(texts: Mapping[str, str], values: Mapping[str, Any]) -> Iterator[str]:
    named = any(name in texts for name in ("DATABASE_URL", *DATABASE_PARTS))
    if "DIRECT_DATABASE_URL" in texts and not named:
        yield f"DIRECT_DATABASE_URL={MASK} must be set together with DATABASE_URL or DB_HOST"
    if named and "ARCHIVE_DIR" not in texts and values.get("retention_days"):
        yield (
            f"RETENTION_DAYS={values['retention_days']} must be set together with ARCHIVE_DIR: a directory "
            "that outlives the process and that every process shares, or s3://bucket/prefix"
        )


def _ignored(texts: Mapping[str, str]) -> Iterator[str]:
    parts = [name for name in (*DATABASE_PARTS, "DB_SSLMODE") if name in texts]
    if "DATABASE_URL" in texts and parts:
        yield f"DATABASE_URL is set, so {', '.join(parts)} {'is' if len(parts) == 1 else 'are'} ignored"
    elif "DB_PASSWORD" in parts and "DB_PASSWORD_FILE" in parts:
        yield "DB_PASSWORD_FILE is set, so DB_PASSWORD is ignored"


def _misspelt(in_file: Mapping[str, str]) -> Iterator[str]:
    for name in filterfalse(VARIABLES.__contains__, in_file):
        near = difflib.get_close_matches(name.upper(), VARIABLES, n=1, cutoff=_TYPO_LIKENESS)
        if guess := _REPLACED.get(name) or next(iter(near), None):
            yield f"{name} in .env is not a variable of this service; did you mean {guess}?"


def with_database(settings: Settings, dsn: str, source: Source = "embedded") -> Settings:
    """The same settings on another database, such as the embedded one."""
    kept = {name: known for name, known in settings.sources.items() if name != "DIRECT_DATABASE_URL"}
    sources: dict[str, Source] = {**kept, "DATABASE_URL": source}
    return replace(settings, database_url=dsn, direct_database_url=None, sources=sources)


def with_unset(settings: Settings, source: Source = "embedded", **values: object) -> Settings:
    """The same settings with values for those of these fields that nobody has set."""
    unset: dict[str, Any] = {name: value for name, value in values.items() if getattr(settings, name) is None}
    sources = {**settings.sources, **dict.fromkeys(map(str.upper, unset), source)}
    return replace(settings, **unset, sources=sources)


def in_force(settings: Settings) -> list[tuple[str, str, str]]:
    """Each variable, its value with secrets masked, and its source, in the order of the declaration."""
    return [
        (name, _shown(field, getattr(settings, field.name)), settings.sources.get(name, "default"))
        for name, field in VARIABLES.items()
    ]


def _is_secret(field: FieldInfo) -> bool:
    return bool((_meta(field).extra or {}).get("secret"))


def _meta(field: FieldInfo) -> Meta:
    meta: Meta = field.type.__metadata__[0]
    return meta


def _shown(field: FieldInfo, value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, tuple):
        return ",".join(value)
    if not _is_secret(field):
        return f"{value:g}" if isinstance(value, float) else str(value)
    return masked_conninfo(str(value)) if _meta(field) is CONNECTION else MASK


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
