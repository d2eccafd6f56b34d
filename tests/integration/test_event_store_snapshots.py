"""Snapshots in Postgres: what is not to be trusted is not used, and the stream tells it instead."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import psycopg
import pytest

from application.ports import Snapshot
from application.streams import fold_task, load_task
from infrastructure.event_store.appender import Appender
from infrastructure.event_store.log import PostgresEventLog
from infrastructure.postgres import pool
from tests.support.groups import created, group, updated


@pytest.fixture
async def log(database: str) -> AsyncIterator[PostgresEventLog]:
    async with pool(database, 4) as connections, Appender(database) as appender:
        yield PostgresEventLog(connections, appender)


async def kept(log: PostgresEventLog) -> UUID:
    """A task of two events with a snapshot of the second."""
    stream = uuid4()
    await log.append(group(stream, 1, created("first")))
    await log.append(group(stream, 2, updated("second")))
    events = await log.read_stream(stream)
    task = fold_task(stream, events)
    assert task is not None
    await log.keep(Snapshot(events[-1].position, task))
    return stream


@pytest.mark.parametrize(
    "spoil",
    [
        "UPDATE task_snapshots SET fold = fold + 1",
        "UPDATE task_snapshots SET state = '{'",
        "UPDATE task_snapshots SET kind = 'asleep'",
        "UPDATE task_snapshots SET position = position + 1",
        "UPDATE task_snapshots SET version = version + 1",
        "DELETE FROM task_snapshots",
    ],
)
async def test_a_snapshot_that_is_not_of_this_log_and_release_is_not_used(
    log: PostgresEventLog, database: str, spoil: str
) -> None:
    stream = await kept(log)
    assert (await log.read_task(stream)).snapshot is not None
    before = await load_task(log, stream)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(spoil.encode())
    history = await log.read_task(stream)
    assert history.snapshot is None
    assert len(history.events) == 2
    assert await load_task(log, stream) == before


async def test_a_snapshot_by_other_rules_gives_way(log: PostgresEventLog, database: str) -> None:
    stream = await kept(log)
    snapshot = (await log.read_task(stream)).snapshot
    assert snapshot is not None
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("UPDATE task_snapshots SET fold = fold + 1, version = version + 5")
    await log.keep(snapshot)
    assert (await log.read_task(stream)).snapshot == snapshot
