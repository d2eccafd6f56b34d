"""Pages of a log in memory, by the promises of the reader of Postgres."""

from __future__ import annotations

from typing import TYPE_CHECKING

from application.ports import EventFilter, EventPage, LoggedEvent, Origin
from infrastructure.event_store.reader import LAST_POSITION, LOOKED_AT, logged, names_task, origin

if TYPE_CHECKING:
    from uuid import UUID

    from tests.support.log import MemoryLog


class MemoryEventReader:
    """`Events` without a database."""

    def __init__(self, log: MemoryLog, looked_at: int = LOOKED_AT) -> None:
        self._log = log
        self._looked_at = looked_at

    async def head(self) -> int:
        """See `Events`."""
        return len(self._log.rows)

    async def page(
        self, wanted: EventFilter, after: int, limit: int, until: int = LAST_POSITION
    ) -> EventPage:
        """See `Events`."""
        events = self._events()
        until = min(until, len(events))
        looked_to = min(until, after + (limit if wanted == EventFilter() else self._looked_at))
        found = [event for event in events[after:looked_to] if _matches(event, wanted)][:limit]
        if len(found) == limit:
            looked_to = found[-1].position
        return EventPage(items=found, next_after=max(after, looked_to), more=looked_to < until)

    async def of_stream(self, stream: UUID, after: int, limit: int) -> EventPage:
        """See `Events`."""
        found = [event for event in self._events() if event.stream == stream and event.version > after]
        items = found[:limit]
        next_after = items[-1].version if items else after
        return EventPage(items=items, next_after=next_after, more=len(found) > limit)

    async def origin(self, stream: UUID) -> Origin | None:
        """See `Events`."""
        beginnings = (row for row in self._log.rows if row[1] == stream)
        return next((origin(row[3], row[4]) for row in beginnings), None)

    def _events(self) -> list[LoggedEvent]:
        beginnings: dict[UUID, bytes] = {}
        return [logged(row, beginnings.setdefault(row[1], row[4])) for row in self._log.rows]


def _matches(event: LoggedEvent, wanted: EventFilter) -> bool:
    return (
        event.topic.startswith(wanted.topic or "")
        and wanted.namespace in {None, event.namespace}
        and wanted.actor in {None, event.actor}
        and (wanted.task_id is None or names_task(event, wanted.task_id))
        and (wanted.recorded_from is None or event.recorded_at >= wanted.recorded_from)
        and (wanted.recorded_to is None or event.recorded_at < wanted.recorded_to)
    )
