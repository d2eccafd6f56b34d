"""What the scheduler takes up from the read models."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from uuid import UUID, uuid4

import pytest
from msgspec.structs import replace
from psycopg import AsyncConnection

from application.ports import NewFact, Open
from domain.definition import Interval
from domain.facts import ExecutionQueued, ExecutionRequested, ExecutionStarted, TaskCreated
from domain.schedule import fires_at
from infrastructure.postgres import pool
from infrastructure.projector.workplace import prepare
from projections import PROJECTIONS
from projections.due import DueReader
from projections.projection import statement
from tests.support.entries import (
    NOON,
    RUN,
    TASK,
    after,
    attempt,
    attempt_failed,
    cancelled,
    created,
    definition,
    failed,
    skipped,
    started,
    unanswered,
    updated,
)
from tests.support.plans import plan_nodes
from tests.support.projecting import connect, project
from tests.support.random_log import RandomLog
from tests.support.stored import append


@pytest.fixture
async def connection(database: str) -> AsyncIterator[AsyncConnection]:
    """A connection of the test's own."""
    async with await connect(database) as connection:
        yield connection


@pytest.fixture
async def due(database: str) -> AsyncIterator[DueReader]:
    """The scheduler's queries."""
    async with pool(database, 2) as db:
        yield DueReader(db)


async def happened(connection: AsyncConnection, *facts: NewFact) -> int:
    """Append facts and project them; the position of the last."""
    position = await append(connection, facts)
    await project(connection)
    return position


async def test_jittered_tasks_come_in_the_order_of_their_calls(
    connection: AsyncConnection, due: DueReader
) -> None:
    trigger = Interval(every_seconds=3600, anchor=NOON, jitter_seconds=600)
    jittered = replace(definition(), trigger=trigger)
    tasks = [uuid4() for _ in range(15)]
    fact = TaskCreated(at=NOON, namespace="default", definition=jittered, next_run_at=after(60))
    await happened(connection, *(NewFact(task, 1, fact) for task in tasks))
    expected = sorted((fires_at(trigger, task, after(60)), task) for task in tasks)
    _, first = await due.page(None, expected[9][0], 5)
    assert [(row.fire_at, row.task_id) for row in first] == expected[:5]
    _, rest = await due.page(expected[4], expected[9][0], 50)
    assert [(row.fire_at, row.task_id) for row in rest] == expected[5:10]
    assert {(row.due_at, row.runs) for row in rest} == {(after(60), 0)}


async def test_a_place_comes_with_the_runs_that_were_made(
    connection: AsyncConnection, due: DueReader
) -> None:
    new = started(next_run=after(120))
    assert isinstance(new.fact, ExecutionStarted)
    fact = replace(new.fact, occurrence=replace(new.fact.occurrence, run=4), next_fire_at=after(125))
    await happened(connection, created(), NewFact(new.stream, 1, fact))
    _, [row] = await due.page(None, after(125), 10)
    assert (row.due_at, row.fire_at, row.runs) == (after(120), after(125), 4)
    assert await due.page(None, after(124), 10) == (2, [])


async def test_due_tasks_come_in_order_with_the_position_they_reflect(
    connection: AsyncConnection, due: DueReader
) -> None:
    streams = sorted(uuid4() for _ in range(25))
    position = await happened(connection, *(created(stream=stream) for stream in streams))
    place, seen = None, []
    while True:
        reflected, page = await due.page(place, after(60), 10)
        assert reflected == position
        if not page:
            break
        seen += [task.task_id for task in page]
        place = (page[-1].due_at, page[-1].task_id)
    assert seen == streams
    assert await due.page(None, after(59), 10) == (position, [])
    _, [first] = await due.page(None, after(60), 1)
    assert (first.version, first.namespace, first.definition, first.due_at) == (
        1,
        "default",
        definition(),
        after(60),
    )


async def test_before_anything_is_projected_nothing_is_due(
    connection: AsyncConnection, due: DueReader
) -> None:
    await prepare(connection, PROJECTIONS)
    assert await due.page(None, after(60), 10) == (0, [])
    assert await due.unfinished(10) == []


@pytest.mark.parametrize("facts", [(cancelled(),), (started(next_run=None),), (skipped(next_run=None),)])
async def test_a_task_without_a_place_is_not_due(
    connection: AsyncConnection, due: DueReader, facts: tuple[NewFact, ...]
) -> None:
    await happened(connection, created(), *facts)
    assert (await due.page(None, after(1e6), 10))[1] == []


async def test_an_update_shows_the_scheduler_what_is_new(connection: AsyncConnection, due: DueReader) -> None:
    await happened(connection, created(), updated(next_run=after(7)))
    _, [task] = await due.page(None, after(7), 10)
    assert (task.version, task.definition.name, task.due_at) == (2, "renamed", after(7))


