"""The explanations' port to the occurrence ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from application.explanation.occurrences import Accounted
from application.past.moment import TooMuchHistory
from projections.views import Paging, ResultQuery

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from projections.views import Listing, ResultView

AT_ONCE = 200
# Of the past each row is a stream to read: some seconds in all.
MOST_OF_THE_PAST = 2_000


class Results(Protocol):
    """Pages of the ledger."""

    async def results(self, query: ResultQuery, paging: Paging, /) -> Listing[ResultView]:
        """One page. Raises `psycopg.OperationalError` when the database is away."""
        ...


class LedgerOfReadModels:
    """`application.explanation.occurrences.Ledger` over the read model."""

    def __init__(self, queries: Results, most: int | None = None) -> None:
        """`most`: of more rows than these (None: of any number) none are read."""
        self._queries = queries
        self._most = most

    async def accounted(
        self, namespace: str, task_id: UUID, start: datetime, end: datetime
    ) -> Sequence[Accounted]:
        """See `Ledger`. Raises `TooMuchHistory` and what the read models raise."""
        query = ResultQuery(namespace=namespace, task_id=task_id, due_from=start, due_to=end)
        found: list[Accounted] = []
        cursor: str | None = None
        while True:
            page = await self._queries.results(query, Paging(limit=AT_ONCE, sort="due_at", cursor=cursor))
            if self._most is not None and page.total > self._most:
                raise TooMuchHistory(
                    f"The ledger has {page.total:,} occurrences in that window by now, and each would have "
                    f"to be read anew; at most {self._most:,} are: narrow `from` and `to`."
                )
            found += [
                Accounted(execution_id=row.id, due_at=row.due_at, status=row.status, reason=row.reason)
                for row in page.items
                if row.kind != "manual"
            ]
            cursor = page.next_cursor
            if cursor is None:
                return found
