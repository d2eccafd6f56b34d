"""Rows that a batch continues: they are taken out of their table, and put back as what they have become."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from projections.copying import uuids
from projections.statements import statement

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from uuid import UUID

    from psycopg import AsyncConnection, AsyncCursor


class Taken[R]:
    """Rows by their id. In a pipeline they can be read once that is over."""

    def __init__(self, cursor: AsyncCursor | None, row: Callable[[Sequence[Any]], R]) -> None:
        """`row` makes one of its columns, the first of which is the id; `cursor` None: nothing was asked."""
        self._cursor = cursor
        self._row = row

    async def rows(self) -> dict[UUID, R]:
        """Those that there were."""
        if self._cursor is None:
            return {}
        async with self._cursor as cursor:
            return {row[0]: self._row(row) for row in await cursor.fetchall()}


async def take[R](
    connection: AsyncConnection, name: str, ids: Collection[UUID], row: Callable[[Sequence[Any]], R]
) -> Taken[R]:
    """Take out what there is of these by the statement of that name."""
    if not ids:
        return Taken(None, row)
    cursor = connection.cursor(binary=True)
    return Taken(await cursor.execute(statement(name), {"ids": uuids(ids)}), row)
