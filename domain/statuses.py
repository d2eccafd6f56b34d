"""HTTP statuses as policies list them: "503", or "5xx" for the whole class."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_SERVER_ERROR = 5


def matches(patterns: Sequence[str], status: int) -> bool:
    """Whether a status is among them. What is none by the book counts as a 5xx (RFC 9110 §15)."""
    family = status // 100 if 100 <= status <= 599 else _SERVER_ERROR
    return str(status) in patterns or f"{family}xx" in patterns


def listed(patterns: Sequence[str]) -> str:
    """The patterns as a sentence tells them."""
    *most, last = patterns or ("nothing",)
    return f"{', '.join(most)} and {last}" if most else last
