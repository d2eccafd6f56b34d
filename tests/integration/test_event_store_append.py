"""The table `events`, its one way in, and the group commit in front of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from application.ports import Group, NewFact
from domain.facts import Answered, Attempt, ExecutionSucceeded
from infrastructure.database import pool
from infrastructure.event_store import Appender, PostgresEventLog
from tests.support.groups import NOON, created, group, meta, places

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from application.ports import Recorded

DEADLINE_SECONDS = 60
CLAIM = (
    "SELECT accepted_group, last_position FROM append_events("
    "ARRAY[0], ARRAY[%s]::uuid[], ARRAY[1]::bigint[], ARRAY['task.created.v1'], ARRAY['{}'::bytea],"
    " '{}', '{}', '{}')"
)


@dataclass
class Calls:
    """Every call of the database: groups accepted and refused, and events."""

    seen: list[tuple[int, int, int]] = field(default_factory=list)

    def appended(self, *, accepted: int, refused: int, events: int, seconds: float) -> None:
        assert seconds > 0
        self.seen.append((accepted, refused, events))

    def unavailable(self) -> None:
        raise AssertionError("the database answers all the time")


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
async def appender(database: str, calls: Calls) -> AsyncIterator[Appender]:
    async with Appender(database, calls) as appender:
        yield appender


@pytest.fixture
def admin(database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


async def stored(database: str, appender: Appender) -> list[Recorded]:
    async with pool(database, 1) as connections:
        return list(await PostgresEventLog(connections, appender).read_after(0, 10_000))


async def test_what_is_queued_together_goes_in_one_call(appender: Appender, calls: Calls) -> None:
    await asyncio.gather(*(appender.append(group(uuid4(), 1)) for _ in range(100)))
    assert calls.seen == [(100, 0, 100)]


async def test_a_call_takes_no_more_than_a_thousand_events(appender: Appender, calls: Calls) -> None:
    await asyncio.gather(*(appender.append(group(uuid4(), 1), patience="patient") for _ in range(2_500)))
    assert [events for _, _, events in calls.seen] == [1_000, 1_000, 500]


async def test_a_call_takes_no_more_than_some_megabytes(appender: Appender, calls: Calls) -> None:
    large = Answered(status_code=200, body="x" * 1_000_000)
    attempt = Attempt(number=1, started_at=NOON, duration_ms=1, answer=large)
    fact = ExecutionSucceeded(at=NOON, task_id=uuid4(), attempt=attempt)
    await asyncio.gather(*(appender.append(group(uuid4(), 1, fact), patience="patient") for _ in range(20)))
    assert [events for _, _, events in calls.seen] == [9, 9, 2]


async def test_a_group_larger_than_a_call_goes_in_one(
    database: str, appender: Appender, calls: Calls
) -> None:
    stream = uuid4()
    assert await appender.append(group(stream, 1, *[created()] * 1_500)) is not None
    assert calls.seen == [(1, 0, 1_500)]
    assert places(await stored(database, appender)) == [(stream, version) for version in range(1, 1_501)]


async def test_neighbours_of_a_refused_group_are_stored_by_the_same_call(
    appender: Appender, calls: Calls
) -> None:
    taken = uuid4()
    await appender.append(group(taken, 1))
    answers = await asyncio.gather(
        *(appender.append(group(stream, 1)) for stream in (uuid4(), taken, uuid4(), taken, uuid4()))
    )
    assert [answer is not None for answer in answers] == [True, False, True, False, True]
    # The second group on the same stream comes in a call of its own, after the first.
    assert calls.seen[1:] == [(3, 1, 4), (0, 1, 1)]


async def test_gathered_groups_wait_for_one_another(appender: Appender, calls: Calls) -> None:
    async def outcome(delay: float) -> None:
        await asyncio.sleep(delay)
        await appender.append(group(uuid4(), 1), patience="gathered")

    await asyncio.gather(*(outcome(place / 10_000) for place in range(20)))
    assert len(calls.seen) < 10
    assert sum(accepted for accepted, _, _ in calls.seen) == 20


async def test_a_gathered_group_goes_with_the_next_prompt_one(appender: Appender, calls: Calls) -> None:
    await asyncio.gather(
        appender.append(group(uuid4(), 1), patience="gathered"), appender.append(group(uuid4(), 1))
    )
    assert calls.seen == [(2, 0, 2)]


async def test_a_long_run_of_groups_on_one_stream_is_appended_in_order(
    database: str, appender: Appender
) -> None:
    stream = uuid4()
    async with asyncio.timeout(DEADLINE_SECONDS):
        answers = await asyncio.gather(
            *(appender.append(group(stream, version), patience="patient") for version in range(1, 1_201)),
            *(appender.append(group(uuid4(), 1), patience="patient") for _ in range(100)),
        )
    assert None not in answers
    versions = [event.version for event in await stored(database, appender) if event.stream == stream]
    assert versions == list(range(1, 1_201))


async def test_a_group_that_the_database_chokes_on_fails_alone(
    database: str, appender: Appender, calls: Calls
) -> None:
    good = [group(uuid4(), 1) for _ in range(20)]
    first, second = NewFact(uuid4(), 1, created()), uuid4()
    impossible = Group(facts=(first, NewFact(second, 2**63, created())), meta=meta())
    answers = await asyncio.gather(
        *(appender.append(new, patience="patient") for new in (*good[:10], impossible, *good[10:])),
        return_exceptions=True,
    )
    assert isinstance(answers.pop(10), Exception)
    assert all(isinstance(answer, int) for answer in answers)
    events = await stored(database, appender)
    assert [event.meta for event in events] == [new.meta for new in good]
    assert await appender.append(group(uuid4(), 1)) is not None


async def test_isolating_a_group_keeps_the_order_of_a_stream(database: str, appender: Appender) -> None:
    stream = uuid4()
    impossible = Group(facts=(NewFact(uuid4(), 2**63, created()),), meta=meta())
    groups = [group(stream, 1), impossible, group(stream, 2), group(uuid4(), 1), group(stream, 3)]
    answers = await asyncio.gather(
        *(appender.append(new, patience="patient") for new in groups), return_exceptions=True
    )
    assert [isinstance(answer, int) for answer in answers] == [True, False, True, True, True]
    versions = [event.version for event in await stored(database, appender) if event.stream == stream]
    assert versions == [1, 2, 3]


async def test_an_appender_that_stops_while_it_isolates_answers_everybody(database: str) -> None:
    impossible = Group(facts=(NewFact(uuid4(), 2**63, created()),), meta=meta())

    class Stopper(Calls):
        """Stops the appender on its first good call, which is a group of the isolated batch."""

        def appended(self, *, accepted: int, refused: int, events: int, seconds: float) -> None:
            stop.set()

    stop = asyncio.Event()
    async with Appender(database, Stopper()) as appender:
        waiting = [
            asyncio.ensure_future(appender.append(new, patience="patient"))
            for new in (group(uuid4(), 1), impossible, *(group(uuid4(), 1) for _ in range(30)))
        ]
        async with asyncio.timeout(DEADLINE_SECONDS):
            await stop.wait()
    async with asyncio.timeout(DEADLINE_SECONDS):
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_an_observer_that_fails_does_not_stop_the_appender(database: str) -> None:
    class Failing(Calls):
        def appended(self, *, accepted: int, refused: int, events: int, seconds: float) -> None:
            raise ValueError("no metrics today")

    async with Appender(database, Failing()) as appender:
        for _ in range(3):
            assert await appender.append(group(uuid4(), 1)) is not None


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
    before = await stored(database, appender)
    with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match=f"{verb} is refused"):
        admin.execute(statement.encode())
    assert await stored(database, appender) == before


async def test_recorded_at_is_the_clock_of_the_server(
    database: str, appender: Appender, admin: psycopg.Connection
) -> None:
    await appender.append(group(uuid4(), 1))
    [event] = await stored(database, appender)
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
