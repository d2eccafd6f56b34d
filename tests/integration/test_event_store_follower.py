"""Following the log through lost notifications, lost connections and the race at the start."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from uuid import UUID, uuid4

import psycopg
import pytest

from application.ports import Recorded
from infrastructure.event_store import follower
from infrastructure.event_store import follower as news
from infrastructure.event_store.appender import Appender, OwnEvents
from infrastructure.event_store.follower import PostgresFollower
from infrastructure.event_store.log import LogRewound
from infrastructure.migrator import migrate
from tests.support.groups import group, places
from tests.support.log import following
from tests.support.proxy import Proxy

DEADLINE_SECONDS = 60
LISTENING = (
    "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    " AND (query LIKE 'LISTEN%' OR query LIKE '%notification_id >%')"
)


@pytest.fixture
async def appender(database: str) -> AsyncIterator[Appender]:
    async with Appender(database) as appender:
        yield appender


@pytest.fixture
def admin(database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


@pytest.fixture
def no_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only notifications can wake the follower."""
    monkeypatch.setattr(news, "LOOK_SECONDS", 600.0)


async def append(appender: Appender, count: int) -> list[tuple[UUID, int]]:
    streams = [uuid4() for _ in range(count)]
    for stream in streams:
        assert await appender.append(group(stream, 1), patience="patient") is not None
    return [(stream, 1) for stream in streams]


async def take(batches: AsyncIterator[Sequence[Recorded]], count: int) -> list[tuple[UUID, int]]:
    """The next `count` events at least."""
    seen: list[tuple[UUID, int]] = []
    async with asyncio.timeout(DEADLINE_SECONDS):
        while len(seen) < count:
            seen += places(await anext(batches))
    return seen


@pytest.mark.usefixtures("no_poll")
async def test_an_event_that_commits_between_start_and_listen_is_not_missed(
    database: str, appender: Appender
) -> None:
    async with Proxy(database) as proxy:
        listen = proxy.hold("LISTEN")
        async with following(PostgresFollower(proxy.dsn), 0) as batches:
            first = asyncio.create_task(take(batches, 1))
            async with asyncio.timeout(DEADLINE_SECONDS):
                await listen.sprung.wait()
            expected = await append(appender, 1)
            listen.release()
            assert await first == expected


@pytest.mark.usefixtures("no_poll")
async def test_an_event_that_commits_between_listen_and_the_first_read_is_told_once(
    database: str, appender: Appender
) -> None:
    async with Proxy(database) as proxy:
        read = proxy.hold("notification_id >")
        async with following(PostgresFollower(proxy.dsn), 0) as batches:
            first = asyncio.create_task(take(batches, 1))
            async with asyncio.timeout(DEADLINE_SECONDS):
                await read.sprung.wait()
            expected = await append(appender, 1)
            read.release()
            assert await first == expected
            expected = await append(appender, 1)
            assert await take(batches, 1) == expected


@pytest.mark.usefixtures("no_poll")
async def test_a_notification_wakes_the_follower(database: str, appender: Appender) -> None:
    async with following(PostgresFollower(database), 0) as batches:
        assert places(await anext(batches)) == []
        for _ in range(20):
            waiting = asyncio.create_task(take(batches, 1))
            expected = await append(appender, 1)
            assert await waiting == expected


async def test_a_lost_notification_is_made_good_by_the_poll(database: str, admin: psycopg.Connection) -> None:
    async with following(PostgresFollower(database), 0) as batches:
        assert places(await anext(batches)) == []
        stream = uuid4()
        admin.execute(
            "INSERT INTO events (originator_id, originator_version, topic, state) VALUES (%s, 1, 'x', '')",
            (stream,),
        )
        assert await take(batches, 1) == [(stream, 1)]


async def test_a_killed_connection_heals_and_nothing_is_missed_or_told_twice(
    database: str, appender: Appender, admin: psycopg.Connection
) -> None:
    expected: list[tuple[UUID, int]] = []
    seen: list[tuple[UUID, int]] = []
    async with following(PostgresFollower(database), 0) as batches:
        for _ in range(3):
            expected += await append(appender, 5)
            seen += await take(batches, 5)
            [killed] = admin.execute(f"SELECT pg_terminate_backend(pid) {LISTENING}".encode()).fetchall()
            assert killed == (True,)
            expected += await append(appender, 5)
            seen += await take(batches, 5)
    assert seen == expected


async def test_a_follower_waits_through_an_outage_and_misses_nothing(
    database: str, appender: Appender
) -> None:
    async with Proxy(database) as proxy, following(PostgresFollower(proxy.dsn), 0) as batches:
        expected = await append(appender, 3)
        seen = await take(batches, 3)
        proxy.refuse()
        waiting = asyncio.create_task(take(batches, 10))
        expected += await append(appender, 10)
        async with asyncio.timeout(DEADLINE_SECONDS):
            while proxy.refused < 2:
                await asyncio.sleep(0.01)
        assert not waiting.done()
        proxy.accept()
        seen += await waiting
    assert seen == expected


async def test_a_follower_comes_back_from_a_server_that_hangs(
    database: str, appender: Appender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "ANSWER_SECONDS", 0.5)
    async with Proxy(database) as proxy, following(PostgresFollower(proxy.dsn), 0) as batches:
        expected = await append(appender, 3)
        seen = await take(batches, 3)
        proxy.freeze()
        waiting = asyncio.create_task(take(batches, 3))
        expected += await append(appender, 3)
        proxy.cut()
        proxy.thaw()
        seen += await waiting
    assert seen == expected


