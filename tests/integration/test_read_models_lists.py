"""Lists over the read models, on rows that a random log left."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg import AsyncConnection

from application.ports import NewFact
from infrastructure.postgres import pool
from projections.projection import statement
from projections.queries import RESULT_SORTS, TASK_SORTS, BadCursor, BadSort, ReadModels, list_statement
from projections.views import Listing, Paging, ResultQuery, TaskQuery
from tests.support.entries import (
    NOON,
    created,
)
from tests.support.plans import plan_nodes
from tests.support.projecting import connect, project
from tests.support.random_log import RandomLog
from tests.support.stored import append

EVERYTHING = Paging(limit=100_000)


@pytest.fixture
async def connection(database: str) -> AsyncIterator[AsyncConnection]:
    """A connection of the test's own."""
    async with await connect(database) as connection:
        yield connection


@pytest.fixture
async def models(database: str) -> AsyncIterator[ReadModels]:
    """The queries."""
    async with pool(database, 2) as db:
        yield ReadModels(db)


async def happened(connection: AsyncConnection, *facts: NewFact) -> int:
    """Append facts and project them; the position of the last."""
    position = await append(connection, facts)
    await project(connection)
    return position


async def test_lists_are_newest_first_and_say_how_many_there_are(
    connection: AsyncConnection, models: ReadModels
) -> None:
    await append(connection, RandomLog(1).grow(1_500))
    await project(connection)
    for listing, column in (
        (await models.tasks(TaskQuery(), Paging(limit=10)), "created_at"),
        (await models.results(ResultQuery(), Paging(limit=10)), "due_at"),
    ):
        keys = [(getattr(item, column), item.id) for item in listing.items]
        assert keys == sorted(keys, reverse=True)
        assert len(keys) == 10 < listing.total
        assert listing.next_cursor is not None


TASK_FILTERS: list[tuple[TaskQuery, Callable[[Any], bool]]] = [
    (TaskQuery(status="scheduled"), lambda task: task.status == "scheduled"),
    (TaskQuery(trigger_type="cron"), lambda task: hasattr(task.trigger, "cron")),
    (TaskQuery(trigger_type="interval"), lambda task: hasattr(task.trigger, "anchor")),
    (TaskQuery(trigger_type="one-off", status="failed"), lambda task: task.status == "failed"),
    (TaskQuery(name="a", status="scheduled"), lambda task: "a" in task.name and task.status == "scheduled"),
    (TaskQuery(name="%_"), lambda task: "%_" in task.name),
    (TaskQuery(name="ÜNÏ"), lambda task: "ünï" in task.name.lower()),
    (TaskQuery(name="\\u0000 \\"), lambda task: "\\u0000 \\" in task.name),
    (TaskQuery(name="no such"), lambda _: False),
    (
        TaskQuery(created_from=NOON + timedelta(hours=1), created_to=NOON + timedelta(hours=3)),
        lambda task: NOON + timedelta(hours=1) <= task.created_at < NOON + timedelta(hours=3),
    ),
]


@pytest.mark.parametrize(("query", "belongs"), TASK_FILTERS)
async def test_tasks_are_filtered(
    connection: AsyncConnection, models: ReadModels, query: TaskQuery, belongs: Callable[[Any], bool]
) -> None:
    await append(connection, RandomLog(2).grow(1_200))
    await project(connection)
    everything = (await models.tasks(TaskQuery(), EVERYTHING)).items
    filtered = await models.tasks(query, EVERYTHING)
    wanted = [task.id for task in everything if belongs(task)]
    assert [task.id for task in filtered.items] == wanted
    assert filtered.total == len(wanted)
    assert (await models.tasks(query, Paging(limit=1))).total == len(wanted)


RESULT_FILTERS: list[tuple[ResultQuery, Callable[[Any], bool]]] = [
    (ResultQuery(success=True), lambda result: result.success is True),
    (ResultQuery(success=False), lambda result: result.success is False),
    (ResultQuery(success=False, status="succeeded"), lambda _: False),
    (ResultQuery(status="running"), lambda result: result.status == "running"),
    (ResultQuery(status_code=503), lambda result: result.status_code == 503),
    (
        ResultQuery(due_from=NOON + timedelta(hours=1), due_to=NOON + timedelta(hours=2)),
        lambda result: NOON + timedelta(hours=1) <= result.due_at < NOON + timedelta(hours=2),
    ),
]


