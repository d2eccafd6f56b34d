"""The table of heartbeats: who beats, what it says of itself, and what is shown of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from application.ports import HeartbeatPayload, LogUnavailable
from infrastructure.nodes import NodeTable, PostgresNodes
from infrastructure.postgres import pool
from interfaces.bootstrap.services import ShownNodes
from interfaces.http.system import Node

PULSE = HeartbeatPayload(
    claims=True,
    clock_right=True,
    clock_offset_ms=-250,
    share=0.5,
    in_flight=3,
    entries=40,
    position=0,
)


@pytest.fixture
async def connections(database: str) -> AsyncIterator[AsyncConnectionPool]:
    async with pool(database, 4) as opened:
        yield opened


async def shown(connections: AsyncConnectionPool) -> dict[str, Node]:
    table = NodeTable(connections, ["tasks"])
    return {node.name: node for node in await ShownNodes(table, expiry_seconds=6).nodes()}


async def execute(connections: AsyncConnectionPool, statement: str) -> None:
    async with connections.connection() as connection:
        await connection.execute(statement.encode())


async def test_a_beat_tells_the_databases_time_and_is_seen_by_all(connections: AsyncConnectionPool) -> None:
    schedulers = PostgresNodes(connections, "scheduler")
    told = await schedulers.beat("one", PULSE)
    assert abs(told - datetime.now(UTC)) < timedelta(seconds=30)
    await schedulers.beat("two")
    beats = await schedulers.beats()
    assert {name: beat.claims for name, beat in beats.items()} == {"one": True, "two": False}
    assert all(timedelta() <= beat.age < timedelta(seconds=30) for beat in beats.values())
    later = await schedulers.beat("one", PULSE)
    assert later > told
    assert (await schedulers.beats())["one"].at > beats["one"].at
    await schedulers.leave("one")
    assert set(await schedulers.beats()) == {"two"}
    assert await PostgresNodes(connections, "projector").beats() == {}


async def test_what_a_node_says_of_itself_is_shown(connections: AsyncConnectionPool) -> None:
    await PostgresNodes(connections, "scheduler").beat("one", PULSE)
    await PostgresNodes(connections, "projector").beat("two")
    await execute(
        connections,
        "INSERT INTO projection_checkpoints (name, version, position) "
        "VALUES ('tasks', 1, 0), ('gone', 1, -5)",
    )
    nodes = await shown(connections)
    assert list(nodes) == ["two", "one"]
    scheduler, projector = nodes["one"], nodes["two"]
    assert (scheduler.role, scheduler.alive, scheduler.claims, scheduler.clock_right) == (
        "scheduler",
        True,
        True,
        True,
    )
    assert (scheduler.share, scheduler.in_flight, scheduler.due_index_entries) == (0.5, 3, 40)
    assert (scheduler.clock_offset_seconds, scheduler.lag_events) == (-0.25, 0)
    assert (projector.role, projector.alive, projector.claims, projector.share) == (
        "projector",
        True,
        None,
        None,
    )
    assert projector.lag_events == 0


async def test_a_silent_node_is_shown_as_such_for_a_day(connections: AsyncConnectionPool) -> None:
    schedulers = PostgresNodes(connections, "scheduler")
    await schedulers.beat("one", PULSE)
    await execute(connections, "UPDATE nodes SET heartbeat_at = heartbeat_at - interval '7 seconds'")
    node = (await shown(connections))["one"]
    assert (node.alive, node.claims, node.share, node.in_flight) == (False, False, None, None)
    assert node.heartbeat_age_seconds >= 7
    await execute(connections, "UPDATE nodes SET heartbeat_at = heartbeat_at - interval '1 day'")
    assert await schedulers.beats() == {}
    assert await shown(connections) == {}


@pytest.mark.parametrize("ask", ["beat", "beats"])
async def test_without_the_database_beats_are_unavailable(connections: AsyncConnectionPool, ask: str) -> None:
    nodes: Any = PostgresNodes(connections, "scheduler")
    await connections.close()
    with pytest.raises(LogUnavailable):
        await (nodes.beat("one") if ask == "beat" else nodes.beats())


async def test_nodes_of_the_release_before_this_are_kept(
    connections: AsyncConnectionPool, database: str
) -> None:
    await execute(
        connections,
        "INSERT INTO nodes (node, role, started_at, heartbeat_at) VALUES ('old', 'scheduler', now(), now())",
    )
    node = (await shown(connections))["old"]
    assert (node.alive, node.claims, node.clock_right, node.lag_events) == (True, False, True, None)
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM nodes").fetchone() == (1,)
