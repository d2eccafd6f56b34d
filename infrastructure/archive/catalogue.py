"""The catalogue of archives: which months have left the log, and for which files."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Literal
from uuid import UUID

from msgspec import Struct

from domain.months import Month
from infrastructure.sql import statements

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from psycopg import AsyncConnection, Connection

statement = statements("infrastructure.archive")


class Archive(Struct, frozen=True):
    """A month that was archived; `size` in bytes. Streams are those from `first_stream` to before
    `end_stream`. `sha256` is that of the whole file, `manifest_sha256` that of its manifest as it lies there.

    While it is `archived`, its events are in the file alone; while it is `restored`, in the log as well.
    """

    month: Month
    name: str
    size: int
    sha256: str
    manifest_sha256: str
    events: int
    executions: int
    first_stream: UUID
    end_stream: UUID
    first_position: int
    last_position: int
    state: Literal["archived", "restored"]
    changed_at: datetime

    @property
    def away(self) -> bool:
        """Whether the events are in the file alone."""
        return self.state == "archived"

    def has(self, stream: UUID) -> bool:
        """Whether a stream's events are, or would be, in the file."""
        return self.first_stream <= stream < self.end_stream


def first_day(month: Month) -> date:
    """How the catalogue names a month."""
    return month.start.date()


async def archives(connection: AsyncConnection) -> Sequence[Archive]:
    """All of them, the oldest month first."""
    cursor = await connection.execute(statement("archives"))
    return [_archive(row) for row in await cursor.fetchall()]


def archives_in(connection: Connection) -> Sequence[Archive]:
    """All of them, the oldest month first."""
    return [_archive(row) for row in connection.execute(statement("archives")).fetchall()]


def _archive(row: tuple[Any, ...]) -> Archive:
    day: date = row[0]
    return Archive(Month(day.year, day.month), *row[1:])
