"""How many rows of a read model have which status, kept as they change."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Protocol

from projections.statements import statement

if TYPE_CHECKING:
    from psycopg import AsyncConnection


class _HasStatus(Protocol):
    @property
    def namespace(self) -> str: ...

    @property
    def status(self) -> str: ...


type StateCounts = Counter[tuple[str, str]]


def count_change(counts: StateCounts, before: _HasStatus | None, after: _HasStatus) -> None:
    """Take a row out of the count of its old status and into that of its new one.

    A count that comes to nothing keeps its key: which rows exist must not depend on the batch.
    """
    if before is None:
        counts[after.namespace, after.status] += 1
    elif before.status != after.status:
        counts[before.namespace, before.status] -= 1
        counts[after.namespace, after.status] += 1


async def write_counts(connection: AsyncConnection, name: str, counts: StateCounts) -> None:
    """Add the changes of a batch by the statement of that name."""
    if counts:
        namespaces, statuses = zip(*counts, strict=True)
        totals = list(counts.values())
        parameters = {"namespace": list(namespaces), "status": list(statuses), "total": totals}
        await connection.execute(statement(name), parameters)
