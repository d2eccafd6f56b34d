"""Queries over the read models, on rows that a random log left."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import msgspec
import pytest

from application.ports import NewFact
from domain.facts import TaskCreated
from infrastructure.database import pool
from infrastructure.projector import prepare
from projections.catalogue import PROJECTIONS
from projections.due import DueReader
from projections.ordering import RESULT_SORTS, TASK_SORTS, list_statement
from projections.reader import BadCursor, BadSort, ReadModels
from projections.views import Paging, ResultQuery, TaskQuery
from tests.support.entries import (
    NOON,
    RUN,
    TASK,
    after,
    answered,
    attempt,
    attempt_failed,
    attempt_started,
    cancelled,
    created,
    definition,
    failed,
    skipped,
    started,
    succeeded,
    unanswered,
    updated,
)
from tests.support.projecting import connect, project
from tests.support.random_log import RandomLog, append

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import AsyncConnection

    from projections.views import Listing

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


async def test_a_task_reads_as_it_was_accepted(connection: AsyncConnection, models: ReadModels) -> None:
    payload = {"nul": "\0 and \\u0000", "big": 2**200, "float": 1e308, "deep": [[None]]}
    wanted = definition("n\0me", method="POST", headers={"X": "\0"}, payload=payload, timeout_seconds=1 / 3)
    fact = TaskCreated(at=NOON, namespace="default", definition=wanted, next_run_at=after(60))
    await happened(connection, NewFact(TASK, 1, fact))
    task = await models.task("default", TASK)
    assert task is not None
    assert (task.name, task.trigger, task.action, task.retry) == (
        wanted.name,
        wanted.trigger,
        wanted.action,
        wanted.retry,
    )
    assert (task.status, task.next_run, task.created_at, task.updated_at, task.version) == (
        "scheduled",
        after(60),
        NOON,
        NOON,
        1,
    )


@pytest.mark.parametrize("depth", [900, 5_000])
async def test_a_deep_payload_is_a_payload(
    connection: AsyncConnection, models: ReadModels, depth: int
) -> None:
    payload = msgspec.json.decode(b"[" * depth + b"]" * depth)
    fact = TaskCreated(
        at=NOON, namespace="default", definition=definition(payload=payload), next_run_at=after(60)
    )
    await happened(connection, NewFact(TASK, 1, fact))
    task = await models.task("default", TASK)
    assert task is not None
    assert msgspec.json.encode(task.action.payload) == msgspec.json.encode(payload)


async def test_the_columns_of_the_specification_can_be_searched(connection: AsyncConnection) -> None:
    wanted = definition(payload={"k": ["\0"]}, headers={"A": "b"})
    fact = TaskCreated(at=NOON, namespace="default", definition=wanted, next_run_at=after(60))
    await happened(connection, NewFact(TASK, 1, fact))
    cursor = await connection.execute(
        "SELECT name, trigger_type, trigger_time, cron_expr, method, url, headers, payload, status, next_run "
        'FROM tasks WHERE payload @> \'{"k": ["\ufffd"]}\''
    )
    assert await cursor.fetchone() == (
        "report",
        "cron",
        None,
        "* * * * *",
        "GET",
        "http://127.0.0.1/",
        {"A": "b"},
        {"k": ["\ufffd"]},
        "scheduled",
        after(60),
    )


async def test_nothing_is_found_in_another_namespace(connection: AsyncConnection, models: ReadModels) -> None:
    await happened(connection, created(), started())
    assert await models.task("other", TASK) is None
    assert await models.result("other", RUN) is None
    assert await models.task("default", uuid4()) is None
    assert (await models.tasks(TaskQuery(namespace="other"), Paging())).items == []
    assert (await models.results(ResultQuery(namespace="other"), Paging())).total == 0


async def test_a_result_tells_the_whole_story(connection: AsyncConnection, models: ReadModels) -> None:
    await happened(
        connection,
        created(),
        started(),
        attempt_failed(2, attempt(1, unanswered("refused \0"))),
        attempt_started(3, 2),
    )
    await happened(
        connection, succeeded(4, attempt(2, answered(200, "b\0dy", truncated=True), duration_ms=7))
    )
    result = await models.result("default", RUN)
    assert result is not None
    assert (result.status, result.success, result.attempts, result.duration_ms) == ("succeeded", True, 2, 7)
    assert (result.response_body, result.response_truncated) == ("b\ufffddy", True)
    assert result.response_headers == {"content-type": "text/plain"}
    assert [(view.number, view.status_code, view.error_message) for view in result.attempt_log] == [
        (1, None, "refused \ufffd"),
        (2, 200, None),
    ]
    assert (result.run_at, result.due_at, result.created_at) == (after(2), NOON, after(0.01))


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
    (TaskQuery(trigger_type="one-off", status="failed"), lambda task: task.status == "failed"),
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


async def test_the_figures_agree_with_the_ledger(connection: AsyncConnection, models: ReadModels) -> None:
    await append(connection, RandomLog(6).grow(3_000))
    await project(connection)
    cursor = await connection.execute(
        "SELECT count(success), count(*) FILTER (WHERE success), count(*) FILTER (WHERE NOT success), "
        "round(avg(duration_ms) FILTER (WHERE success IS NOT NULL), 2)::float8, "
        "(SELECT count(*) FROM tasks WHERE status = 'scheduled') FROM task_results"
    )
    [(executed, succeeded_, failed_, average, active)] = await cursor.fetchall()
    figures = await models.figures(datetime(2026, 5, 2, tzinfo=UTC))
    assert (figures.total_tasks_executed, figures.successful_tasks) == (executed, succeeded_)
    assert (figures.failed_tasks, figures.active_tasks) == (failed_, active)
    assert figures.average_execution_ms == pytest.approx(average, abs=0.01)
    assert figures.success_rate_percent == round(100 * succeeded_ / executed, 2)


async def test_executions_a_minute_are_a_mean_over_an_hour_at_most(
    connection: AsyncConnection, models: ReadModels
) -> None:
    await happened(connection, created(), started(), succeeded(2, attempt(1, answered())))
    assert (await models.figures(NOON + timedelta(seconds=20))).tasks_per_minute == 1.0
    assert (await models.figures(NOON + timedelta(minutes=4))).tasks_per_minute == 0.25
    assert (await models.figures(NOON + timedelta(hours=2))).tasks_per_minute == 0.0


async def test_before_anything_happened_all_figures_are_zero(
    connection: AsyncConnection, models: ReadModels
) -> None:
    await prepare(connection, PROJECTIONS)
    figures = await models.figures(NOON)
    assert {getattr(figures, name) for name in figures.__struct_fields__} == {0}
    stored = await models.stored_figures()
    assert stored.executions == dict.fromkeys(("succeeded", "failed", "skipped", "cancelled"), 0)
    assert stored.duration_buckets[-1] == (float("inf"), 0)
    assert stored.log_position == 0


async def test_the_stored_figures_agree_with_the_rows(
    connection: AsyncConnection, models: ReadModels
) -> None:
    position = await append(connection, RandomLog(7).grow(3_000))
    await project(connection)
    stored = await models.stored_figures()
    cursor = await connection.execute("SELECT status, count(*) FROM task_results GROUP BY 1")
    ledger: dict[str, int] = dict(await cursor.fetchall())
    # How often: an occurrence that was skipped and ran after all counts as both.
    cursor = await connection.execute("SELECT count(*) FROM events WHERE topic = 'execution.skipped.v1'")
    [(ledger["skipped"],)] = await cursor.fetchall()
    assert stored.executions == {name: ledger[name] for name in stored.executions}
    cursor = await connection.execute("SELECT status, count(*) FROM tasks GROUP BY 1")
    assert stored.tasks == dict(await cursor.fetchall())
    for buckets in (stored.duration_buckets, stored.lateness_buckets):
        counts = [count for _, count in buckets]
        assert counts == sorted(counts)
        assert [bound for bound, _ in buckets] == sorted(bound for bound, _ in buckets)
    cursor = await connection.execute(
        "SELECT count(duration_ms), sum(duration_ms) / 1000.0 FROM task_results WHERE success IS NOT NULL"
    )
    [(measured, seconds)] = await cursor.fetchall()
    assert stored.duration_buckets[-1][1] == measured
    assert stored.duration_sum == pytest.approx(float(seconds))
    assert stored.log_position == position
    assert stored.projections == dict.fromkeys(("tasks", "task_results", "statistics"), (position, 0))


async def test_the_checkpoint_is_the_least_of_all(connection: AsyncConnection, models: ReadModels) -> None:
    assert await models.checkpoint() == 0
    position = await happened(connection, created(), started())
    assert await models.checkpoint() == position
    await connection.execute("UPDATE projection_checkpoints SET position = 1 WHERE name = 'statistics'")
    assert await models.checkpoint() == 1
    await connection.execute("DELETE FROM projection_checkpoints WHERE name = 'tasks'")
    assert await models.checkpoint() == 0


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


@pytest.mark.parametrize(
    ("file", "sorts", "sort", "index"),
    [
        ("list_tasks", TASK_SORTS, "-created_at", "tasks_created"),
        ("list_results", RESULT_SORTS, "-due_at", "task_results_due"),
    ],
)
async def test_the_default_lists_read_an_index_from_its_end(
    connection: AsyncConnection, file: str, sorts: Any, sort: str, index: str
) -> None:
    await append(connection, RandomLog(8).grow(4_000))
    await project(connection)
    await connection.execute("ANALYZE")
    names = {*TaskQuery.__struct_fields__, *ResultQuery.__struct_fields__, "last", "last_id"}
    parameters = dict.fromkeys(names) | {"namespace": "default", "limit": 51, "offset": 0}
    statement = list_statement(file, sort, sorts[sort.removeprefix("-")])
    plain = b"EXPLAIN " + statement.as_bytes(connection)
    cursor = await connection.execute(plain, parameters, prepare=False)
    plan = "\n".join(row[0] for row in await cursor.fetchall())
    assert f"Index Scan Backward using {index}" in plan
    assert "Sort" not in plan
