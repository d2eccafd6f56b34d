"""What the projector runs, and who hears about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from psycopg import AsyncConnection

    from infrastructure.projector.reading import Entry


class Projection(Protocol):
    """A read model, as `projections/` makes them. A new `version` has its tables rebuilt."""

    name: ClassVar[str]
    version: ClassVar[int]
    tables: ClassVar[tuple[str, ...]]
    views: ClassVar[tuple[str, ...]]

    @property
    def ddl(self) -> bytes:
        """Creates its tables and views in the first schema of the search path, where they are missing."""
        ...

    @property
    def indexes(self) -> bytes:
        """Creates the indexes that `apply` does not need itself; nothing, where there are none."""
        ...

    def key(self, entry: Entry) -> UUID:
        """What must be applied in order: events with the same key, and only those, meet in a row."""
        ...

    async def apply(self, connection: AsyncConnection, entries: Sequence[Entry]) -> None:
        """Fold events into the tables, within the caller's transaction."""
        ...


class ProjectorObserver(Protocol):
    """Hears what is applied and what is not: for metrics. Must neither block nor raise."""

    def projected(self, projection: str, events: int) -> None:
        """A batch is committed."""

    def parked(self, projection: str, events: int) -> None:
        """Events that could not be applied were set aside."""
