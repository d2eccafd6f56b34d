"""The kinds of values that a variable may take: how one is read, its bounds, and the words for both.

A kind is a `msgspec.Meta`. Its description completes the sentence "VARIABLE=value must be …"; `read` in its
extra turns the text into what msgspec converts, and refuses it with ValueError (its text, if any, is added to
the sentence); `secret` keeps the value out of every message.
"""

from __future__ import annotations

import difflib
import re
import stat
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

import psycopg
from msgspec import Meta
from psycopg.conninfo import conninfo_to_dict

# A host as browsers put it into an Origin header: no path, no trailing slash, lower case.
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?")


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