def in_stream(stream: UUID, facts: list[NewFact]) -> list[NewFact]:
    return [NewFact(stream, new.version, new.fact) for new in facts]


async def test_what_is_not_over_is_found_by_who_needs_somebody_first(
    connection: AsyncConnection, due: DueReader
) -> None:
    leased, waiting, over, lost = (UUID(int=number) for number in range(10, 14))
    await happened(
        connection,
        created(),
        *in_stream(leased, [started()]),
        *in_stream(waiting, [started(), attempt_failed(2, attempt(1, unanswered()))]),
        *in_stream(over, [started(), failed(2, None)]),
        *in_stream(lost, [skipped()]),
    )
    found = await due.unfinished(10)
    assert [execution.execution_id for execution in found] == [waiting, leased]
    assert (found[0].retry_at, found[0].lease_until) == (after(30), None)
    assert (found[1].node, found[1].lease_until) == ("node-1", after(60))
    assert len(await due.unfinished(1)) == 1


def occurring(stream: UUID, due_at: datetime, *facts: NewFact) -> list[NewFact]:
    """The life of another occurrence of the task."""
    return [
        NewFact(stream, number, replace(new.fact, occurrence=replace(new.fact.occurrence, due_at=due_at)))
        if isinstance(new.fact, ExecutionStarted | ExecutionQueued | ExecutionRequested)
        else NewFact(stream, number, new.fact)
        for number, new in enumerate(facts, start=1)
    ]


def queued_behind(run: UUID) -> NewFact:
    new = started()
    assert isinstance(new.fact, ExecutionStarted)
    return NewFact(
        new.stream,
        1,
        ExecutionQueued(at=NOON, occurrence=new.fact.occurrence, behind=run, next_run_at=after(60)),
    )


def requested() -> NewFact:
    new = started(kind="manual")
    assert isinstance(new.fact, ExecutionStarted)
    return NewFact(new.stream, 1, ExecutionRequested(at=NOON, occurrence=new.fact.occurrence))


async def test_every_scheduled_occurrence_that_is_not_over_is_open_oldest_first(
    connection: AsyncConnection, due: DueReader
) -> None:
    leased, waiting, last, over, manual, wanted = (UUID(int=number) for number in range(20, 26))
    position = await happened(
        connection,
        created(),
        *occurring(last, after(180), queued_behind(leased)),
        *occurring(waiting, after(120), queued_behind(leased), started()),
        *occurring(leased, after(60), started()),
        *occurring(over, after(30), started(), failed(2, None)),
        *occurring(manual, after(30), started(kind="manual")),
        *occurring(wanted, after(30), requested()),
    )
    assert await due.open_runs() == (
        position,
        [Open(TASK, leased, False), Open(TASK, waiting, False), Open(TASK, last, True)],
    )


async def test_what_is_queued_comes_in_the_order_of_the_log_whatever_clocks_have_said(
    connection: AsyncConnection, due: DueReader
) -> None:
    first, second = UUID(int=31), UUID(int=30)
    await happened(
        connection,
        created(),
        *occurring(first, after(62), queued_behind(RUN)),
        *occurring(second, after(61), queued_behind(RUN)),
    )
    _, runs = await due.open_runs()
    assert [run.execution_id for run in runs] == [first, second]


async def test_what_is_queued_waits_for_nobody_but_its_own_task(
    connection: AsyncConnection, due: DueReader
) -> None:
    wanted, waiting = UUID(int=20), UUID(int=21)
    await happened(
        connection,
        created(),
        *occurring(waiting, after(60), queued_behind(RUN)),
        *occurring(wanted, after(30), requested()),
    )
    assert [row.execution_id for row in await due.unfinished(10)] == [wanted]


async def test_before_anything_has_run_nothing_is_open(connection: AsyncConnection, due: DueReader) -> None:
    await prepare(connection, PROJECTIONS)
    assert await due.open_runs() == (0, [])
    position = await happened(connection, created())
    assert await due.open_runs() == (position, [])


@pytest.mark.parametrize("after_place", [False, True])
async def test_a_page_of_what_is_due_is_read_in_the_order_of_its_index(
    connection: AsyncConnection, after_place: bool
) -> None:
    await append(connection, RandomLog(9).grow(4_000))
    await project(connection)
    await connection.execute("ANALYZE")
    bounds = {"until": after(600_000), "limit": 5, "task_id": None, "after_at": None, "after_id": None}
    place = {"after_at": NOON, "after_id": TASK} if after_place else {}
    explained = b"EXPLAIN (FORMAT JSON) " + statement("due_page")
    cursor = await connection.execute(explained, bounds | place, prepare=False)
    (plan,) = await cursor.fetchone() or ()
    [scan] = [node for node in plan_nodes(plan[0]["Plan"]) if node.get("Relation Name") == "task_states"]
    assert scan["Index Name"] == "tasks_due"
    assert ("ROW(" in scan["Index Cond"]) == after_place
