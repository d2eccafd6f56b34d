"""Everything that users ask a log of some months, archived or not."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from application.audit import Audit
from application.explanation.explainer import Explainer
from domain.identity import execution_id
from infrastructure.archive.catalog import ArchiveReader
from infrastructure.audit_log.store import LAST_SIZE, PostgresAuditLog
from infrastructure.event_store.log import PostgresEventLog
from infrastructure.event_store.reader import PostgresEventReader
from interfaces.bootstrap.services import LedgerOfReadModels, PastOfLog
from projections.queries import ReadModels
from projections.views import Paging, ResultQuery, TaskQuery
from tests.support.months import APRIL, FEBRUARY, JANUARY, MARCH, TASKS, due, run_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from application.ports import EventFilter, EventPage, LoggedEvent, Recorded
    from infrastructure.event_store.appender import Appender
    from tests.support.archives import Archivist

DAYS = 6
EVERY_RUN = [
    run_of(*place) for place in itertools.product(TASKS, (JANUARY, FEBRUARY, MARCH), range(1, DAYS + 1))
]
NOTHING_RAN = execution_id(TASKS[0], due(JANUARY, 20), "scheduled")


class Spring:
    """A clock that stands still, after all that happens here."""

    def now(self) -> datetime:
        return APRIL.next.start


class Asker:
    """Everything that reads the log for users, over one database and its archives."""

    def __init__(self, connections: Any, appender: Appender, archivist: Archivist) -> None:
        archive_reader = ArchiveReader(connections, archivist.catalog)
        self.log = PostgresEventLog(connections, appender, archive_reader)
        self.reader = PostgresEventReader(connections, archive_reader=archive_reader)
        self.explainer = Explainer(self.log, Spring())
        self.models = ReadModels(connections)
        self.past = PastOfLog(connections, self.log, LedgerOfReadModels(self.models), archive_reader)
        self.audit = Audit(PostgresAuditLog(connections, archive_reader))

    async def streams(self) -> list[Sequence[Recorded]]:
        return [await self.log.read_stream(run) for run in [*EVERY_RUN, NOTHING_RAN, TASKS[0]]]

    async def explanations(self) -> list[Any]:
        instants = [due(JANUARY, 1), due(JANUARY, 20), due(FEBRUARY, 2), due(APRIL, 1)]
        return [
            *[await self.explainer.execution("default", run) for run in EVERY_RUN],
            *[await self.explainer.task("default", task, at) for task in TASKS for at in instants],
        ]

    async def events(self, wanted: EventFilter, limit: int = 13) -> list[LoggedEvent]:
        """All pages that match."""
        found: list[LoggedEvent] = []
        after, more = 0, True
        while more:
            page = await self.reader.page(wanted, after, limit)
            found, after, more = [*found, *page.items], page.next_after, page.more
        return found

    async def stream_pages(self) -> list[EventPage]:
        return [await self.reader.of_stream(run, after, 2) for run in EVERY_RUN for after in (0, 1, 2)]

    async def origins(self) -> list[Any]:
        return [await self.reader.origin(run) for run in [*EVERY_RUN, NOTHING_RAN, *TASKS]]

    async def proofs(self) -> list[Any]:
        """The evidence of every execution, and the proof of every sealed event."""
        [signed, *_] = await self.audit.heads(LAST_SIZE, 1)
        return [
            [await self.audit.evidence(run) for run in EVERY_RUN],
            [await self.audit.inclusion(place, None) for place in range(1, signed.head.last_position + 1)],
        ]

    async def counts(self) -> list[Any]:
        return [
            await self.models.figures(APRIL.next.start),
            await self.models.results(ResultQuery(), Paging(limit=200, sort="due_at")),
            await self.models.results(ResultQuery(status="succeeded"), Paging(limit=200, sort="due_at")),
        ]

    async def pasts(self, instants: Sequence[datetime], positions: Sequence[int]) -> list[Any]:
        """Moments, and what there was at each."""
        moments = [await self.past.at(instant) for instant in instants]
        moments += [await self.past.after(position) for position in positions]
        start, end = JANUARY.start, APRIL.next.start
        return [
            [
                moment,
                await self.past.figures(moment),
                await self.past.task("default", TASKS[1], moment),
                await self.past.tasks(TaskQuery(), Paging(), moment),
                await self.past.window("default", TASKS[2], start, end, 100, moment),
            ]
            for moment in moments
        ]
