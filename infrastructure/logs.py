"""The console's log: JSON for machines, columns for a developer's terminal; never a secret in either."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import structlog
from structlog.stdlib import ProcessorFormatter

from infrastructure.redaction import redact

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

    from infrastructure.settings import Settings

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