@pytest.mark.parametrize(("query", "belongs"), RESULT_FILTERS)
async def test_results_are_filtered(
    connection: AsyncConnection, models: ReadModels, query: ResultQuery, belongs: Callable[[Any], bool]
) -> None:
    await append(connection, RandomLog(3).grow(1_200))
    await project(connection)
    everything = (await models.results(ResultQuery(), EVERYTHING)).items
    filtered = await models.results(query, EVERYTHING)
    wanted = [result.id for result in everything if belongs(result)]
    assert [result.id for result in filtered.items] == wanted
    assert filtered.total == len(wanted)


async def test_results_of_one_task(connection: AsyncConnection, models: ReadModels) -> None:
    await append(connection, RandomLog(4).grow(1_200))
    await project(connection)
    everything = (await models.results(ResultQuery(), EVERYTHING)).items
    task_id = everything[0].task_id
    listing = await models.results(ResultQuery(task_id=task_id), EVERYTHING)
    assert [item.id for item in listing.items] == [item.id for item in everything if item.task_id == task_id]


async def test_a_name_that_no_text_can_hold_finds_what_stands_for_it(
    connection: AsyncConnection, models: ReadModels
) -> None:
    await happened(connection, created(name="n\0me"))
    assert (await models.tasks(TaskQuery(name="N\0M"), Paging())).total == 1


async def walked(page: Callable[[Paging], Any], sort: str, limit: int) -> list[UUID]:
    """The ids that a reader of all pages sees."""
    seen: list[UUID] = []
    paging = Paging(limit=limit, sort=sort)
    while True:
        listing: Listing[Any] = await page(paging)
        seen += [item.id for item in listing.items]
        if listing.next_cursor is None:
            return seen
        paging = Paging(limit=limit, cursor=listing.next_cursor)


@pytest.mark.parametrize("way", ["", "-"])
@pytest.mark.parametrize(
    ("kind", "sort"),
    [*(("tasks", sort) for sort in TASK_SORTS), *(("results", sort) for sort in RESULT_SORTS)],
)
async def test_pages_by_cursor_show_every_row_once_and_in_order(
    connection: AsyncConnection, models: ReadModels, kind: str, sort: str, way: str
) -> None:
    await append(connection, RandomLog(5).grow(500))
    await project(connection)

    async def page(paging: Paging) -> Listing[Any]:
        if kind == "tasks":
            return await models.tasks(TaskQuery(), paging)
        return await models.results(ResultQuery(), paging)

    everything = (await page(Paging(limit=100_000, sort=way + sort))).items
    ids = [item.id for item in everything]
    assert await walked(page, way + sort, 7) == ids
    assert len(set(ids)) == len(ids) > 20
    values = [getattr(item, sort) for item in everything]
    present = [value for value in values if value is not None]
    assert values == present + [None] * (len(values) - len(present))
    if sort != "name":  # whose order is the database's collation
        assert present == sorted(present, reverse=way == "-")
    second = await page(Paging(limit=7, page=2, sort=way + sort))
    assert [item.id for item in second.items] == ids[7:14]


async def test_rows_of_one_instant_are_told_apart_by_their_id(
    connection: AsyncConnection, models: ReadModels
) -> None:
    streams = [uuid4() for _ in range(20)]
    await happened(connection, *(created(stream=stream) for stream in streams))
    seen = await walked(lambda paging: models.tasks(TaskQuery(), paging), "created_at", 3)
    assert seen == sorted(streams)


async def test_a_page_behind_the_last_is_empty(connection: AsyncConnection, models: ReadModels) -> None:
    await happened(connection, created())
    listing = await models.tasks(TaskQuery(), Paging(page=4))
    assert (listing.items, listing.total, listing.page, listing.next_cursor) == ([], 1, 4, None)


async def test_sorts_and_cursors_of_something_else_are_refused(
    connection: AsyncConnection, models: ReadModels
) -> None:
    await happened(connection, created(), created(stream=UUID(int=9)))
    with pytest.raises(BadSort):
        await models.tasks(TaskQuery(), Paging(sort="url"))
    cursor = (await models.tasks(TaskQuery(), Paging(limit=1))).next_cursor
    with pytest.raises(BadCursor):
        await models.tasks(TaskQuery(), Paging(cursor=cursor, sort="name"))
    with pytest.raises(BadCursor):
        await models.results(ResultQuery(), Paging(cursor="AAAA"))


