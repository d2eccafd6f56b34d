"""The named statements in `infrastructure/projector/sql/`: one a file."""

from __future__ import annotations

from functools import cache
from importlib import resources


@cache
def statement(name: str) -> bytes:
    """The text of `infrastructure/projector/sql/<name>.sql`."""
    return (resources.files("infrastructure.projector") / "sql" / f"{name}.sql").read_bytes()
