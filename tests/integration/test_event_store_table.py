"""The table `events` and the one function that writes to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from infrastructure.event_store.appender import Appender
from tests.support.appends import stored
from tests.support.groups import group

DEADLINE_SECONDS = 60
CLAIM = (
    "SELECT first_position FROM append_groups("
    "ARRAY[0], ARRAY[%s]::uuid[], ARRAY[1]::bigint[], ARRAY['task.created.v1'], ARRAY['{}'::bytea],"
    " '{}', '{}', '{}') WHERE first_position IS NOT NULL"
)


@pytest.fixture
async def appender(database: str) -> AsyncIterator[Appender]:
    async with Appender(database) as appender:
        yield appender


@pytest.fixture
def admin(database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


async def test_appending_is_refused_where_the_probes_could_not_see_what_the_lock_waited_for(
    admin: psycopg.Connection,
) -> None:
    admin.execute("SET default_transaction_isolation TO 'repeatable read'")
    with pytest.raises(psycopg.errors.InvalidTransactionState, match="READ COMMITTED"):
        admin.execute(CLAIM, (uuid4(),))


async def test_the_appender_works_whatever_isolation_the_database_defaults_to(
    database: str, admin: psycopg.Connection
) -> None:
    name = sql.Identifier(str(conninfo_to_dict(database)["dbname"]))
    admin.execute(
        sql.SQL("ALTER DATABASE {} SET default_transaction_isolation TO 'serializable'").format(name)
    )
    async with Appender(database) as appender:
        assert await appender.append(group(uuid4(), 1)) is not None


def test_a_writer_waits_for_the_one_before_it_and_then_sees_what_it_wrote(
    database: str, admin: psycopg.Connection
) -> None:
    stream = uuid4()
    with psycopg.connect(database) as first:
        assert len(first.execute(CLAIM, (stream,)).fetchall()) == 1
        admin.execute("SET lock_timeout TO '200ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            admin.execute(CLAIM, (stream,))
        first.commit()
    assert admin.execute(CLAIM, (stream,)).fetchall() == []


@pytest.mark.parametrize(
    ("statement", "verb"),
    [
        ("UPDATE events SET topic = 'x'", "UPDATE"),
        ("UPDATE events SET topic = 'x' WHERE false", "UPDATE"),
        ("DELETE FROM events", "DELETE"),
        ("TRUNCATE events", "TRUNCATE"),
        (
            "INSERT INTO events (originator_id, originator_version, topic, state)"
            " SELECT originator_id, 1, 'x', state FROM events"
            " ON CONFLICT (originator_id, originator_version) DO UPDATE SET topic = 'x'",
            "UPDATE",
        ),
    ],
)
async def test_events_are_never_changed(
    database: str, appender: Appender, admin: psycopg.Connection, statement: str, verb: str
) -> None:
    await appender.append(group(uuid4(), 1))
    before = await stored(database)
    with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match=f"{verb} is refused"):
        admin.execute(statement.encode())
    assert await stored(database) == before


async def test_recorded_at_is_the_clock_of_the_server(
    database: str, appender: Appender, admin: psycopg.Connection
) -> None:
    await appender.append(group(uuid4(), 1))
    [event] = await stored(database)
    row = admin.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None
    assert timedelta(0) <= row[0] - event.recorded_at < timedelta(seconds=60)


def test_vacuum_is_not_blocked_by_an_append(database: str, admin: psycopg.Connection) -> None:
    with psycopg.connect(database) as writer:
        writer.execute(CLAIM, (uuid4(),))
        admin.execute("SET lock_timeout TO '5s'")
        admin.execute("VACUUM (ANALYZE) events")
        writer.commit()


async def test_an_append_is_not_blocked_by_what_vacuum_holds(database: str, appender: Appender) -> None:
    with psycopg.connect(database) as vacuum:
        vacuum.execute("LOCK TABLE events IN SHARE UPDATE EXCLUSIVE MODE")
        assert await appender.append(group(uuid4(), 1)) is not None


async def test_appends_and_vacuums_go_on_side_by_side(database: str, appender: Appender) -> None:
    done = asyncio.Event()

    async def write() -> int:
        count = 0
        while not done.is_set():
            await asyncio.gather(*(appender.append(group(uuid4(), 1)) for _ in range(20)))
            count += 20
        return count

    writing = asyncio.create_task(write())
    async with (
        asyncio.timeout(DEADLINE_SECONDS),
        await psycopg.AsyncConnection.connect(database, autocommit=True) as admin,
    ):
        for _ in range(5):
            await admin.execute("VACUUM (ANALYZE) events")
        done.set()
        count = await writing
        cursor = await admin.execute("SELECT count(*) FROM events")
        assert await cursor.fetchone() == (count,)
    assert count > 0


def test_the_driver_is_compiled() -> None:
    """The `eventsourcing` library alone would bring the pure Python one, several times slower."""
    assert psycopg.pq.__impl__ in {"binary", "c"}
