"""A safety net under the logs: what must never be logged is masked, even when it is logged by mistake."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from enum import Enum
from math import isfinite
from pathlib import PurePath
from typing import Any
from uuid import UUID

from msgspec import Struct
from msgspec.structs import asdict

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
