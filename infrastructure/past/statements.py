"""The named statements in `infrastructure/past/sql/`: one a file."""

from __future__ import annotations

from functools import cache
from importlib import resources


@cache
def statement(name: str) -> bytes:
    """The text of `infrastructure/past/sql/<name>.sql`."""
    return (resources.files("infrastructure.past") / "sql" / f"{name}.sql").read_bytes()
