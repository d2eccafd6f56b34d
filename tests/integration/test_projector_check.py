"""Checking read models: nothing is found where nothing differs, and all that does is found."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import psycopg
import pytest

from infrastructure.event_store.log import LogRewound
from infrastructure.projector.batch import QuarantinedEvent
from infrastructure.projector.check import (
    CheckRunning,
    Difference,
    DifferentColumn,
    NotCheckable,
    ReplayedMeanwhile,
    check,
)
from projections import NAMES, PROJECTIONS, named
from tests.support.checking import TABLES, Told, as_planted, checked, plant
from tests.support.entries import TASK, created, updated
from tests.support.projecting import Store, connect, project
from tests.support.random_log import RandomLog
from tests.support.stored import append

TOO_LONG = "n" * 256


class Interfering(Told):
    """Does something to the database, whenever a part of the log is folded."""

    def __init__(self, what: Callable[[], object]) -> None:
        super().__init__()
        self._what = what

    def folded(self, position: int, until: int) -> None:
        self._what()
        super().folded(position, until)


def execute(dsn: str, statement: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as other:
        other.execute(statement.encode())


async def own_schema(store: Store) -> bool:
    """Whether the check's own tables are there."""
    return await store.rows("SELECT to_regnamespace('checking') IS NOT NULL") == [True]


@pytest.mark.parametrize(
    ("seed", "events", "batch_events"), [(0, 6_000, 97), (1, 6_000, 1_000), (2, 700, 1), (3, 0, 1)]
)
async def test_nothing_differs_where_the_projector_did_its_work(
    store: Store, seed: int, events: int, batch_events: int
) -> None:
    position = await store.filled(events, seed, batch_events) if events else await store.happened()
    found, told = await checked(store.dsn)
    assert told.differences == []
    assert found == (dict.fromkeys(NAMES, position), dict.fromkeys(NAMES, 0), 0, 0)
    assert set(told.tables) == set(TABLES)
    assert told.positions[-1:] == ([(position, position)] if events else [])
    assert not await own_schema(store)


async def test_each_planted_difference_is_found_in_every_table_and_mended_by_a_rebuild(store: Store) -> None:
    await store.filled(3_000)
    planted = [one for table in TABLES for one in await plant(store.connection, table)]
    found, told = await checked(store.dsn)
    assert sorted(as_planted(told.differences)) == sorted(planted)
    assert found.differences == len(planted) == 27
    assert (await checked(store.dsn, named(["statistics"])))[0].differences == 9
    await store.rebuild(["tasks", "task_results"])
    assert (await checked(store.dsn, named(["tasks", "task_results"])))[0].differences == 0


@pytest.mark.parametrize(
    ("table", "change", "columns"),
    [
        (
            "task_states",
            "status = 'paused', runs = 3",
            (DifferentColumn("status", True, "paused", "scheduled"), DifferentColumn("runs", True, "3", "0")),
        ),
        (
            "task_definitions",
            """headers = '{"Authorization": "secret"}', url = 'http://secret/'""",
            (DifferentColumn("url", False, None, None), DifferentColumn("headers", False, None, None)),
        ),
    ],
    ids=["with both values", "without what may be secret"],
)
async def test_a_difference_names_its_row_and_columns(
    store: Store, table: str, change: str, columns: tuple[DifferentColumn, ...]
) -> None:
    await store.happened(created())
    await store.do(f"UPDATE {table} SET {change}")
    _, told = await checked(store.dsn)
    assert told.differences == [Difference("tasks", table, {"id": str(TASK)}, "different", columns)]


async def test_read_models_at_different_places_are_each_checked_where_they_stand(store: Store) -> None:
    log = RandomLog(5)
    await store.happened(*log.grow(300))
    behind = await store.append(*log.grow(300))
    await store.append(*log.grow(300))
    await project(store.connection, projections=named(["tasks"]))
    found, told = await checked(store.dsn)
    assert told.differences == []
    assert found.positions["task_results"] < behind < found.positions["tasks"]


async def test_beside_a_projector_and_writers_nothing_differs(store: Store) -> None:
    log = RandomLog(3)
    await store.append(*log.grow(3_000))
    async with store.projecting(), await connect(store.dsn) as writer:
        await store.reached(1_000)
        checking = asyncio.create_task(checked(store.dsn))
        while not checking.done():
            position = await append(writer, log.grow(40))
            await asyncio.sleep(0.005)
        found, told = await checking
        assert (found.differences, told.differences) == (0, [])
        await store.reached(position)


