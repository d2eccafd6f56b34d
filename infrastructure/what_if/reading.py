"""`Runs` over Postgres: the ledger proposes which executions there are, their streams tell of them."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from application.ports import LogUnavailable
from infrastructure.event_store.log import READ_SECONDS, recorded
from infrastructure.event_store.outage import AWAY, first_line
from infrastructure.sql import statements

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from psycopg_pool import AsyncConnectionPool

    from application.explanation.claims import Streams
    from application.ports import Recorded

statement = statements("infrastructure.past")

# What began earlier, and was not over by then, is not looked for.
LONGEST_RUN = timedelta(days=7)


class PostgresRuns:
    """`application.what_if.question.Runs`. Every method raises `LogUnavailable`."""

    def __init__(self, pool: AsyncConnectionPool, log: Streams) -> None:
        """`log` has the streams that are archived."""
        self._pool = pool
        self._log = log

    async def of_task(
        self, task_id: UUID, since: datetime, until: datetime, position: int, limit: int
    ) -> Sequence[UUID]:
        """See `Runs`."""
        asked = {"task_id": task_id, "since": since, "until": until, "earlier": since - LONGEST_RUN}
        rows = await self._rows("runs_of_task", asked | {"position": position, "limit": limit})
        return [run for (run,) in rows]

    async def streams(self, runs: Sequence[UUID]) -> Sequence[Recorded]:
        """See `Runs`."""
        events = [recorded(row) for row in await self._rows("read_runs", {"runs": list(runs)})]
        for archived in set(runs).difference(event.stream for event in events):
            events += await self._log.read_stream(archived)
        return sorted(events, key=lambda event: (event.stream, event.version))

    async def durations_ms(self, task_id: UUID) -> Sequence[int]:
        """See `Runs`."""
        return [duration for (duration,) in await self._rows("latest_durations", {"task_id": task_id})]

    async def _rows(self, name: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
        try:
            async with (
                asyncio.timeout(READ_SECONDS),
                self._pool.connection() as connection,
                connection.cursor(binary=True) as cursor,
            ):
                await cursor.execute(statement(name), parameters, prepare=False)
                return await cursor.fetchall()
        except AWAY as error:
            raise LogUnavailable(first_line(error)) from error
