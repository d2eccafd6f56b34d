"""A database that comes and goes: nothing is lost, nothing is stored twice, and everybody gets an answer."""

from __future__ import annotations

import asyncio
import contextlib
import tracemalloc
from collections.abc import AsyncIterator
from time import monotonic
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from application.ports import Group, LogFull, LogUnavailable
from domain.facts import Answered, Attempt, ExecutionSucceeded
from infrastructure.event_store.appender import Appender, Room
from infrastructure.event_store.log import PostgresEventLog
from infrastructure.migrator import migrate, migrate_down
from infrastructure.postgres import pool, with_liveness
from tests.support.appends import DEADLINE_SECONDS, Calls, stored, until
from tests.support.groups import NOON, group, places
from tests.support.proxy import Proxy

# A prompt append gives up after five; the rest is for a machine that is shared.
GIVEN_UP_SECONDS = 9.0


@pytest.fixture
async def proxy(database: str) -> AsyncIterator[Proxy]:
    async with Proxy(database) as proxy:
        yield proxy


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
async def appender(proxy: Proxy, calls: Calls) -> AsyncIterator[Appender]:
    async with Appender(proxy.dsn, calls) as appender:
        yield appender


async def test_a_prompt_append_gives_up_in_time_and_works_again_when_the_database_is_back(
    database: str, proxy: Proxy, appender: Appender
) -> None:
    before, during, after = (group(uuid4(), 1) for _ in range(3))
    await appender.append(before)
    proxy.refuse()
    began = monotonic()
    with pytest.raises(LogUnavailable):
        await appender.append(during)
    assert monotonic() - began < GIVEN_UP_SECONDS
    proxy.accept()
    async with asyncio.timeout(DEADLINE_SECONDS):
        assert await appender.append(after) is not None
    assert [event.meta for event in await stored(database)] == [before.meta, after.meta]


async def test_patient_appends_wait_for_the_database(database: str, proxy: Proxy, appender: Appender) -> None:
    proxy.refuse()
    groups = [group(uuid4(), 1) for _ in range(50)]
    waiting = [
        asyncio.create_task(appender.append(new, patience="patient")) for place, new in enumerate(groups)
    ]
    await until(lambda: proxy.refused >= 3)
    assert not any(task.done() for task in waiting)
    proxy.accept()
    async with asyncio.timeout(DEADLINE_SECONDS):
        positions = await asyncio.gather(*waiting)
    events = await stored(database)
    assert positions == [event.position for event in events]
    assert [event.meta for event in events] == [new.meta for new in groups]


async def test_a_server_that_hangs_holds_prompt_appends_no_longer_than_an_outage(
    database: str, proxy: Proxy, appender: Appender
) -> None:
    before, during, after = (group(uuid4(), 1) for _ in range(3))
    await appender.append(before)
    proxy.freeze()
    began = monotonic()
    with pytest.raises(LogUnavailable):
        await appender.append(during)
    assert monotonic() - began < GIVEN_UP_SECONDS
    proxy.thaw()
    async with asyncio.timeout(DEADLINE_SECONDS):
        assert await appender.append(after) is not None
    metas = [event.meta for event in await stored(database)]
    assert metas.count(during.meta) <= 1
    assert [meta for meta in metas if meta != during.meta] == [before.meta, after.meta]


async def test_reads_say_that_the_database_is_away_and_work_again_when_it_is_back(
    proxy: Proxy, appender: Appender
) -> None:
    stream = uuid4()
    await appender.append(group(stream, 1))
    async with pool(proxy.dsn, 4) as connections:
        log = PostgresEventLog(connections, appender)
        assert places(await log.read_stream(stream)) == [(stream, 1)]
        proxy.refuse()
        for _ in range(6):
            with pytest.raises(LogUnavailable):
                await log.read_after(0, 10)
        proxy.accept()
        began = monotonic()
        async with asyncio.timeout(DEADLINE_SECONDS):
            await readable(log, stream)
        # The pool's own pace of reconnecting would by now have grown to a quarter of a minute.
        assert monotonic() - began < 10


