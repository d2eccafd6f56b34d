"""Pauses and requests in the tables, as the scheduler and the API read them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from psycopg import AsyncConnection

from application.ports import NewFact
from domain.facts import ExecutionRequested, TaskPaused, TaskResumed
from domain.task import Pause
from infrastructure.postgres import pool
from projections.due import DueReader
from projections.queries import ReadModels
from projections.views import Paging, ResultQuery, TaskQuery
from tests.support.entries import RUN, TASK, after, created, occurrence, started, updated
from tests.support.projecting import connect, project
from tests.support.stored import append

PAUSED = NewFact(TASK, 2, TaskPaused(at=after(1), note="NUL \0 and ✓"))
RESUMED = NewFact(TASK, 3, TaskResumed(at=after(2)))
REQUESTED = NewFact(RUN, 1, ExecutionRequested(at=after(5), occurrence=occurrence(kind="manual")))


@pytest.fixture
async def connection(database: str) -> AsyncIterator[AsyncConnection]:
    """A connection of the test's own."""
    async with await connect(database) as connection:
        yield connection


@pytest.fixture
async def reader(database: str) -> AsyncIterator[tuple[DueReader, ReadModels]]:
    """The scheduler's view, and the API's."""
    async with pool(database, 2) as db:
        yield DueReader(db), ReadModels(db)


async def happened(connection: AsyncConnection, *facts: NewFact) -> int:
    position = await append(connection, facts)
    await project(connection)
    return position


async def test_a_paused_task_is_not_due_and_comes_back_to_its_place(
    connection: AsyncConnection, reader: tuple[DueReader, ReadModels]
) -> None:
    due, shown = reader
    position = await happened(connection, created(), PAUSED)
    assert await due.page(None, after(1e6), 10) == (position, [])
    assert await due.place(TASK) == (position, None)
    task = await shown.task("default", TASK)
    assert task is not None
    assert (task.status, task.next_run, task.paused_at) == ("paused", after(60), after(1))
    assert task.pause_note == "NUL \ufffd and ✓"
    listed = await shown.tasks(TaskQuery(status="paused"), Paging())
    assert ([view.id for view in listed.items], listed.total) == ([TASK], 1)

    position = await happened(connection, RESUMED)
    _, [back] = await due.page(None, after(1e6), 10)
    assert (back.due_at, back.version, back.pause) == (after(60), 3, Pause(since=after(1), until=after(2)))
    assert await due.place(TASK) == (position, back)
    assert await due.place(UUID(int=99)) == (position, None)


async def test_a_paused_task_takes_a_new_definition(
    connection: AsyncConnection, reader: tuple[DueReader, ReadModels]
) -> None:
    await happened(connection, created(), PAUSED)
    await happened(connection, updated(version=3, next_run=after(90)))
    task = await reader[1].task("default", TASK)
    assert task is not None
    assert (task.name, task.status, task.next_run) == ("renamed", "paused", after(90))


async def test_requested_executions_are_found_beside_those_that_run(
    connection: AsyncConnection, reader: tuple[DueReader, ReadModels]
) -> None:
    due, shown = reader
    await happened(connection, created(), started(stream=UUID(int=7)), REQUESTED)
    running, pending = await due.unfinished(10)
    assert (running.execution_id, running.node) == (UUID(int=7), "node-1")
    assert (pending.execution_id, pending.node, pending.lease_until) == (RUN, None, None)
    listed = await shown.results(ResultQuery(status="pending"), Paging())
    assert ([view.id for view in listed.items], listed.total) == ([RUN], 1)
    assert (await due.unfinished(1))[0].execution_id == UUID(int=7)
    assert len(await due.unfinished(1)) == 2
