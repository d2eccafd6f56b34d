"""The named statements in `infrastructure/event_store/sql/`: one a file."""

from __future__ import annotations

from functools import cache
from importlib import resources


@cache
def statement(name: str) -> bytes:
    """The text of `infrastructure/event_store/sql/<name>.sql`."""
    return (resources.files("infrastructure.event_store") / "sql" / f"{name}.sql").read_bytes()
