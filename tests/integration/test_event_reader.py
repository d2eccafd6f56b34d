"""Reading the log of a real Postgres: by time without an index on it, and over HTTP while it grows."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest

from application.ports import EventFilter
from infrastructure.event_store.mapper import encode
from infrastructure.event_store.reader import PostgresEventReader
from infrastructure.postgres import pool
from tests.support.groups import created, meta
from tests.support.http_service import task_json
from tests.support.running_api import running_api

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from psycopg import Connection

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def connection(database: str) -> Iterator[Connection]:
    with psycopg.connect(database, autocommit=True) as opened:
        yield opened


def recorded(connection: Connection, *times: datetime, gap: int = 1) -> None:
    """An event for each time, in this order, each so many positions after the one before."""
    for at in times:
        connection.execute(
            "INSERT INTO events"
            " (originator_id, originator_version, topic, state, recorded_at, notification_id)"
            " SELECT %s, 1, 'task.created.v1', %s, %s, coalesce(max(notification_id), 0) + %s FROM events",
            (uuid4(), encode(created(), meta()), at, gap),
        )


async def found(
    database: str, start: datetime | None, end: datetime | None, looked_at: int = 10
) -> list[datetime]:
    """When what a period holds was recorded, by reading page by page."""
    wanted = EventFilter(recorded_from=start, recorded_to=end)
    times, after, more = [], 0, True
    async with pool(database, 1) as connections:
        reader = PostgresEventReader(connections, looked_at)
        while more:
            page = await reader.page(wanted, after, 7)
            times += [event.recorded_at for event in page.items]
            after, more = page.next_after, page.more
    return times


@pytest.mark.parametrize("gap", [1, 2, 1_000])
async def test_a_period_is_found_wherever_it_begins_and_ends(
    database: str, connection: Connection, gap: int
) -> None:
    times = [NOON + number * 5 * MINUTE for number in range(40)]
    recorded(connection, *times, gap=gap)
    edges = [None, NOON - 5 * MINUTE, *(at + MINUTE * side for at in times[::13] for side in (-1, 0, 1))]
    for start in edges:
        for end in edges:
            expected = [at for at in times if (start is None or at >= start) and (end is None or at < end)]
            assert await found(database, start, end) == expected, (start, end)


async def test_a_clock_that_was_set_back_a_little_hides_nothing(
    database: str, connection: Connection
) -> None:
    times = [NOON + number * MINUTE / 6 for number in range(60)]
    back = [at - 0.9 * MINUTE for at in times[30:]]
    recorded(connection, *times[:30], *back)
    for start in (times[28], back[0], back[3], times[40]):
        expected = [at for at in (*times[:30], *back) if at >= start]
        assert await found(database, start, None) == expected
        before = [at for at in (*times[:30], *back) if at < start]
        assert await found(database, None, start) == before


async def test_a_period_far_into_a_log_costs_no_look_at_what_is_before_it(
    database: str, connection: Connection
) -> None:
    recorded(connection, *(NOON + number * 5 * MINUTE for number in range(100)))
    async with pool(database, 1) as connections:
        reader = PostgresEventReader(connections, looked_at=3)
        page = await reader.page(EventFilter(recorded_from=NOON + 97 * 5 * MINUTE), 0, 10)
    assert ([event.position for event in page.items], page.more) == ([98, 99, 100], False)


async def test_a_young_task_costs_no_look_at_what_is_older(database: str, connection: Connection) -> None:
    recorded(connection, *(NOON for _ in range(20)))
    row = connection.execute("SELECT originator_id FROM events WHERE notification_id = 19").fetchone()
    assert row is not None
    async with pool(database, 1) as connections:
        page = await PostgresEventReader(connections, looked_at=3).page(EventFilter(task_id=row[0]), 0, 10)
    assert ([event.position for event in page.items], page.more) == ([19], False)


async def test_an_empty_log_has_no_time(database: str) -> None:
    assert await found(database, NOON, None) == await found(database, None, NOON) == []


def test_whoever_reads_on_while_others_write_misses_nothing(database: str, tmp_path: Path) -> None:
    with running_api(database, tmp_path) as url, httpx.Client(base_url=f"{url}/api/v1", timeout=60) as client:
        ids, told, after = [], [], 0
        for number in range(30):
            created_now = client.post(
                "/tasks", json=task_json(name=str(number)), headers={"Prefer": "respond-async"}
            )
            ids.append(UUID(created_now.json()["id"]))
            page = client.get("/events", params={"after": after, "limit": 1, "topic": "task.created"}).json()
            told += [UUID(event["stream"]) for event in page["items"]]
            after = page["next_after"]
        with client.stream(
            "GET", "/events", params={"after": after}, headers={"Accept": "application/x-ndjson"}
        ) as lines:
            told += [UUID(json.loads(line)["stream"]) for line in lines.iter_lines()]
        assert told == ids
        assert lines.headers["x-event-position"] == "30"
        last = client.get(f"/tasks/{ids[-1]}/events").json()
        assert [event["data"]["definition"]["name"] for event in last["items"]] == ["29"]
