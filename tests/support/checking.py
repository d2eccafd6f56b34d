"""What a check tells, collected; and damage to read models, to be found by it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from psycopg import AsyncConnection

from infrastructure.projector.batch import QuarantinedEvent
from infrastructure.projector.check import Checked, Difference, check
from projections import PROJECTIONS
from projections.projection import Projection


class Told:
    """`CheckObserver` that remembers; `on_comparing` is called before each table."""

    def __init__(self, on_comparing: Callable[[], None] | None = None) -> None:
        self.differences: list[Difference] = []
        self.refusals: list[QuarantinedEvent] = []
        self.tables: list[str] = []
        self.positions: list[tuple[int, int]] = []
        self._on_comparing = on_comparing

    def folded(self, position: int, until: int) -> None:
        self.positions.append((position, until))

    def comparing(self, table: str) -> None:
        self.tables.append(table)
        if self._on_comparing is not None:
            self._on_comparing()

    def refused(self, event: QuarantinedEvent) -> None:
        self.refusals.append(event)

    def differs(self, difference: Difference) -> None:
        self.differences.append(difference)


async def checked(database: str, projections: Sequence[Projection] = PROJECTIONS) -> tuple[Checked, Told]:
    """A check of a database, and what it told."""
    told = Told()
    return await check(database, projections, told), told


class Planted(NamedTuple):
    """One difference: of which table, of what kind, and of which columns."""

    table: str
    kind: str
    columns: tuple[str, ...] = ()


# One column of each table that may be anything, and what to make of it.
_SPOILT = {
    "task_definitions": ("timeout_seconds", "timeout_seconds + 1"),
    "task_states": ("next_run", "coalesce(next_run, now()) + interval '1 microsecond'"),
    "task_counts": ("total", "total + 1"),
    "open_results": ("attempts", "attempts + 1"),
    "closed_results": ("attempt_log", "'[ ]'"),
    "result_counts": ("total", "total - 1"),
    "statistics": ("total", "total + 1"),
    "statistics_minutes": ("finished", "finished + 1"),
    "statistics_open": ("due_at", "due_at + interval '1 microsecond'"),
}
TABLES = tuple(_SPOILT)
# A row that is there once more under another key.
_KEYS = {
    "task_counts": "namespace || '!'",
    "result_counts": "namespace || '!'",
    "statistics": "metric || '!'",
    "statistics_minutes": "minute + interval '1 second'",
}


async def plant(connection: AsyncConnection, table: str) -> list[Planted]:
    """Change the second row of a table, delete the first, and add one."""
    cursor = await connection.execute(f"SELECT * FROM {table} LIMIT 0".encode())
    assert cursor.description is not None
    names = [column.name for column in cursor.description]
    key, *others = names
    made = [_KEYS.get(table, "gen_random_uuid()"), *others]
    column, spoilt = _SPOILT[table]
    order = ", ".join(names[:2] if table in _KEYS else [key])
    first, second = (
        f"WHERE ctid = (SELECT ctid FROM {table} ORDER BY {order} OFFSET {place} LIMIT 1)" for place in (0, 1)
    )
    for statement in (
        f"UPDATE {table} SET {column} = {spoilt} {second}",
        f"DELETE FROM {table} {first}",
        f"INSERT INTO {table} ({', '.join(names)}) SELECT {', '.join(made)} FROM {table} {second}",
    ):
        assert (await connection.execute(statement.encode())).rowcount == 1, statement
    return [
        Planted(table, "unexpected"),
        Planted(table, "missing"),
        Planted(table, "different", (column,)),
    ]


def as_planted(differences: Sequence[Difference]) -> list[Planted]:
    """The same of what was found."""
    return [
        Planted(found.table, found.kind, tuple(column.name for column in found.columns))
        for found in differences
    ]
