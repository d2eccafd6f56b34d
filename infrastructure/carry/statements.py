"""The named statements in `infrastructure/carry/sql/`: one a file."""

from __future__ import annotations

from functools import cache
from importlib import resources


@cache
def statement(name: str) -> bytes:
    """The text of `infrastructure/carry/sql/<name>.sql`."""
    return (resources.files("infrastructure.carry") / "sql" / f"{name}.sql").read_bytes()