async def test_the_projector_goes_on_while_tables_are_compared(store: Store) -> None:
    locked: list[int] = []

    def lock_and_write() -> None:
        with psycopg.connect(store.dsn, autocommit=True) as other:
            other.execute("SET statement_timeout = '5s'")
            rows = other.execute("SELECT name FROM projection_checkpoints FOR UPDATE NOWAIT").fetchall()
            other.execute("UPDATE task_states SET runs = runs")
            locked.append(len(rows))

    await store.filled(500)
    found = await check(store.dsn, PROJECTIONS, Told(lock_and_write))
    assert locked == [3] * len(TABLES)
    assert found.differences == 0


async def test_what_is_quarantined_is_left_out_and_what_is_not_is_told(store: Store) -> None:
    await store.happened(created(), updated(name=TOO_LONG), updated(version=3), batch_events=1)
    found, told = await checked(store.dsn)
    assert told.differences == []
    assert (found.parked, found.refused) == ({"tasks": 2, "task_results": 0, "statistics": 0}, 0)
    await store.do("DELETE FROM parked_events WHERE position = 2")
    found, told = await checked(store.dsn)
    assert (found.parked["tasks"], found.refused) == (1, 1)
    [refusal] = told.refusals
    assert isinstance(refusal, QuarantinedEvent)
    assert (refusal.projection, refusal.position) == ("tasks", 2)
    assert "too long" in refusal.error


async def test_quarantined_events_that_are_replayed_meanwhile_call_for_another_check(store: Store) -> None:
    await store.happened(created(), updated(name=TOO_LONG))
    replaying = Interfering(lambda: execute(store.dsn, "DELETE FROM parked_events"))
    with pytest.raises(ReplayedMeanwhile, match="tasks were replayed"):
        await check(store.dsn, PROJECTIONS, replaying)
    assert not await own_schema(store)


async def test_a_rebuild_meanwhile_is_no_difference(store: Store) -> None:
    await store.filled(1_500)
    loop = asyncio.get_running_loop()

    def rebuild_once() -> None:
        if not told.positions:
            asyncio.run_coroutine_threadsafe(store.rebuild(), loop).result(60)

    told = Interfering(rebuild_once)
    found = await asyncio.to_thread(asyncio.run, check(store.dsn, PROJECTIONS, told))
    assert (found.differences, told.differences) == (0, [])


async def test_the_second_of_two_checks_is_refused(store: Store) -> None:
    await store.filled(2_000)
    outcomes = await asyncio.gather(checked(store.dsn), checked(store.dsn), return_exceptions=True)
    [refusal] = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert isinstance(refusal, CheckRunning)
    assert str(refusal) == "another check is running on this database; wait until it is done"


async def test_what_a_killed_check_left_behind_the_next_one_drops(store: Store) -> None:
    await store.filled(500)
    before = await store.contents()
    loop = asyncio.get_running_loop()
    killing = Interfering(
        lambda: asyncio.run_coroutine_threadsafe(store.end_whoever_holds_a_lock(), loop).result(60)
    )
    with pytest.raises(psycopg.OperationalError):
        await asyncio.to_thread(asyncio.run, check(store.dsn, PROJECTIONS, killing))
    assert await own_schema(store)
    assert (await checked(store.dsn))[0].differences == 0
    assert not await own_schema(store)
    assert await store.contents() == before


async def test_a_cancelled_check_leaves_nothing_behind(store: Store) -> None:
    await store.filled(500)

    def cancel() -> None:
        task.cancel()

    task = asyncio.create_task(check(store.dsn, PROJECTIONS, Interfering(cancel)))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not await own_schema(store)


@pytest.mark.parametrize(
    ("damage", "error", "advice"),
    [
        (
            "DROP TABLE task_definitions CASCADE",
            NotCheckable,
            r"missing \(task_definitions\); start a projector",
        ),
        ("DELETE FROM projection_checkpoints", NotCheckable, "was never made here; start a projector"),
        ("UPDATE projection_checkpoints SET version = 1", NotCheckable, "has version 1, this release"),
        ("UPDATE projection_checkpoints SET position = position + 5", LogRewound, "ends at 50, before 55"),
    ],
)
async def test_a_read_model_that_is_not_of_this_release_and_log_cannot_be_checked(
    store: Store, damage: str, error: type[Exception], advice: str
) -> None:
    await store.filled(50)
    await store.do(damage)
    with pytest.raises(error, match=advice):
        await checked(store.dsn)
    assert not await own_schema(store)
