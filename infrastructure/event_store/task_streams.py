"""The log, task by task."""

from __future__ import annotations

import asyncio
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING
from uuid import UUID

from application.ports import LogUnavailable
from infrastructure.event_store.log import READ_SECONDS, recorded
from infrastructure.event_store.outage import AWAY, first_line
from infrastructure.sql import statements

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from psycopg_pool import AsyncConnectionPool

    from application.ports import Recorded

statement = statements("infrastructure.event_store")

PAGE_EVENTS = 1_000
# Keys come before tasks, executions after them: see `domain.identity`.
FIRST_TASK, FIRST_EXECUTION = UUID(int=1 << 80), UUID(int=1 << 127)


class PostgresTaskStreams:
    """`application.declared.standing.TaskStreams` of one database: each page as of its own moment."""

    def __init__(self, pool: AsyncConnectionPool) -> None:
        self._pool = pool

    async def tasks(self) -> AsyncIterator[Sequence[Recorded]]:
        """The events of each task, in order. Raises `LogUnavailable`."""
        events: list[Recorded] = []
        stream, version = FIRST_TASK, 0
        while page := await self._page(stream, version):
            stream, version = page[-1].stream, page[-1].version
            *whole, events = [list(group) for _, group in groupby([*events, *page], attrgetter("stream"))]
            for of_task in whole:
                yield of_task
        if events:
            yield events

    async def _page(self, stream: UUID, version: int) -> Sequence[Recorded]:
        place = {"stream": stream, "version": version, "before": FIRST_EXECUTION, "limit": PAGE_EVENTS}
        try:
            async with (
                asyncio.timeout(READ_SECONDS),
                self._pool.connection() as connection,
                connection.cursor(binary=True) as cursor,
            ):
                await cursor.execute(statement("task_streams"), place)
                return [recorded(row) for row in await cursor.fetchall()]
        except AWAY as error:
            raise LogUnavailable(first_line(error)) from error
