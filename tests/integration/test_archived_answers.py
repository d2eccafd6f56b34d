"""What is asked about an archived month is answered as if it had never left the log."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from application.archived import ArchiveAway
from application.events import EventFilter
from application.explanation.explainer import Explainer
from domain.identity import execution_id
from infrastructure.archive.shelf import Shelf
from infrastructure.database import pool
from infrastructure.event_store import Appender, PostgresEventLog, PostgresEventReader
from interfaces.bootstrap.ledger import LedgerOfReadModels
from interfaces.bootstrap.past import PastOfLog
from projections.reader import ReadModels
from projections.views import Paging, ResultQuery, TaskQuery
from tests.support.archives import Archivist, filled
from tests.support.months import APRIL, FEBRUARY, JANUARY, MARCH, TASKS, due, run_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from application.events import EventPage, LoggedEvent
    from application.ports import Recorded

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
        shelf = Shelf(connections, archivist.library)
        self.log = PostgresEventLog(connections, appender, shelf)
        self.reader = PostgresEventReader(connections, shelf=shelf)
        self.explainer = Explainer(self.log, Spring())
        self.models = ReadModels(connections)
        self.past = PastOfLog(connections, self.log, LedgerOfReadModels(self.models), shelf)

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


@pytest.fixture
async def archivist(database: str, tmp_path: Path) -> Archivist:
    await filled(database, DAYS)
    return Archivist(database, tmp_path / "archives")


@pytest.fixture
async def asker(archivist: Archivist) -> AsyncIterator[Asker]:
    async with pool(archivist.dsn, 2) as connections, Appender(archivist.dsn) as appender:
        yield Asker(connections, appender, archivist)


def steps(archivist: Archivist) -> list[Any]:
    """One after the other: some is archived, more, all, and some is back."""
    return [
        lambda: archivist.archive(FEBRUARY),
        lambda: archivist.archive(JANUARY),
        lambda: archivist.archive(MARCH),
        lambda: archivist.restore(FEBRUARY),
    ]


async def test_streams_explanations_and_counts_are_the_same(archivist: Archivist, asker: Asker) -> None:
    async def told() -> list[Any]:
        return [
            await asker.streams(),
            await asker.explanations(),
            await asker.counts(),
            await asker.origins(),
        ]

    before = await told()
    assert len(before[0][0]) >= 1
    for step in steps(archivist):
        step()
        assert await told() == before


async def test_events_are_listed_the_same_whatever_is_asked_for(archivist: Archivist, asker: Asker) -> None:
    everything = await asker.events(EventFilter())
    first, middle, last = everything[0], everything[len(everything) // 2], everything[-1]
    filters = [
        EventFilter(),
        EventFilter(topic="execution.failed"),
        EventFilter(task_id=TASKS[1]),
        EventFilter(namespace="default", topic="execution."),
        EventFilter(namespace="elsewhere"),
        EventFilter(actor="test"),
        EventFilter(actor="nobody"),
        EventFilter(recorded_from=middle.recorded_at),
        EventFilter(recorded_from=first.recorded_at, recorded_to=middle.recorded_at),
        EventFilter(recorded_to=last.recorded_at),
    ]

    async def told() -> list[Any]:
        return [*[await asker.events(wanted) for wanted in filters], await asker.stream_pages()]

    before = await told()
    assert [bool(found) for found in before] == [
        True,
        True,
        True,
        True,
        False,
        True,
        False,
        True,
        True,
        True,
        True,
    ]
    for step in steps(archivist):
        step()
        assert await told() == before


async def test_the_past_is_the_same(archivist: Archivist, asker: Asker) -> None:
    events = await asker.events(EventFilter())
    instants = [event.recorded_at for event in events[:: len(events) // 7]]
    positions = [event.position for event in events[3 :: len(events) // 6]]
    before = await asker.pasts(instants, positions)
    for step in steps(archivist):
        step()
        assert await asker.pasts(instants, positions) == before


async def test_what_lies_in_a_file_that_is_away_is_not_told_at_all(
    archivist: Archivist, asker: Asker
) -> None:
    archived = archivist.archive(JANUARY)
    run = EVERY_RUN[0]
    moment = await asker.past.after(10)
    (archivist.folder / archived.name).rename(archivist.folder / "elsewhere")
    questions = [
        asker.log.read_stream(run),
        asker.explainer.execution("default", run),
        asker.reader.of_stream(run, 0, 10),
        asker.reader.origin(run),
        asker.reader.page(EventFilter(), 0, 10),
        asker.past.figures(moment),
    ]
    for question in questions:
        with pytest.raises(ArchiveAway, match=f"{archived.name} is needed and cannot be read"):
            await question
    # What is not in it is told all the same.
    assert await asker.log.read_stream(run_of(TASKS[0], FEBRUARY, 1))
    assert await asker.reader.page(EventFilter(), archived.last_position, 10)
    (archivist.folder / "elsewhere").rename(archivist.folder / archived.name)
    assert await asker.log.read_stream(run)
