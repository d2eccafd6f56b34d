"""The `eventsourcing` library's own recorder, opened on our database, reads every event back.

Only reading is promised. Its `insert_events` would take an EXCLUSIVE lock on the table, which stops vacuum
and is stopped by it, and its database functions take no lock at all and lose events: whatever is appended
goes through `append_groups`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from uuid import UUID, uuid4

import pytest
from eventsourcing.persistence import EventStore, Notification
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
from psycopg.conninfo import conninfo_to_dict

from application.ports import Recorded
from infrastructure.event_store.appender import Appender
from infrastructure.event_store.log import PostgresEventLog
from infrastructure.event_store.mapper import FactMapper, StoredFact
from infrastructure.postgres import pool
from tests.support.groups import cancelled, created, group, started, updated

STREAMS = 12


@pytest.fixture
def recorder(database: str) -> Iterator[PostgresApplicationRecorder]:
    """As its factory makes it under `CREATE_TABLE=n`: the tables are ours."""
    given = conninfo_to_dict(database)
    datastore = PostgresDatastore(
        dbname=str(given["dbname"]),
        host=str(given["host"]),
        port=str(given.get("port", 5432)),
        user=str(given["user"]),
        password=str(given.get("password", "")),
    )
    with datastore:
        yield PostgresApplicationRecorder(datastore, events_table_name="events")


@pytest.fixture
async def log(database: str) -> Sequence[Recorded]:
    """Some streams of some facts, as our own log reads them."""
    async with pool(database, 1) as connections, Appender(database) as appender:
        for number in range(STREAMS):
            task = uuid4()
            await asyncio.gather(
                appender.append(group(task, 1, created(f"task {number} \N{SNOWMAN}"))),
                appender.append(group(task, 2, updated(), cancelled())),
                appender.append(group(uuid4(), 1, started(task))),
            )
        return await PostgresEventLog(connections, appender).read_after(0, 1_000)


def place(notification: Notification) -> tuple[int, UUID | str, int, str]:
    return (
        notification.id,
        notification.originator_id,
        notification.originator_version,
        notification.topic,
    )


def places(events: Sequence[Recorded]) -> list[tuple[int, UUID | str, int, str]]:
    return [(event.position, event.stream, event.version, topic(event)) for event in events]


def topic(event: Recorded) -> str:
    return event.fact.topic


def test_its_notifications_are_our_events_in_our_order(
    log: Sequence[Recorded], recorder: PostgresApplicationRecorder
) -> None:
    notifications = recorder.select_notifications(start=None, limit=1_000)
    assert len(notifications) == STREAMS * 4
    assert [place(notification) for notification in notifications] == places(log)
    mapper = FactMapper()
    facts = [mapper.to_domain_event(notification) for notification in notifications]
    assert [(stored.fact, stored.meta) for stored in facts] == [(event.fact, event.meta) for event in log]


def test_its_pages_are_ours(log: Sequence[Recorded], recorder: PostgresApplicationRecorder) -> None:
    middle = log[20].position
    page = recorder.select_notifications(start=middle, limit=7, inclusive_of_start=False)
    assert [place(notification) for notification in page] == places(log[21:28])
    only = recorder.select_notifications(start=1, limit=1_000, topics=["task.cancelled.v1"])
    assert [place(notification) for notification in only] == places(
        [event for event in log if topic(event) == "task.cancelled.v1"]
    )


def test_its_last_notification_is_our_head(
    log: Sequence[Recorded], recorder: PostgresApplicationRecorder
) -> None:
    assert recorder.max_notification_id() == log[-1].position


def test_its_events_of_a_stream_are_ours(
    log: Sequence[Recorded], recorder: PostgresApplicationRecorder
) -> None:
    for stream in {event.stream for event in log}:
        own = [event for event in log if event.stream == stream]
        stored = recorder.select_events(stream)
        assert [(row.originator_version, row.topic) for row in stored] == [
            (event.version, topic(event)) for event in own
        ]
        assert [row.originator_version for row in recorder.select_events(stream, gt=1, desc=True)] == [
            event.version for event in reversed(own) if event.version > 1
        ]


def test_its_event_store_gives_our_facts(
    log: Sequence[Recorded], recorder: PostgresApplicationRecorder
) -> None:
    store = EventStore(FactMapper(), recorder)
    for stream in {event.stream for event in log}:
        assert list(store.get(stream)) == [
            StoredFact(
                originator_id=event.stream,
                originator_version=event.version,
                fact=event.fact,  # type: ignore[arg-type]
                meta=event.meta,
            )
            for event in log
            if event.stream == stream
        ]
