"""Batches: how much of the log one takes, how it finds rows, and which events it has to quarantine."""

from __future__ import annotations

from functools import partial, partialmethod
from importlib import resources
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from application.ports import NewFact
from domain.facts import EventsRedacted, Rewritten
from domain.identity import redaction_stream
from infrastructure.archive.catalog import NO_ARCHIVES, Stretch, events_after
from infrastructure.postgres import pool
from infrastructure.projector import reading, runner
from infrastructure.projector.batch import (
    CheckpointMoved,
    Replayed,
    is_poison,
    lock_checkpoints,
    replay_quarantined,
)
from infrastructure.projector.reading import (
    BATCH_EVENTS,
    BATCH_REWRITTEN,
    EVENTS_AT_ONCE,
    NOTHING_ARCHIVED,
    WholeLog,
    read_entries,
)
from infrastructure.projector.workplace import prepare
from projections import PROJECTIONS, named
from projections.projection import PoisonEvent, statement
from projections.rows import ROWS_A_PIECE
from tests.support.entries import NOON, TASK, created, started, updated
from tests.support.plans import plan_nodes
from tests.support.projecting import Store, parked_in, project
from tests.support.random_log import RandomLog

TOO_LONG = "n" * 256
FEW_BYTES = 2_000
PLANT = (
    "INSERT INTO events (originator_id, originator_version, topic, state) VALUES (%s, 1, %s, %s) "
    "RETURNING notification_id"
)
BY_IDS = sorted(
    path.name.removesuffix(".sql")
    for path in (resources.files("projections") / "sql").iterdir()
    if path.name.startswith(("take_", "drop_"))
)


async def replay_tasks(store: Store) -> Replayed:
    [tasks] = named(["tasks"])
    async with pool(store.dsn, 2) as db:
        return await replay_quarantined(db, tasks)


async def test_what_cannot_be_read_is_quarantined_and_the_rest_goes_on(store: Store) -> None:
    log = RandomLog(1)
    async with store.unchanged_by_a_rebuild(), store.projecting():
        await store.append(*log.grow(400))
        [unknown] = await store.rows(PLANT, uuid4(), "task.paused.v9", b"{}")
        [broken] = await store.rows(PLANT, uuid4(), "task.created.v1", b"{no json")
        await store.reached(await store.append(*log.grow(400)))
    names = ("statistics", "task_results", "tasks")
    assert await store.quarantined() == [(name, place) for name in names for place in (unknown, broken)]
    assert "task.paused.v9" in (await parked_in(store.connection))[0][2]


async def test_one_bad_event_of_a_thousand_is_found(store: Store) -> None:
    log = RandomLog(2)
    await store.append(*log.grow(600))
    bad = await store.append(created(stream=UUID(int=5), name=TOO_LONG))
    await store.append(*log.grow(390))
    [event] = await project(store.connection)
    # The ledger has no name of its own to refuse: only `tasks` cannot hold it.
    assert (event.projection, event.position) == ("tasks", bad)
    assert event.error == "StringDataRightTruncation: value too long for type character varying(255)"
    assert await store.rows("SELECT count(*) FROM tasks WHERE id = %s", UUID(int=5)) == [0]


async def test_later_events_of_a_task_wait_behind_a_quarantined_one(store: Store) -> None:
    await store.happened(created(), created(stream=UUID(int=5)))
    bad = [updated(name=TOO_LONG), updated(version=3), started(task_version=3)]
    await store.happened(*bad, batch_events=1)
    await store.happened(updated(version=4, name="last"))
    assert await store.quarantined() == [("tasks", position) for position in (3, 4, 5, 6)]
    assert (await parked_in(store.connection))[1][2].startswith("waits behind the event at position 3")
    assert await store.rows("SELECT name, version FROM tasks WHERE id = %s", TASK) == [("report", 1)]