PLANNED = [
    ("list_tasks", "tasks", None, "-created_at", "tasks_created"),
    ("list_tasks", "tasks_by_status", "completed", "-created_at", "tasks_status_created"),
    ("list_results", "task_results", None, "-due_at", "task_results_due"),
]


@pytest.mark.parametrize(("file", "view", "status", "sort", "index"), PLANNED)
async def test_the_default_lists_read_an_index_from_its_end(
    connection: AsyncConnection, file: str, view: Any, status: str | None, sort: str, index: str
) -> None:
    nodes = await planned(connection, file, view, sort, {"status": status})
    scan = next(node for node in nodes if node.get("Index Name") == index)
    assert scan["Scan Direction"] == "Backward"
    # What is not over is few rows, sorted for each list: an index would cost more than it gives.
    sorted_tables = {node["Plans"][0].get("Relation Name") for node in nodes if node["Node Type"] == "Sort"}
    assert sorted_tables <= {"open_results"}


@pytest.mark.parametrize(("file", "view", "status", "sort", "index"), PLANNED)
async def test_a_page_behind_a_cursor_begins_in_the_index_where_the_one_before_ended(
    connection: AsyncConnection, file: str, view: Any, status: str | None, sort: str, index: str
) -> None:
    place = {"status": status, "last": NOON + timedelta(hours=2), "last_id": UUID(int=7)}
    nodes = await planned(connection, file, view, sort, place)
    scan = next(node for node in nodes if node.get("Index Name") == index)
    assert "ROW(" in scan["Index Cond"]


async def planned(
    connection: AsyncConnection, file: str, view: Any, sort: str, filters: dict[str, Any]
) -> list[dict[str, Any]]:
    """The nodes of a list's plan, on some thousand rows."""
    await append(connection, RandomLog(8).grow(4_000))
    await project(connection)
    await connection.execute("ANALYZE")
    names = {*TaskQuery.__struct_fields__, *ResultQuery.__struct_fields__, "last", "last_id"}
    parameters = dict.fromkeys(names) | {"namespace": "default", "limit": 5, "offset": 0} | filters
    page = list_statement(file, view, sort, (TASK_SORTS | RESULT_SORTS)[sort.removeprefix("-")])
    cursor = await connection.execute(b"EXPLAIN (FORMAT JSON) " + page, parameters, prepare=False)
    (plan,) = await cursor.fetchone() or ()
    return list(plan_nodes(plan[0]["Plan"]))


@pytest.mark.parametrize("filters", [{"trigger_type": "cron"}, {"name": "%a%"}, {"created_from": NOON}])
async def test_counting_tasks_of_any_status_reads_their_definitions_alone(
    connection: AsyncConnection, filters: dict[str, Any]
) -> None:
    nodes = await counted(connection, filters)
    assert {node["Relation Name"] for node in nodes if "Relation Name" in node} == {"task_definitions"}


@pytest.mark.parametrize("filters", [{"trigger_type": "cron"}, {"name": "%a%", "created_from": NOON}])
async def test_counting_tasks_reads_nothing_but_an_index_once_they_are_vacuumed(
    connection: AsyncConnection, filters: dict[str, Any]
) -> None:
    await connection.execute("SET enable_seqscan = off")  # which is quicker for the few that there are here
    nodes = await counted(connection, filters)
    scans = {node["Index Name"] for node in nodes if node["Node Type"] == "Index Only Scan"}
    assert scans == {"tasks_created"}


async def counted(connection: AsyncConnection, filters: dict[str, Any]) -> list[dict[str, Any]]:
    """The nodes of the plan that counts tasks, of which there are some hundred."""
    await append(connection, RandomLog(8).grow(500))
    await project(connection)
    await connection.execute("VACUUM ANALYZE task_definitions")
    parameters = dict.fromkeys(TaskQuery.__struct_fields__) | {"namespace": "default"} | filters
    explained = b"EXPLAIN (FORMAT JSON) " + statement("count_tasks")
    cursor = await connection.execute(explained, parameters, prepare=False)
    (plan,) = await cursor.fetchone() or ()
    return list(plan_nodes(plan[0]["Plan"]))