async def readable(log: PostgresEventLog, stream: UUID) -> None:
    while True:
        try:
            await log.read_stream(stream)
        except LogUnavailable:
            continue
        return


async def test_an_appender_comes_up_while_the_database_is_away(database: str, proxy: Proxy) -> None:
    proxy.refuse()
    async with Appender(proxy.dsn) as appender:
        waiting = asyncio.create_task(appender.append(group(uuid4(), 1), patience="patient"))
        await until(lambda: proxy.refused >= 2)
        proxy.accept()
        async with asyncio.timeout(DEADLINE_SECONDS):
            position = await waiting
    assert [event.position for event in await stored(database)] == [position]


async def test_an_appender_that_stops_answers_everybody_who_waits(proxy: Proxy) -> None:
    proxy.refuse()
    async with Appender(proxy.dsn) as appender:
        waiting = [
            asyncio.create_task(appender.append(group(uuid4(), 1), patience="patient")) for _ in range(5)
        ]
        await until(lambda: proxy.refused >= 1)
    async with asyncio.timeout(DEADLINE_SECONDS):
        answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(answer, LogUnavailable) for answer in answers)
    with pytest.raises(LogUnavailable):
        await appender.append(group(uuid4(), 1), patience="patient")


async def test_a_caller_that_leaves_during_an_outage_leaves_nothing_behind(
    database: str, proxy: Proxy, appender: Appender
) -> None:
    proxy.refuse()
    gone, stays = group(uuid4(), 1), group(uuid4(), 1)
    leaving = asyncio.create_task(appender.append(gone, patience="patient"))
    staying = asyncio.create_task(appender.append(stays, patience="patient"))
    await until(lambda: proxy.refused >= 1)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    proxy.accept()
    async with asyncio.timeout(DEADLINE_SECONDS):
        await staying
    assert [event.meta for event in await stored(database)] == [stays.meta]


async def test_a_full_disk_is_waited_out(database: str, appender: Appender, calls: Calls) -> None:
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as admin:
        await admin.execute(
            "CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'No space left on device' USING ERRCODE = 'disk_full'; END $$"
        )
        await admin.execute("CREATE TRIGGER full_disk BEFORE INSERT ON events EXECUTE FUNCTION fill()")
        groups = [group(uuid4(), 1) for _ in range(20)]
        waiting = [asyncio.create_task(appender.append(new, patience="patient")) for new in groups]
        began = monotonic()
        await until(lambda: calls.unanswered >= 4)
        # Its pace slows down even though the connection itself comes up each time.
        assert monotonic() - began > 0.3
        assert not any(task.done() for task in waiting)
        await admin.execute("DROP TRIGGER full_disk ON events")
    async with asyncio.timeout(DEADLINE_SECONDS):
        positions = await asyncio.gather(*waiting)
    events = await stored(database)
    assert positions == [event.position for event in events]
    assert [event.meta for event in events] == [new.meta for new in groups]


async def test_a_database_that_only_reads_is_waited_out(
    database: str, appender: Appender, calls: Calls
) -> None:
    name = sql.Identifier(str(conninfo_to_dict(database)["dbname"]))
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as admin:
        await admin.execute(sql.SQL("ALTER DATABASE {} SET default_transaction_read_only TO on").format(name))
        waiting = asyncio.create_task(appender.append(group(uuid4(), 1), patience="patient"))
        await until(lambda: calls.unanswered >= 2)
        assert not waiting.done()
        await admin.execute("SET default_transaction_read_only TO off")
        await admin.execute(sql.SQL("ALTER DATABASE {} RESET default_transaction_read_only").format(name))
    async with asyncio.timeout(DEADLINE_SECONDS):
        position = await waiting
    assert [event.position for event in await stored(database)] == [position]


