"""How much of the log a batch takes: a number of events, and not many more bytes than are allowed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial, partialmethod
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg import AsyncConnection

from application.ports import NewFact
from domain.facts import EventsRedacted, Rewritten
from domain.identity import redaction_stream
from infrastructure.archive.catalog import NO_ARCHIVES, Stretch, events_after
from infrastructure.postgres import pool
from infrastructure.projector import reading as whole_log
from infrastructure.projector import runner
from infrastructure.projector.reading import (
    BATCH_EVENTS,
    BATCH_REWRITTEN,
    EVENTS_AT_ONCE,
    NOTHING_ARCHIVED,
    WholeLog,
    read_entries,
)
from infrastructure.projector.rebuild import rebuild
from infrastructure.projector.runner import Projector
from infrastructure.projector.workplace import prepare
from projections import PROJECTIONS
from projections.rows import ROWS_A_PIECE
from tests.support.entries import NOON, created
from tests.support.projecting import connect, contents, project, reached, running
from tests.support.random_log import RandomLog
from tests.support.stored import append

FEW_BYTES = 2_000


@pytest.fixture
async def connection(database: str) -> AsyncIterator[AsyncConnection]:
    """A connection of the test's own."""
    async with await connect(database) as connection:
        yield connection


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Projectors and rebuilds that read a few events at a time."""
    few = partial(read_entries, most_bytes=FEW_BYTES)
    monkeypatch.setattr(runner, "read_entries", few)
    monkeypatch.setattr(WholeLog, "entries", partialmethod(WholeLog.entries, most_bytes=FEW_BYTES))


async def test_a_reading_ends_with_the_event_that_fills_it(connection: AsyncConnection) -> None:
    await append(connection, RandomLog(4).grow(200))
    sizes = await stored_sizes(connection)
    position, read = 0, 0
    while (reading := await read_entries(connection, position, most_bytes=FEW_BYTES)).full:
        of_these = sizes[read : read + len(reading.entries)]
        assert sum(of_these) >= FEW_BYTES > sum(of_these[:-1])
        position, read = reading.entries[-1].position, read + len(of_these)
    assert sum(sizes[read:]) < FEW_BYTES
    assert read + len(reading.entries) == len(sizes) > read


async def test_an_event_that_is_larger_than_all_that_is_allowed_is_read_alone(
    connection: AsyncConnection,
) -> None:
    await append(connection, [created(stream=uuid4()) for _ in range(3)])
    assert [len((await read_entries(connection, at, most_bytes=1)).entries) for at in range(4)] == [
        1,
        1,
        1,
        0,
    ]


async def test_a_reading_ends_with_the_number_that_is_allowed(connection: AsyncConnection) -> None:
    await append(connection, RandomLog(4).grow(50))
    assert len((await read_entries(connection, 0, 49)).entries) == 49
    assert [(await read_entries(connection, 0, limit)).full for limit in (49, 50, 51)] == [True, True, False]


def telling(task: UUID, version: int, events: int) -> NewFact:
    rewritten = tuple(Rewritten(position, task, "00") for position in range(1, events + 1))
    fact = EventsRedacted(at=NOON, task_id=task, rewritten=rewritten)
    return NewFact(redaction_stream(task), version, fact)


async def test_a_reading_ends_when_it_tells_of_many_rewritten_events(connection: AsyncConnection) -> None:
    task = uuid4()
    sizes = [BATCH_REWRITTEN - 1, 1, BATCH_REWRITTEN, 1]
    await append(connection, [telling(task, *of) for of in enumerate(sizes, 1)])
    for read in (read_entries, NOTHING_ARCHIVED.entries):
        readings = [await read(connection, position) for position in (0, 2, 3)]
        assert [len(reading.entries) for reading in readings] == [2, 1, 1]
        assert [reading.full for reading in readings] == [True, True, False]


@pytest.mark.usefixtures("small_batches")
async def test_a_projector_goes_on_at_once_when_size_ended_its_batch(
    connection: AsyncConnection, database: str
) -> None:
    last = await append(connection, RandomLog(5).grow(300))
    async with pool(database, 3) as db, running(Projector(db, database, PROJECTIONS)):
        await reached(connection, last)


@pytest.mark.usefixtures("small_batches")
async def test_a_rebuild_reads_to_the_end_of_the_log_whatever_ended_its_batches(
    connection: AsyncConnection, database: str
) -> None:
    last = await append(connection, RandomLog(5).grow(300))
    await project(connection)
    live = await contents(connection)
    assert (await rebuild(database, PROJECTIONS)).position == last
    assert await contents(connection) == live


@pytest.mark.parametrize("more", [-1, 0, 1, ROWS_A_PIECE])
async def test_rows_that_are_sent_in_pieces_all_arrive(connection: AsyncConnection, more: int) -> None:
    rows = ROWS_A_PIECE + more
    await prepare(connection, PROJECTIONS)
    await append(connection, [created(stream=uuid4()) for _ in range(rows)])
    await project(connection, batch_events=5_000)
    cursor = await connection.execute("SELECT count(*) FROM tasks")
    assert await cursor.fetchone() == (rows,)


async def stored_sizes(connection: AsyncConnection) -> list[int]:
    cursor = await connection.execute("SELECT octet_length(state) FROM events ORDER BY notification_id")
    return [size for (size,) in await cursor.fetchall()]


async def test_the_whole_log_ends_a_reading_with_what_may_bring_back_too_many_answers(
    connection: AsyncConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole_log, "LATER_AT_ONCE", 10)
    await append(connection, RandomLog(4).grow(300))
    log, position, read = WholeLog(NO_ARCHIVES), 0, 0
    while (reading := await log.entries(connection, position)).full:
        later = [entry.version > 2 for entry in reading.entries]
        assert later[-1]
        assert sum(later) == 10
        position, read = reading.entries[-1].position, read + len(later)
    assert sum(entry.version > 2 for entry in reading.entries) <= 10
    assert read + len(reading.entries) == 300 > read


async def test_where_few_fill_a_reading_of_the_whole_log_few_are_asked_for(
    connection: AsyncConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    async def noting(*whence: Any) -> Stretch:
        asked.append(whence[3])
        return await events_after(*whence)

    monkeypatch.setattr(whole_log, "events_after", noting)
    await append(connection, RandomLog(4).grow(50))
    log = WholeLog(NO_ARCHIVES)
    await log.entries(connection, 0, most_bytes=FEW_BYTES)
    await log.entries(connection, 0)
    await log.entries(connection, 0)
    assert asked == [EVENTS_AT_ONCE, BATCH_EVENTS, EVENTS_AT_ONCE]
