"""The named statements in `infrastructure/archive/sql/`: one a file."""

from __future__ import annotations

from functools import cache
from importlib import resources


@cache
def statement(name: str) -> bytes:
    """The text of `infrastructure/archive/sql/<name>.sql`."""
    return (resources.files("infrastructure.archive") / "sql" / f"{name}.sql").read_bytes()
