"""Sealing the log: every event once, in order, whoever seals and whatever is killed."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import AsyncConnection

from domain.audit import SealedEvent, state_digest
from domain.merkle import Tree
from tests.support.projecting import connect
from tests.support.sealing import KEY, as_superuser, audit_log, seal, verified


async def leaves(connection: AsyncConnection) -> list[bytes]:
    """Of all events, without what seals them."""
    cursor = await connection.execute(
        "SELECT notification_id, originator_id, originator_version, recorded_at, topic, state FROM events "
        "ORDER BY notification_id"
    )
    return [
        SealedEvent(
            position=row[0],
            stream=row[1],
            version=row[2],
            recorded_at=row[3],
            topic=row[4],
            state_digest=state_digest(row[5]),
        ).leaf()
        for row in await cursor.fetchall()
    ]


async def test_the_database_hashes_events_as_the_domain_says(database: str) -> None:
    async with await connect(database) as connection:
        await audit_log(connection, 300)
        await as_superuser(
            connection,
            "INSERT INTO events (originator_id, originator_version, topic, state, recorded_at) VALUES "
            "(gen_random_uuid(), 9223372036854775807, 'tâche', '', '1901-01-01 00:00:00.000001Z')",
        )
        await seal(connection)
        cursor = await connection.execute("SELECT root_hash FROM tree_heads ORDER BY tree_size DESC LIMIT 1")
        assert await cursor.fetchone() == (Tree().grown(await leaves(connection), 1)[0].root,)


@pytest.mark.parametrize("sizes", [(1,), (3, 1, 40), (4_095, 1, 1), (5_000, 9_000)])
async def test_an_untouched_log_verifies(database: str, sizes: tuple[int, ...]) -> None:
    async with await connect(database) as connection:
        position = await audit_log(connection, *sizes)
        found, heard = await verified(database)
        assert heard.findings == []
        assert (found.events, found.position, found.unsealed, found.first) == (sum(sizes), position, 0, None)
        found, heard = await verified(database, pinned=[KEY.public])
        assert (heard.findings, found.pinned) == ([], True)


async def test_an_empty_log_verifies(database: str) -> None:
    found, heard = await verified(database)
    assert (heard.findings, found.events, found.sealed_at) == ([], 0, None)


@pytest.mark.parametrize("table", ["audit_keys", "sealed_blocks", "tree_nodes", "tree_heads"])
@pytest.mark.parametrize("statement", ["DELETE FROM {}", "TRUNCATE {} CASCADE", "UPDATE {} SET {} = {}"])
async def test_what_is_sealed_cannot_be_changed_by_mistake(database: str, table: str, statement: str) -> None:
    column = {"audit_keys": "public_key", "sealed_blocks": "leaves", "tree_nodes": "hash"}.get(
        table, "signature"
    )
    async with await connect(database) as connection:
        await audit_log(connection, 5_000)
        with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="append-only"):
            await connection.execute(statement.format(table, column, column).encode())