async def test_a_replay_goes_on_where_the_task_stopped(store: Store) -> None:
    await prepare(store.connection, PROJECTIONS)
    await store.do("ALTER TABLE task_definitions ADD CONSTRAINT sealed CHECK (name <> 'bad')")
    facts = [created(), updated(name="bad"), updated(version=3), started(task_version=3)]
    await store.happened(*facts, batch_events=1)
    assert await replay_tasks(store) == (0, 3)
    assert len(await store.quarantined()) == 3
    await store.do("ALTER TABLE task_definitions DROP CONSTRAINT sealed")
    async with store.unchanged_by_a_rebuild():
        assert await replay_tasks(store) == (3, 0)
    assert await store.quarantined() == []


async def test_many_quarantined_events_are_replayed_in_order(store: Store) -> None:
    log = RandomLog(3)
    await store.happened(*log.grow(10))
    await store.do("ALTER TABLE task_states ADD CONSTRAINT sealed CHECK (version < 0) NOT VALID")
    await store.happened(*log.grow(600))
    count = len(await store.quarantined())
    assert count > 250
    await store.do("ALTER TABLE task_states DROP CONSTRAINT sealed")
    async with store.unchanged_by_a_rebuild():
        assert await replay_tasks(store) == (count, 0)


@pytest.mark.parametrize(
    ("poison", "errors"),
    [
        (
            True,
            [
                psycopg.errors.StringDataRightTruncation(),
                psycopg.errors.CheckViolation(),
                psycopg.errors.ProgramLimitExceeded(),
                psycopg.DataError("text fields cannot contain NUL"),
                psycopg.ProgrammingError("cannot adapt type"),
                PoisonEvent("unknown"),
                KeyError("a fold's mistake"),
                UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"),
            ],
        ),
        (
            False,
            [
                psycopg.errors.UndefinedTable(),
                psycopg.errors.DeadlockDetected(),
                psycopg.errors.ReadOnlySqlTransaction(),
                psycopg.errors.DiskFull(),
                psycopg.OperationalError("the connection is lost"),
                CheckpointMoved(),
                ConnectionResetError(),
                TimeoutError(),
                MemoryError(),
            ],
        ),
    ],
)
def test_only_what_would_fail_again_is_poison(poison: bool, errors: list[Exception]) -> None:
    assert [error for error in errors if is_poison(error) is not poison] == []


@pytest.mark.parametrize("events", [0, 2_000])
async def test_a_batch_finds_rows_by_their_index_however_small_a_table_was(store: Store, events: int) -> None:
    await store.filled(events) if events else await store.happened()
    await store.do("ANALYZE")
    async with store.connection.transaction():
        await lock_checkpoints(store.connection, PROJECTIONS)
        scans = {name: await generic_scan(store, name) for name in BY_IDS}
    assert len(scans) == 5
    assert {kind for kind in scans.values() if kind not in {"Index Scan", "Bitmap Heap Scan"}} == set()


async def generic_scan(store: Store, name: str) -> str:
    """How a plan for any ids reads the table."""
    text = statement(name).replace(b"%(ids)s", b"$1").decode()
    await store.do(f"PREPARE {name} (uuid[]) AS {text}")
    await store.do("SET LOCAL plan_cache_mode = force_generic_plan")
    [[plan]] = await store.rows(f"EXPLAIN (FORMAT JSON) EXECUTE {name} ('{{}}')")
    scans = [node for node in plan_nodes(plan["Plan"]) if node["Node Type"].endswith("Scan")]
    return str(scans[0]["Node Type"])


async def test_a_reading_ends_with_the_event_that_fills_it(store: Store) -> None:
    await store.append(*RandomLog(4).grow(200))
    sizes = await store.rows("SELECT octet_length(state) FROM events ORDER BY notification_id")
    position, read = 0, 0
    while (found := await read_entries(store.connection, position, most_bytes=FEW_BYTES)).full:
        of_these = sizes[read : read + len(found.entries)]
        assert sum(of_these) >= FEW_BYTES > sum(of_these[:-1])
        position, read = found.entries[-1].position, read + len(of_these)
    assert sum(sizes[read:]) < FEW_BYTES
    assert read + len(found.entries) == len(sizes) > read


