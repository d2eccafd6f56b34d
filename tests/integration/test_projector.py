"""The projector on a real database: prompt, exactly once, and not easily stopped."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import ClassVar
from uuid import UUID, uuid4

import pytest
from psycopg import AsyncConnection
from structlog.testing import capture_logs

from infrastructure.event_store.log import LogRewound
from infrastructure.event_store.mapper import FACT_TYPES
from infrastructure.migrator import migrate
from infrastructure.postgres import pool
from infrastructure.projector.batch import ROUTINE, Batch, CheckpointMoved, apply_batch
from infrastructure.projector.reading import Entry, read_entries
from infrastructure.projector.runner import Projector, TablesMissing
from infrastructure.projector.workplace import LaterRelease, prepare
from projections import NAMES, PROJECTIONS
from projections.projection import Entry as AnyEntry
from projections.statistics import Statistics
from projections.task_results import TaskResults
from projections.tasks import Tasks
from tests.support.entries import answered, attempt, created, started, succeeded, updated
from tests.support.own_postgres import OwnPostgres
from tests.support.projecting import (
    DEADLINE_SECONDS,
    Store,
    connect,
    least_position,
    project,
    store_of,
    until,
)
from tests.support.proxy import Proxy
from tests.support.random_log import RandomLog
from tests.support.supervisor import open_folder

PLANT = (
    "INSERT INTO events (originator_id, originator_version, topic, state) "
    "SELECT %s, 1, topic, state FROM events WHERE topic = 'idempotency.key_used.v1' LIMIT 1 "
    "RETURNING notification_id"
)
REWOUND = r"the log ends at 200, before 30\d: was a backup restored\?"


class Counting:
    """Counts what was applied."""

    def __init__(self) -> None:
        self.events: Counter[str] = Counter()

    def projected(self, projection: str, events: int) -> None:
        self.events[projection] += events


class NextTasks(Tasks):
    """The same rows, said to be made in a new way."""

    version: ClassVar[int] = Tasks.version + 1


NEXT = (NextTasks(), TaskResults(), Statistics())


def says(logged: Sequence[Mapping[str, object]], words: str) -> bool:
    return any(words in str(entry.get("error", "")) for entry in logged)


async def versions(store: Store) -> dict[str, int]:
    return dict(await store.rows("SELECT name, version FROM projection_checkpoints"))


async def has_table(store: Store, name: str) -> bool:
    return await store.rows("SELECT to_regclass(%s) IS NOT NULL", name) == [True]


async def test_it_applies_what_is_there_and_what_comes(store: Store) -> None:
    log, counting = RandomLog(1), Counting()
    await store.append(*log.grow(2_500))
    async with store.unchanged_by_a_rebuild(), store.projecting(observer=counting):
        for _ in range(30):
            position = await store.append(*log.grow(20))
            await asyncio.sleep(0.003)
        await store.reached(position)
    assert counting.events == dict.fromkeys(NAMES, len(log.facts))


async def test_a_batch_tells_those_who_wait_what_is_visible(store: Store) -> None:
    async with store.projecting(), await connect(store.dsn) as listener:
        await listener.execute("LISTEN projected")
        position = await store.append(created())
        [told] = [told.payload async for told in listener.notifies(timeout=60, stop_after=1)]
        assert told == str(position)
        assert await least_position(store.connection) == position


async def test_an_event_without_a_notification_is_found(store: Store) -> None:
    await store.append(*RandomLog(1).grow(200))
    async with store.projecting():
        await store.reached(200)
        [position] = await store.rows(PLANT, uuid4())
        await store.reached(position)


async def test_one_works_and_the_other_stands_by_until_it_is_needed(store: Store) -> None:
    log = RandomLog(4)
    async with store.unchanged_by_a_rebuild(), AsyncExitStack() as working:
        owner = await working.enter_async_context(store.projecting())
        await until(lambda: owner.owns)
        async with store.projecting() as standby:
            await store.reached(await store.append(*log.grow(300)))
            assert not standby.owns
            await working.aclose()
            await until(lambda: standby.owns)
            await store.reached(await store.append(*log.grow(300)))


async def test_an_owner_that_loses_its_lock_hands_over_and_nothing_is_applied_twice(store: Store) -> None:
    log = RandomLog(5)
    async with store.unchanged_by_a_rebuild(), store.projecting() as one, store.projecting() as two:
        for _ in range(4):
            await until(lambda: one.owns or two.owns)
            await store.append(*log.grow(400))
            await store.end_whoever_holds_a_lock()
            await store.reached(await store.append(*log.grow(400)))


@pytest.mark.race
async def test_of_two_that_apply_the_same_batch_one_is_refused(store: Store) -> None:
    await store.append(*RandomLog(6).grow(300))
    await prepare(store.connection, PROJECTIONS)
    batch = Batch(PROJECTIONS, (await read_entries(store.connection, 0, 1_000)).entries, 0)
    async with store.unchanged_by_a_rebuild(), await connect(store.dsn) as other:
        outcomes = await asyncio.gather(
            apply_batch(store.connection, batch), apply_batch(other, batch), return_exceptions=True
        )
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["CheckpointMoved", "list"]
        with pytest.raises(CheckpointMoved):
            await apply_batch(store.connection, batch)


@pytest.mark.race
async def test_any_number_of_processes_may_prepare_at_once(database: str) -> None:
    async def prepared() -> bool:
        async with await connect(database) as connection:
            return await prepare(connection, PROJECTIONS) == (list(PROJECTIONS), [], None)

    assert all(await asyncio.gather(*(prepared() for _ in range(4))))


async def test_steps_of_one_execution_meet_in_whatever_batch(store: Store) -> None:
    run = UUID(int=99)
    await store.happened(created(), started(stream=run))
    await store.happened(succeeded(2, attempt(1, answered()), stream=run))
    assert await store.rows("SELECT status, success, attempts FROM task_results") == [("succeeded", True, 1)]
    assert await store.rows("SELECT count(*) FROM statistics_open") == [0]


async def test_an_outage_is_waited_out(store: Store) -> None:
    log = RandomLog(7)
    async with store.unchanged_by_a_rebuild(), Proxy(store.dsn) as proxy, store.projecting(dsn=proxy.dsn):
        for _ in range(2):
            await store.reached(await store.append(*log.grow(200)))
            proxy.refuse()
            refused = proxy.refused
            position = await store.append(*log.grow(200))
            await until(lambda before=refused: proxy.refused > before)  # type: ignore[misc]
            assert await least_position(store.connection) < position
            proxy.accept()
            await store.reached(position)


async def test_a_commit_whose_answer_got_lost_is_not_repeated(store: Store) -> None:
    log = RandomLog(8)
    async with store.unchanged_by_a_rebuild(), Proxy(store.dsn) as proxy, store.projecting(dsn=proxy.dsn):
        await store.reached(await store.append(*log.grow(100)))
        for _ in range(3):
            sprung = proxy.cut_after_commit("COMMIT")
            position = await store.append(*log.grow(50))
            await asyncio.wait_for(sprung.wait(), 20)
            await store.reached(position)


async def test_a_dropped_table_is_waited_for_and_quarantines_nothing(store: Store) -> None:
    log = RandomLog(9)
    async with store.unchanged_by_a_rebuild(), store.projecting() as projector:
        await store.reached(await store.append(*log.grow(300)))
        await store.do("DROP TABLE task_states, open_results CASCADE")
        position = await store.append(*log.grow(300))
        await until(lambda: not projector.owns)
        await store.rebuild(["tasks", "task_results"])
        await store.reached(position)
    assert await store.quarantined() == []


# As version 2 of `tasks` and version 3 of `task_results` had them, as far as a rebuild looks at them.
EARLIER_TABLES = """
DROP VIEW tasks, tasks_by_status, task_results;
DROP TABLE task_definitions, task_states, open_results, closed_results;
CREATE TABLE tasks (id uuid PRIMARY KEY);
CREATE INDEX tasks_due ON tasks (id);
CREATE TABLE task_results (id uuid PRIMARY KEY);
UPDATE projection_checkpoints SET version = version - 1 WHERE name IN ('tasks', 'task_results')
"""
CURRENT = [(name, projection.version, 500) for name, projection in zip(NAMES, PROJECTIONS, strict=True)]


@pytest.mark.parametrize(
    "damage",
    [
        "DROP TABLE task_states, result_counts CASCADE",
        "DELETE FROM projection_checkpoints WHERE name = 'statistics'",
        "UPDATE projection_checkpoints SET version = version - 1; UPDATE task_definitions SET name = 'old'",
        EARLIER_TABLES,
    ],
    ids=["tables are gone", "a checkpoint is gone", "an earlier version", "tables that are views now"],
)
async def test_what_is_not_as_this_release_has_it_is_rebuilt_at_the_start(store: Store, damage: str) -> None:
    await store.filled(500)
    before = await store.contents()
    await store.do(damage)

    async def renewed() -> bool:
        found = await store.rows("SELECT name, version, position FROM projection_checkpoints")
        return sorted(found) == sorted(CURRENT) and await has_table(store, "tasks")

    assert not await renewed()
    async with store.projecting():
        await until(renewed)
    assert await store.contents() == before


async def test_a_new_version_is_rebuilt_beside_what_goes_on(store: Store) -> None:
    log = RandomLog(11)
    await store.happened(*log.grow(2_000))
    async with store.unchanged_by_a_rebuild(), store.projecting(NEXT):
        await store.reached(await store.append(*log.grow(500)))

        async def renewed() -> bool:
            return (await versions(store))["tasks"] == NextTasks.version

        await until(renewed)
        await store.reached(await store.append(*log.grow(100)))


async def test_what_a_later_release_wrote_is_left_alone_until_it_is_rebuilt(store: Store) -> None:
    await prepare(store.connection, NEXT)
    later = f"tasks has version {NextTasks.version}, this release knows {Tasks.version}; run the later"
    with pytest.raises(LaterRelease, match=later):
        await prepare(store.connection, PROJECTIONS)
    with capture_logs() as logged:
        async with store.projecting():
            await store.append(created())
            await until(lambda: says(logged, "run the later release, or `chronoledger rebuild tasks`"))
    assert (await store.contents())["tasks"] == []
    await store.rebuild()
    assert (await versions(store))["tasks"] == Tasks.version


async def test_a_checkpoint_that_vanishes_under_a_projector_stops_it_until_a_rebuild(store: Store) -> None:
    log = RandomLog(13)
    with capture_logs() as logged:
        async with store.unchanged_by_a_rebuild(), store.projecting():
            await store.reached(await store.append(*log.grow(300)))
            await store.do("DELETE FROM projection_checkpoints WHERE name = 'statistics'")
            position = await store.append(*log.grow(300))
            await until(lambda: says(logged, "make them again with `chronoledger rebuild"))
            await store.rebuild(["statistics"])
            await store.reached(position)
    assert str(TablesMissing(PROJECTIONS[:2])).endswith("`chronoledger rebuild tasks task_results`")


async def test_read_models_of_events_that_were_lost_are_rebuilt_at_the_start(store: Store) -> None:
    await store.filled(500)
    await store.lose_after(400)
    prepared = await prepare(store.connection, PROJECTIONS)
    assert (prepared.current, prepared.outdated) == ([], list(PROJECTIONS))
    assert str(prepared.rewound) == "the log ends at 400, before 500: was a backup restored?"

    async def renewed() -> bool:
        return await store.rows("SELECT bool_and(position = 400) FROM projection_checkpoints") == [True]

    async with store.unchanged_by_a_rebuild(), store.projecting():
        await until(renewed)
    assert (await prepare(store.connection, PROJECTIONS)).rewound is None


@pytest.mark.parametrize("cut_off", [False, True])
async def test_a_log_that_becomes_shorter_under_a_projector_ends_it(store: Store, cut_off: bool) -> None:
    async with Proxy(store.dsn) as proxy, pool(store.dsn, 4) as db:
        projecting = asyncio.create_task(Projector(db, proxy.dsn, PROJECTIONS).run())
        await store.reached(await store.append(*RandomLog(17).grow(300)))
        if cut_off:
            proxy.refuse()
            await until(lambda: proxy.refused > 0)
        await store.lose_after(200)
        proxy.accept()
        with pytest.raises((LogRewound, ExceptionGroup)) as ended:
            await asyncio.wait_for(projecting, DEADLINE_SECONDS)
    error = ended.value.exceptions[0] if isinstance(ended.value, ExceptionGroup) else ended.value
    assert isinstance(error, LogRewound)
    assert re.fullmatch(REWOUND, str(error))


async def test_a_projector_that_has_to_rebuild_lets_another_rebuild_end_first(store: Store) -> None:
    await store.filled(300)
    before = await store.contents()
    await store.do("DROP TABLE task_states CASCADE")
    async with await connect(store.dsn) as other:
        await other.execute("SELECT pg_advisory_lock(hashtextextended('chronoledger.rebuild', 0))")
        with capture_logs() as logged:
            async with store.projecting():
                await until(lambda: says(logged, "another rebuild is running"))
                assert not await has_table(store, "tasks")
                await other.close()
                await until(lambda: has_table(store, "tasks"))
    assert await store.contents() == before


async def test_an_unmigrated_database_is_waited_for(empty_database: str) -> None:
    async with store_of(empty_database) as store:
        with capture_logs() as logged:
            async with store.projecting():
                await until(lambda: says(logged, 'relation "projection_checkpoints" does not exist'))
                await asyncio.to_thread(migrate, empty_database)
                await store.reached(await store.append(created()))
    assert [entry["event"] for entry in logged].count("projector waits") == 1


async def test_what_a_crash_of_the_database_takes_back_is_applied_again() -> None:
    with open_folder() as folder, OwnPostgres(folder, connections=20) as postgres:
        migrate(postgres.dsn)
        async with store_of(postgres.dsn) as store:
            end = await store.happened(*RandomLog(5).grow(1_000), batch_events=50)
            before = await store.contents()
            postgres.restart_immediately()
        async with store_of(postgres.dsn) as store:
            assert await least_position(store.connection) <= end
            await project(store.connection)
            assert await least_position(store.connection) == end
            assert await store.contents() == before


class Watching(TaskResults):
    """Notes whether commits wait for the disk while it applies batches."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def apply(self, connection: AsyncConnection, entries: Sequence[AnyEntry]) -> AsyncGenerator[None]:
        steps = super().apply(connection, entries)
        await anext(steps)
        yield
        self.seen += [
            row[0] for row in await (await connection.execute("SHOW synchronous_commit")).fetchall()
        ]
        await anext(steps)
        yield
        await anext(steps, None)


async def test_the_commit_of_what_users_were_told_of_waits_for_the_disk(store: Store) -> None:
    watching, position = Watching(), 0
    await prepare(store.connection, [watching])
    over = succeeded(2, attempt(1, answered()))
    for facts in ([created()], [started()], [over], [updated(), started(stream=UUID(int=3))]):
        entries = [
            Entry(place, new.stream, new.version, new.fact) for place, new in enumerate(facts, position + 1)
        ]
        await apply_batch(store.connection, Batch([watching], entries, position))
        position = entries[-1].position
    assert watching.seen == ["on", "off", "off", "on"]
    assert await store.rows("SHOW synchronous_commit") == ["on"]


def test_what_is_routine_is_what_the_database_tells_nobody_of_as_a_command() -> None:
    text = (Path(__file__).parents[2] / "migrations" / "0007_archives.sql").read_text()
    listed = re.search(r"IF NOT topics <@ ARRAY\[(.*?)\]", text, re.DOTALL)
    assert listed is not None
    assert set(re.findall(r"'([^']+)'", listed[1])) == {fact.topic for fact in FACT_TYPES if fact in ROUTINE}
