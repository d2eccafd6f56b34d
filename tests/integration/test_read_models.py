"""Single reads and figures over the read models."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import msgspec
import pytest
from psycopg import AsyncConnection

from application.ports import NewFact
from domain.facts import TaskCreated
from infrastructure.postgres import pool
from infrastructure.projector.workplace import prepare
from projections import PROJECTIONS
from projections.queries import ReadModels
from projections.views import Paging, ResultQuery, TaskQuery, TaskView
from tests.support.entries import (
    NOON,
    RUN,
    TASK,
    after,
    answered,
    attempt,
    attempt_failed,
    attempt_started,
    created,
    definition,
    started,
    succeeded,
    unanswered,
)
from tests.support.projecting import connect, project
from tests.support.random_log import RandomLog
from tests.support.stored import append


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


async def test_what_cannot_be_decoded_fails_nobody_who_reads_something_else_at_the_same_time(
    connection: AsyncConnection, models: ReadModels
) -> None:
    bad, good = uuid4(), uuid4()
    await happened(connection, created(stream=bad), created(stream=good))
    await connection.execute("UPDATE task_definitions SET definition = '{}' WHERE id = %s", [bad])
    refused, read = await asyncio.gather(
        models.task("default", bad), models.task("default", good), return_exceptions=True
    )
    assert isinstance(refused, msgspec.ValidationError)
    assert isinstance(read, TaskView)
    assert read.id == good


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
