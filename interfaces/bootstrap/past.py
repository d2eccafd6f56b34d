"""The API's port to the past: the log as it was, folded by the read models' own folds."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from msgspec.structs import replace
from psycopg import DataError, IntegrityError

from application.explanation.explainer import Explainer
from application.explanation.history import history_of
from application.explanation.occurrences import Accounted, Occurrences
from application.past.moment import Cut, Stopped
from application.past.places import placing_events
from application.ports import Unreadable
from infrastructure.past import PostgresPast, outcome_entries, task_entries
from projections import task_results
from projections.past import past_figures, past_task, past_tasks
from projections.projection import PoisonEvent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from datetime import datetime
    from uuid import UUID

    from psycopg import AsyncConnection
    from psycopg_pool import AsyncConnectionPool

    from application.explanation.claims import Streams
    from application.explanation.occurrences import Ledger, Window
    from application.past.moment import Moment
    from infrastructure.archive.shelf import Shelf
    from projections.result_rows import ResultRow
    from projections.views import Figures, Listing, Paging, TaskQuery, TaskView


class PastOfLog:
    """`interfaces.http.query_ports.Past`."""

    def __init__(self, connections: AsyncConnectionPool, log: Streams, ledger: Ledger, shelf: Shelf) -> None:
        """`ledger` is that of today, and bounded: of what it has, each row is read anew."""
        self._shelf = shelf
        self._connections = connections
        self._moments = PostgresPast(connections, shelf)
        self._log = log
        self._ledger = ledger
        # Folding is work for a processor that also serves the other requests.
        self._turn = asyncio.Lock()

    async def at(self, instant: datetime) -> Moment:
        """See `Past`."""
        return await self._moments.at(instant)

    async def after(self, position: int) -> Moment:
        """See `Past`."""
        return await self._moments.after(position)

    async def task(self, namespace: str, task_id: UUID, moment: Moment) -> TaskView | None:
        """See `Past`."""
        cut = Cut(self._log, moment)
        history = history_of(task_id, await cut.read_stream(task_id))
        if history is None or history.task.namespace != namespace:
            return None
        placing = await placing_events(cut, history, moment.at)
        return past_task(task_id, sorted([*history.events, *placing], key=lambda event: event.position))

    async def tasks(self, query: TaskQuery, paging: Paging, moment: Moment) -> Listing[TaskView]:
        """See `Past`."""
        async with self._folding(moment) as connection:
            streams = task_entries(connection, moment, query.created_from, query.created_to)
            listing = await past_tasks(connection, query, paging, streams)
        items = [await self.task(query.namespace, view.id, moment) for view in listing.items]
        return replace(listing, items=[view for view in items if view is not None])

    async def figures(self, moment: Moment) -> Figures:
        """See `Past`."""
        async with self._folding(moment) as connection:
            outcomes = outcome_entries(connection, moment, self._shelf)
            streams = task_entries(connection, moment)
            return await past_figures(outcomes, streams, moment.at)

    async def window(
        self, namespace: str, task_id: UUID, start: datetime, end: datetime, limit: int, moment: Moment
    ) -> Window:
        """See `Past`."""
        cut, clock = Cut(self._log, moment), Stopped(moment)
        occurrences = Occurrences(Explainer(cut, clock), _LedgerOfStreams(self._ledger, cut), clock)
        return await occurrences.window(namespace, task_id, start, end, limit)

    @contextlib.asynccontextmanager
    async def _folding(self, moment: Moment) -> AsyncIterator[AsyncConnection]:
        """A connection for what takes its turn. Raises `Unreadable` when an event cannot be folded."""
        async with self._turn, self._connections.connection() as connection:
            try:
                yield connection
            except (PoisonEvent, DataError, IntegrityError) as error:
                raise Unreadable(
                    moment.position, f"something up to there cannot be folded ({error})"
                ) from error


class _LedgerOfStreams:
    """`Ledger` as it was: the one of today proposes which executions there are, their streams decide."""

    def __init__(self, ledger: Ledger, cut: Cut) -> None:
        self._ledger = ledger
        self._cut = cut

    async def accounted(
        self, namespace: str, task_id: UUID, start: datetime, end: datetime
    ) -> Sequence[Accounted]:
        """See `Ledger`. Raises what the ledger of today raises, `LogUnavailable` and `PoisonEvent`."""
        today = await self._ledger.accounted(namespace, task_id, start, end)
        rows = [await self._row(each.execution_id) for each in today]
        return [
            Accounted(execution_id=row.id, due_at=row.due_at, status=row.status, reason=row.reason)
            for row in rows
            if row is not None
        ]

    async def _row(self, execution_id: UUID) -> ResultRow | None:
        events = await self._cut.read_stream(execution_id)
        return task_results.fold({}, events).rows.get(execution_id)
