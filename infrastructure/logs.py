"""The console's log: JSON for machines, columns for a developer's terminal; never a secret in either."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from enum import Enum
from math import isfinite
from pathlib import PurePath
from typing import Any
from uuid import UUID

import structlog
from msgspec import Struct
from msgspec.structs import asdict
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, Processor, WrappedLogger

from infrastructure.settings import Settings

MASK = "***"

# A key is hidden when it ends with one of these words, compared without case, `-` and `_`.
_HIDDEN_ENDINGS = (
    *("password", "passwd", "secret", "token", "apikey", "authorization", "cookie", "cookies"),
    *("dsn", "conninfo", "databaseurl"),
    *("headers", "payload", "body"),
)

# In any text: user:password@ of a URL, password=… of a conninfo or a mapping, the credentials of a header.
_SECRETS_IN_TEXT = re.compile(
    r"""(?P<url>://[^/\s:@'"]*:)[^/\s@'"]+(?=@)
    |(?P<pair>\b\w*password['"]?\s*[=:]\s*)('(\\.|[^'\\])*'|"(\\.|[^"\\])*"|[^\s'",)}]+)
    |(?P<scheme>\b(bearer|basic)\s+)[\w.~+/=-]{16,}""",
    re.IGNORECASE | re.VERBOSE,
)

_PLAIN = (bool, int, float, UUID, datetime, date, time, timedelta, PurePath, Enum)
_DEPTH = 8


def redact(value: Any, depth: int = _DEPTH) -> Any:
    """The value as mappings, lists and plain values, with secrets, header values and payloads masked.

    Objects that are neither plain nor a struct become their type's name: their `repr` could show anything.
    """
    match value:
        case None:
            return None
        case str() if not isinstance(value, Enum):
            return masked_text(value)
        case BaseException():
            return masked_text(f"{type(value).__name__}: {value}")
        case float() if not isfinite(value):
            return str(value)  # JSON has no NaN
        case _ if isinstance(value, _PLAIN):
            return value
        case _ if depth == 0:
            return "…"
        case Struct():
            return redact(asdict(value), depth)
        case Mapping():
            return {
                str(key): MASK if _is_hidden(str(key)) and item is not None else redact(item, depth - 1)
                for key, item in value.items()
            }
        case list() | tuple() | set() | frozenset():
            return [redact(item, depth - 1) for item in value]
        case _:
            return f"<{type(value).__qualname__}>"


def masked_text(text: str) -> str:
    """The text without the passwords and credentials that can be told apart in it."""
    return _SECRETS_IN_TEXT.sub(lambda found: (found["url"] or found["pair"] or found["scheme"]) + MASK, text)


def _is_hidden(key: str) -> bool:
    return key.lower().replace("-", "").replace("_", "").endswith(_HIDDEN_ENDINGS)


_LEVELS = {"warning": "WARN", "critical": "ERROR", "trace": "DEBUG"}
_FIRST = ("timestamp", "level", "event", "role", "logger")

# Loggers whose lines hold request targets or header values; `/metrics` counts what they would tell.
_QUIET = ("uvicorn.access", "httpx", "httpcore", "hpack")
# Loggers that tell of every step of what this service reports in one line of its own.
_CHATTY = ("uvicorn.error", "yoyo")
# In an outage it warns ten times a second, and those who wait for its connections say it once.
_REPETITIVE = ("psycopg.pool",)


class _Console(logging.StreamHandler):  # type: ignore[type-arg]
    """The one handler that `configure` owns and replaces."""


def configure(settings: Settings, role: str) -> None:
    """Send structlog's and the standard library's logs, uvicorn's included, to stderr in one format.

    JSON lines in release mode or when stderr is not a terminal. Every line has `timestamp` (ISO 8601, UTC),
    `level` (DEBUG, INFO, WARN or ERROR), `event`, `role` and `logger`. May be called again.
    """
    level = logging.getLevelNamesMapping()[settings.log_level]
    readable = settings.app_mode == "debug" and sys.stderr.isatty()
    before: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*before, ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=False,
    )
    _replace_handlers(_console(before, role, readable=readable), level)


def _console(before: Sequence[Processor], role: str, *, readable: bool) -> logging.Handler:
    def add_role(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
        event_dict.setdefault("role", role)
        return event_dict

    console = _Console(sys.stderr)
    console.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=before,
            processors=[
                ProcessorFormatter.remove_processors_meta,
                add_role,
                _name_level,
                _redact,
                _columns() if readable else _json,
            ],
        )
    )
    return console


def _replace_handlers(console: logging.Handler, level: int) -> None:
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _Console)]:
        root.removeHandler(handler)
    root.addHandler(console)
    root.setLevel(level)
    logging.captureWarnings(capture=True)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):  # uvicorn's own set-up would print twice
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    for name in (*_QUIET, *_CHATTY):
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    for name in _REPETITIVE:
        logging.getLogger(name).setLevel(max(level, logging.ERROR))


def _name_level(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    level = str(event_dict.get("level", "info"))
    event_dict["level"] = _LEVELS.get(level, level.upper())
    return event_dict


def _redact(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    clean: dict[str, Any] = redact(dict(event_dict))
    return {key: clean[key] for key in _FIRST if key in clean} | clean


def _json(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> str:
    text = json.dumps(event_dict, ensure_ascii=False, default=str)
    return text.encode(errors="backslashreplace").decode()  # JSON's own escape for a lone surrogate


def _columns() -> Processor:
    # Tracebacks arrive as text already: structlog's default would print local variables, secrets among them.
    renderer = structlog.dev.ConsoleRenderer(
        colors=True, exception_formatter=structlog.dev.plain_traceback, pad_level=False
    )

    def render(logger: WrappedLogger, method: str, event_dict: EventDict) -> str:
        return str(renderer(logger, method, {**event_dict, "level": str(event_dict["level"]).lower()}))

    return render
