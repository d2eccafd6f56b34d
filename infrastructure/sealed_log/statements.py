"""The named statements in `infrastructure/sealed_log/sql/`: one a file."""

from __future__ import annotations

from functools import cache
from importlib import resources


@cache
def statement(name: str) -> bytes:
    """The text of `infrastructure/sealed_log/sql/<name>.sql`."""
    return (resources.files("infrastructure.sealed_log") / "sql" / f"{name}.sql").read_bytes()