def lose_after(admin: psycopg.Connection, position: int) -> None:
    """What a restored backup does to the log, and to those who are connected."""
    admin.execute("SET session_replication_role = replica")  # as whom the log's trigger lets do anything
    admin.execute("DELETE FROM events WHERE notification_id > %s", (position,))
    admin.execute(f"SELECT pg_terminate_backend(pid) {LISTENING}".encode())


async def test_a_log_that_became_shorter_ends_the_follower(
    database: str, appender: Appender, admin: psycopg.Connection
) -> None:
    async with following(PostgresFollower(database), 0) as batches:
        await append(appender, 5)
        await take(batches, 5)
        lose_after(admin, 3)
        with pytest.raises(LogRewound, match=r"the log ends at 3, before 5: was a backup restored\?"):
            await take(batches, 1)


async def test_a_log_that_grew_again_on_another_past_ends_the_follower(
    database: str, appender: Appender, admin: psycopg.Connection
) -> None:
    async with following(PostgresFollower(database), 0) as batches:
        await append(appender, 5)
        await take(batches, 5)
        async with Appender(database) as another:
            lose_after(admin, 3)
            admin.execute("ALTER TABLE events ALTER notification_id RESTART WITH 4")
            await append(another, 4)
        with pytest.raises(LogRewound, match="another past than what was read up to 5"):
            await take(batches, 1)


async def test_a_follower_that_is_to_begin_behind_the_end_refuses(database: str) -> None:
    async with following(PostgresFollower(database), 7) as batches:
        with pytest.raises(LogRewound, match="the log ends at 0, before 7"):
            await take(batches, 1)


async def test_a_follower_comes_up_before_the_schema(empty_database: str) -> None:
    async with following(PostgresFollower(empty_database), 0) as batches:
        first = asyncio.create_task(take(batches, 1))
        await asyncio.to_thread(migrate, empty_database)
        async with Appender(empty_database) as appender:
            expected = await append(appender, 1)
        assert await first == expected


@pytest.mark.usefixtures("no_poll")
async def test_own_events_and_those_of_others_are_told_in_the_log_s_order(
    database: str, appender: Appender
) -> None:
    own = OwnEvents()
    expected: list[tuple[UUID, int]] = []
    seen: list[tuple[UUID, int]] = []
    async with (
        Appender(database, own=own) as mine,
        following(PostgresFollower(database, own), 0) as batches,
    ):
        assert places(await anext(batches)) == []
        for round_ in range(30):
            first, second = (mine, appender) if round_ % 2 else (appender, mine)
            waiting = asyncio.create_task(take(batches, 5))
            expected += await append(first, 2)
            expected += await append(second, 2)
            time.sleep(0.002)
            expected += await append(first, 1)
            seen += await waiting
    assert seen == expected


async def test_own_events_that_a_failover_lost_are_not_told(
    database: str, appender: Appender, admin: psycopg.Connection
) -> None:
    own = OwnEvents()
    async with Proxy(database) as proxy, Appender(database, own=own) as mine:
        expected = await append(appender, 1)
        async with following(PostgresFollower(proxy.dsn, own), 0) as batches:
            assert await take(batches, 1) == expected
            proxy.refuse()
            proxy.cut()
            waiting = asyncio.create_task(take(batches, 1))
            await append(mine, 2)
            lose_after(admin, 1)
            admin.execute("ALTER TABLE events ALTER notification_id RESTART WITH 2")
            expected = await append(appender, 1)
            proxy.accept()
            assert await waiting == expected


async def test_a_long_past_comes_in_batches_without_a_wait(
    database: str, appender: Appender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(news, "LOOK_SECONDS", 600.0)
    streams = [uuid4() for _ in range(2_500)]
    await asyncio.gather(*(appender.append(group(stream, 1), patience="patient") for stream in streams))
    async with following(PostgresFollower(database), 0) as batches, asyncio.timeout(DEADLINE_SECONDS):
        sizes = [len(await anext(batches)) for _ in range(3)]
    assert sizes == [1_000, 1_000, 500]


async def test_a_backlog_of_notifications_costs_no_read_each(database: str, appender: Appender) -> None:
    async with following(PostgresFollower(database), 0) as batches:
        assert places(await anext(batches)) == []
        expected = await append(appender, 200)
        seen: list[tuple[UUID, int]] = []
        reads = 0
        async with asyncio.timeout(DEADLINE_SECONDS):
            while len(seen) < 200:
                seen += places(await anext(batches))
                reads += 1
            began = asyncio.get_running_loop().time()
            empty = 0
            while asyncio.get_running_loop().time() - began < 1:
                assert places(await anext(batches)) == []
                empty += 1
    assert seen == expected
    assert reads + empty < 20


async def test_a_follower_that_stops_leaves_no_connection_behind(
    database: str, admin: psycopg.Connection
) -> None:
    async with following(PostgresFollower(database), 0) as batches:
        await anext(batches)
        await anext(batches)
        assert admin.execute(f"SELECT count(*) {LISTENING}".encode()).fetchone() == (1,)
    async with asyncio.timeout(DEADLINE_SECONDS):
        while admin.execute(f"SELECT count(*) {LISTENING}".encode()).fetchone() != (0,):
            await asyncio.sleep(0.01)