@pytest.mark.parametrize(
    ("limits", "lengths", "full"),
    [
        ({"most_bytes": 1}, 1, True),
        ({"limit": 49}, 49, True),
        ({"limit": 50}, 50, True),
        ({"limit": 51}, 50, False),
    ],
    ids=["one larger than all that is allowed", "fewer than there are", "as many", "more"],
)
async def test_a_reading_has_as_many_as_are_allowed(
    store: Store, limits: dict[str, int], lengths: int, full: bool
) -> None:
    await store.append(*RandomLog(4).grow(50))
    found = await read_entries(store.connection, 0, **limits)
    assert (len(found.entries), found.full) == (lengths, full)


def telling(task: UUID, version: int, events: int) -> NewFact:
    rewritten = tuple(Rewritten(position, task, "00") for position in range(1, events + 1))
    fact = EventsRedacted(at=NOON, task_id=task, rewritten=rewritten)
    return NewFact(redaction_stream(task), version, fact)


async def test_a_reading_ends_when_it_tells_of_many_rewritten_events(store: Store) -> None:
    task = uuid4()
    await store.append(
        *(telling(task, *of) for of in enumerate([BATCH_REWRITTEN - 1, 1, BATCH_REWRITTEN, 1], 1))
    )
    for read in (read_entries, NOTHING_ARCHIVED.entries):
        readings = [await read(store.connection, position) for position in (0, 2, 3)]
        assert [(len(found.entries), found.full) for found in readings] == [(2, True), (1, True), (1, False)]


async def test_projector_and_rebuild_go_on_at_once_when_size_ended_a_batch(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "read_entries", partial(read_entries, most_bytes=FEW_BYTES))
    monkeypatch.setattr(WholeLog, "entries", partialmethod(WholeLog.entries, most_bytes=FEW_BYTES))
    last = await store.append(*RandomLog(5).grow(300))
    async with store.unchanged_by_a_rebuild(), store.projecting():
        await store.reached(last)


@pytest.mark.parametrize("more", [-1, 0, 1, ROWS_A_PIECE])
async def test_rows_that_are_sent_in_pieces_all_arrive(store: Store, more: int) -> None:
    rows = ROWS_A_PIECE + more
    await store.happened(*(created(stream=uuid4()) for _ in range(rows)), batch_events=5_000)
    assert await store.rows("SELECT count(*) FROM tasks") == [rows]


async def test_the_whole_log_ends_a_reading_with_what_may_bring_back_too_many_answers(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "LATER_AT_ONCE", 10)
    await store.append(*RandomLog(4).grow(300))
    log, position, read = WholeLog(NO_ARCHIVES), 0, 0
    while (found := await log.entries(store.connection, position)).full:
        later = [entry.version > 2 for entry in found.entries]
        assert later[-1]
        assert sum(later) == 10
        position, read = found.entries[-1].position, read + len(later)
    assert sum(entry.version > 2 for entry in found.entries) <= 10
    assert read + len(found.entries) == 300 > read


async def test_where_few_fill_a_reading_of_the_whole_log_few_are_asked_for(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    async def noting(*whence: Any) -> Stretch:
        asked.append(whence[3])
        return await events_after(*whence)

    monkeypatch.setattr(reading, "events_after", noting)
    await store.append(*RandomLog(4).grow(50))
    log = WholeLog(NO_ARCHIVES)
    for limits in ({"most_bytes": FEW_BYTES}, {}, {}):
        await log.entries(store.connection, 0, **limits)
    assert asked == [EVENTS_AT_ONCE, BATCH_EVENTS, EVENTS_AT_ONCE]