async def test_an_appender_outlives_a_migration_down_and_up(
    database: str, appender: Appender, calls: Calls
) -> None:
    for _ in range(10):  # so that the statement is prepared on the connection
        await appender.append(group(uuid4(), 1))
    await asyncio.to_thread(migrate_down, database)
    new = group(uuid4(), 1)
    waiting = asyncio.create_task(appender.append(new, patience="patient"))
    await until(lambda: calls.unanswered >= 2)
    await asyncio.to_thread(migrate, database)
    async with asyncio.timeout(DEADLINE_SECONDS):
        assert await waiting is not None
    assert [event.meta for event in await stored(database)] == [new.meta]


def test_a_dead_server_is_noticed_unless_the_dsn_says_otherwise() -> None:
    given = conninfo_to_dict(with_liveness("host=localhost connect_timeout=17"))
    assert given["connect_timeout"] == 17 or given["connect_timeout"] == "17"
    assert int(given["tcp_user_timeout"] or 0) == 10_000
    assert int(given["keepalives_idle"] or 0) > 0
    assert with_liveness(make_conninfo(with_liveness("host=localhost"))) == with_liveness("host=localhost")


async def test_a_closed_pool_reads_nothing_and_says_so(database: str, appender: Appender) -> None:
    async with pool(database, 1) as connections:
        log = PostgresEventLog(connections, appender)
        assert list(await log.read_after(0, 10)) == []
    with pytest.raises(LogUnavailable):
        await log.read_after(0, 10)


async def test_a_flood_while_the_database_stalls_is_refused_and_does_not_grow_the_memory(
    database: str, proxy: Proxy
) -> None:
    payload = "x" * 10_000
    room = Room(groups=100, size=500_000)
    async with Appender(proxy.dsn, room=room) as appender, asyncio.timeout(DEADLINE_SECONDS):
        await appender.append(group(uuid4(), 1))
        proxy.freeze()
        tracemalloc.start()
        commands = [asyncio.create_task(appender.append(group(uuid4(), 1))) for _ in range(500)]
        await asyncio.sleep(0)
        refused = 0
        for _ in range(5_000):
            with contextlib.suppress(LogFull):
                await appender.append(large(payload))
                pytest.fail("appended though the database stalls")
            refused += 1
        own = asyncio.create_task(appender.append(group(uuid4(), 1), patience="patient"))
        await asyncio.sleep(0)
        assert tracemalloc.get_traced_memory()[0] < 5_000_000
        tracemalloc.stop()
        assert not own.done(), "what has patience is never refused"
        proxy.thaw()
        answers = await asyncio.gather(*commands, own, return_exceptions=True)
    assert refused == 5_000
    full = [answer for answer in answers if isinstance(answer, LogFull)]
    assert len(full) >= 300
    assert isinstance(answers[-1], int)
    assert len(await stored(database)) == 1 + sum(isinstance(answer, int) for answer in answers)


def large(text: str) -> Group:
    attempt = Attempt(number=1, started_at=NOON, duration_ms=1, answer=Answered(status_code=200, body=text))
    return group(uuid4(), 1, ExecutionSucceeded(at=NOON, task_id=uuid4(), attempt=attempt))


async def test_what_was_given_up_leaves_room_and_anything_fits_into_an_empty_queue(proxy: Proxy) -> None:
    async with Appender(proxy.dsn, room=Room(groups=1, size=1_000)) as appender:
        held = proxy.hold("append_groups")
        first = asyncio.create_task(appender.append(group(uuid4(), 1)))
        await held.sprung.wait()
        given_up = asyncio.create_task(appender.append(large("x" * 2_000)))
        await asyncio.sleep(0)
        with pytest.raises(LogFull):
            await appender.append(group(uuid4(), 1))
        given_up.cancel()
        await asyncio.sleep(0)
        waiting = asyncio.create_task(appender.append(large("x" * 2_000)))
        await asyncio.sleep(0)
        assert not waiting.done()
        held.release()
        assert await first is not None
        assert await waiting is not None
