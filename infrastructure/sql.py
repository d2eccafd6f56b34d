"""The named SQL statements beside the modules that use them: one a file, in the folder `sql` of a package."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from importlib import resources


@cache
def _read(package: str, name: str) -> bytes:
    return (resources.files(package) / "sql" / f"{name}.sql").read_bytes()


def statements(package: str) -> Callable[[str], bytes]:
    """A function that returns the text of `sql/<name>.sql` of a package, given the name.

    >>> statement = statements("infrastructure.event_store")
    """
    return partial(_read, package)
