"""What is asked about an archived month is answered as if it had never left the log."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from application.ports import ArchiveAway, EventFilter
from infrastructure.event_store.appender import Appender
from infrastructure.postgres import pool
from tests.support.archives import Archivist, filled
from tests.support.asking import DAYS, EVERY_RUN, Asker
from tests.support.months import FEBRUARY, JANUARY, MARCH, TASKS, run_of


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
