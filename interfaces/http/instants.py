"""Instants in a query: what is taken for one, and what is not."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from domain.wording import shown
from interfaces.http.refusals import InvalidParameters

INSTANT = (
    "an instant by ISO 8601 with its offset, such as 2030-01-01T12:00:00Z or 2030-01-01T12:00:00%2B02:00."
)


def instant(name: str, text: str | None) -> datetime | None:
    """The instant that a query parameter names, UTC. Raises `InvalidParameters`."""
    if text is None:
        return None
    parsed = _parsed(text)
    try:
        if parsed is not None and parsed.tzinfo is not None:
            return parsed.astimezone(UTC)
    except OverflowError:
        pass
    raise InvalidParameters([(name, f"{shown(text)} is not an instant: give {INSTANT}")])


def local_or_absolute(name: str, text: str | None) -> datetime | None:
    """The same as it was given: without an offset it is local time. Raises `InvalidParameters`."""
    parsed = None if text is None else _parsed(text)
    if text is None or parsed is not None:
        return parsed
    advice = "give one by ISO 8601, such as 2030-01-01T12:00:00Z, or local time without an offset."
    raise InvalidParameters([(name, f"{shown(text)} is not an instant: {advice}")])


def _parsed(text: str) -> datetime | None:
    # In a query `+` stands for a blank: a `+02:00` that was not escaped arrives as ` 02:00`.
    repaired = re.sub(r" (?=\d\d:?\d\d$)", "+", text)
    try:
        return datetime.fromisoformat(repaired)
    except ValueError:
        return None
