"""The named statements in `infrastructure/what_if/sql/`: one a file."""

from __future__ import annotations

from functools import cache
from importlib import resources


@cache
def statement(name: str) -> bytes:
    """The text of `infrastructure/what_if/sql/<name>.sql`."""
    return (resources.files("infrastructure.what_if") / "sql" / f"{name}.sql").read_bytes()
