"""The named statements in `projections/sql/`: one a file."""

from __future__ import annotations

from functools import cache
from importlib import resources


@cache
def statement(name: str) -> bytes:
    """The text of `projections/sql/<name>.sql`."""
    return (resources.files("projections") / "sql" / f"{name}.sql").read_bytes()
