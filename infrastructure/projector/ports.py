"""What the projector runs, and who hears about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from uuid import UUID

    from psycopg import AsyncConnection

    from infrastructure.projector.reading import Entry


class Projection(Protocol):
    """A read model, as `projections/` makes them. A new `version` has its tables rebuilt."""

    tables: ClassVar[tuple[str, ...]]
    views: ClassVar[tuple[str, ...]]
    across: ClassVar[frozenset[type]]
    """The facts that change rows, where a row is told of by several streams: all are folded in one place.

    Empty where each stream has rows of its own: it may be folded apart from the others.
    """

    @property
    def name(self) -> str:
        """That of its checkpoint."""
        ...

    @property
    def version(self) -> int:
        """Of its tables and of what its rows are folded to."""
        ...

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

    def apply(self, connection: AsyncConnection, entries: Sequence[Entry]) -> AsyncGenerator[None]:
        """Fold a batch into the tables in three steps, within the caller's transaction.

        The first asks for the rows that it continues, the second reads the answers and puts rows down, the
        third adds up. What several projections do in the first is one round trip in a pipeline, and so is
        what they do in the third; in the second there must be none, for COPY goes through no pipeline.
        """
        ...


class ProjectorObserver(Protocol):
    """Hears what is applied and what is not: for metrics. Must neither block nor raise."""

    def projected(self, projection: str, events: int) -> None:
        """A batch is committed."""

    def parked(self, projection: str, events: int) -> None:
        """Events that could not be applied were set aside."""
