"""How refusals show what was given, and how they point at it."""

from __future__ import annotations

import unicodedata
from datetime import UTC
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

_LONGEST_SHOWN = 80
# Control characters, lone surrogates, line and paragraph separators: they break logs, or cannot be stored.
_UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}


def shown(value: object) -> str:
    """The value in quotes, cut to 80 characters, with everything that is not printable escaped."""
    return f'"{printed(str(value))}"'


def printed(text: str) -> str:
    """The text, cut to 80 characters, with everything that is not printable escaped."""
    cut = text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…"
    return "".join(map(_printable, cut))


def _printable(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()


def instant(moment: datetime) -> str:
    """The instant in UTC, as exact as it is and as answers write it."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def unprintable(text: str) -> str | None:
    """The first character that a line of text must not hold; None: there is none."""
    if text.isprintable():  # then there is none, which is told at once
        return None
    return next((mark for mark in text if unicodedata.category(mark) in _UNPRINTABLE), None)


def pointer(*names: str) -> str:
    """A JSON pointer (RFC 6901) to a member of the request's body; always valid UTF-8."""
    return "".join("/" + _printed_utf8(name).replace("~", "~0").replace("/", "~1") for name in names)


def _printed_utf8(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()
