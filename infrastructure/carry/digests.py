"""Hashes of what is stored, by which two logs, or a log and an archive, are compared."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from infrastructure.archive.library import NO_ARCHIVES
from infrastructure.carry.archive import Selection
from infrastructure.carry.lines import written
from infrastructure.carry.reading import portions

if TYPE_CHECKING:
    from psycopg import Connection

    from infrastructure.archive.library import Library
    from infrastructure.carry.database import Told


def digest(
    connection: Connection,
    after: int,
    until: int,
    told: Told | None = None,
    selection: Selection | None = None,
    library: Library = NO_ARCHIVES,
) -> str:
    """The SHA-256 of the lines of the events between two positions, as an archive has them."""
    found = sha256()
    for portion in portions(connection, selection or Selection(), after, until, library):
        found.update(written(portion.rows))
        if told is not None:
            told("compared", portion.rows[-1][0], until)
    return found.hexdigest()
