"""The leaves of a log as they are now, from its rows and from what has left the table."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import UUID

import msgspec
from psycopg import AsyncConnection, AsyncCursor
from psycopg_pool import AsyncConnectionPool

from application.audit import StoredEvent
from application.ports import LogUnavailable
from domain.audit import (
    NODE_LEVEL,
    Extent,
    Leaf,
    Rewritings,
    SignedHead,
    TreeHead,
    entry,
    rewritten_event,
    told_by,
)
from domain.identity import is_execution
from domain.merkle import HASH_BYTES, Subtree, leaf_hash
from infrastructure.archive.catalog import ArchiveReader
from infrastructure.audit_log.keys import KeyUnusable, PublicKey
from infrastructure.event_store.log import READ_SECONDS
from infrastructure.postgres import AWAY, first_line
from infrastructure.sql import statements

# Microseconds from 1970 to 2000, where Postgres' own count begins.
_POSTGRES_EPOCH_US = 946_684_800_000_000
_INFINITY_US = 2**63 - 1


async def in_order(
    stored: AsyncIterator[tuple[Any, ...]], archived: AsyncIterator[tuple[Any, ...]]
) -> AsyncIterator[tuple[Any, ...]]:
    """The rows of both by their positions."""
    away = await anext(archived, None)
    async for row in stored:
        while away is not None and away[0] < row[0]:
            yield away
            away = await anext(archived, None)
        yield row
    while away is not None:
        yield away
        away = await anext(archived, None)


class Leaves:
    """The log's leaves in order, as far as they are asked for; and what it tells of rewritten events."""

    def __init__(self, rows: AsyncIterator[tuple[Any, ...]]) -> None:
        self._rows = rows
        self._ahead: deque[Leaf] = deque()
        self.rewritings = Rewritings()

    async def up_to(self, position: int) -> list[Leaf]:
        """Those that were not yet asked for, up to a position."""
        found: list[Leaf] = []
        while self._ahead:
            if self._ahead[0][0] > position:
                return found
            found.append(self._ahead.popleft())
        async for row in self._rows:
            leaf = self._leaf(*row)
            if leaf[0] > position:
                self._ahead.append(leaf)
                break
            found.append(leaf)
        return found

    async def within(self, extent: Extent) -> list[Leaf]:
        """Those that were not yet asked for, as far as a block reaches."""
        read: list[Leaf] = []
        while (leaf := await self._next()) is not None:
            read.append(leaf)
            if not extent.goes_on_behind(*leaf):
                break
        self._ahead.extendleft(reversed(read[extent.events :]))
        return read[: extent.events]

    async def left(self) -> int:
        """How many there are behind those that were asked for."""
        left = len(self._ahead)
        async for row in self._rows:
            self._leaf(*row)
            left += 1
        return left

    async def _next(self) -> Leaf | None:
        if self._ahead:
            return self._ahead.popleft()
        row = await anext(self._rows, None)
        return None if row is None else self._leaf(*row)

    def _leaf(
        self,
        position: int,
        stream: bytes,
        version: int,
        recorded: bytes,
        topic: bytes,
        digest: bytes,
        rewritten: bytes | None,
        telling: bytes | None,
    ) -> Leaf:
        if rewritten is not None:
            self.rewritings.found(rewritten_event(position, UUID(bytes=stream), topic.decode(), rewritten))
        told = None if telling is None else told_by(telling)
        if told is not None:
            self.rewritings.told(position, UUID(bytes=stream), told)
        return _leaf(position, stream, version, recorded, topic, digest)


def _leaf(position: int, stream: bytes, version: int, recorded: bytes, topic: bytes, digest: bytes) -> Leaf:
    recorded_us = int.from_bytes(recorded, "big", signed=True) + _POSTGRES_EPOCH_US
    recorded_us = min(recorded_us, _INFINITY_US)
    return position, leaf_hash(entry(position, stream, version, recorded_us, topic, digest))


statement = statements("infrastructure.audit_log")

LAST_SIZE = 2**63 - 1


async def read_keys(connection: AsyncConnection) -> list[PublicKey]:
    """The public keys that heads of this database were signed by, as far as they can be read."""
    keys = []
    for _, pem in await (await connection.execute(statement("read_keys"))).fetchall():
        with suppress(KeyUnusable):
            keys.append(PublicKey.of_pem(pem))
    return keys


async def latest_heads(connection: AsyncConnection, limit: int = LAST_SIZE) -> list[SignedHead]:
    """Up to `limit` heads, the largest first."""
    cursor = await connection.execute(statement("heads_before"), {"before": LAST_SIZE, "limit": limit})
    return [signed_head(row) for row in await cursor.fetchall()]


def signed_head(columns: Sequence[Any]) -> SignedHead:
    """A head by its columns, in the order of the table."""
    tree_size, root_hash, last_position, sealed_at, key_id, signature = columns
    head = TreeHead(
        tree_size=tree_size, root_hash=root_hash, last_position=last_position, sealed_at=sealed_at
    )
    return SignedHead(head=head, key_id=key_id, signature=signature)


def split(hashes: bytes) -> tuple[bytes, ...]:
    """Hashes that are stored behind each other."""
    return tuple(hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES))


_POSITION_BYTES = 8


class PostgresAuditLog:
    """What is sealed of one database's log."""

    def __init__(self, pool: AsyncConnectionPool, archive_reader: ArchiveReader | None = None) -> None:
        """`archive_reader` has the streams that have left the log; None: nobody asks for any of them."""
        self._pool = pool
        self._archive_reader = archive_reader

    async def heads(self, before: int, limit: int) -> Sequence[SignedHead]:
        """See `AuditLog`."""
        return [signed_head(row) for row in await self._rows("heads_before", before=before, limit=limit)]

    async def head(self, tree_size: int | None) -> SignedHead | None:
        """See `AuditLog`."""
        if tree_size is None:
            latest = await self.heads(LAST_SIZE, 1)
            return latest[0] if latest else None
        rows = await self._rows("head_of", tree_size=tree_size)
        return signed_head(rows[0]) if rows else None

    async def leaf_index(self, position: int) -> int | None:
        """See `AuditLog`."""
        for first_leaf, positions in await self._rows("block_of", position=position):
            sought = position.to_bytes(_POSITION_BYTES, "big")
            for at in range(0, len(positions), _POSITION_BYTES):
                if positions[at : at + _POSITION_BYTES] == sought:
                    return int(first_leaf) + at // _POSITION_BYTES
        return None

    async def leaves(self, run: int) -> Sequence[bytes]:
        """See `AuditLog`."""
        [(hashes,)] = await self._rows("run_of_leaves", start=run << NODE_LEVEL, end=(run + 1) << NODE_LEVEL)
        return split(hashes)

    async def nodes(self, wanted: Sequence[Subtree]) -> Mapping[Subtree, bytes]:
        """See `AuditLog`."""
        levels, indexes = [each.level for each in wanted], [each.index for each in wanted]
        rows = await self._rows("nodes", levels=levels, indexes=indexes)
        return {Subtree(level, index): hashed for level, index, hashed in rows}

    async def events(self, stream: UUID) -> Sequence[StoredEvent]:
        """See `AuditLog`."""
        rows = await self._rows("events_of", stream=stream)
        if not rows and self._archive_reader is not None and is_execution(stream):
            archived = await self._archive_reader.of_stream(stream) or []
            rows = [
                (event.position, event.version, event.recorded_at, event.topic, event.state)
                for event in archived
            ]
        return _stored(rows)

    async def events_naming(self, stream: UUID, named: UUID) -> Sequence[StoredEvent]:
        """See `AuditLog`."""
        return _stored(await self._rows("events_naming", stream=stream, named=msgspec.json.encode(named)))

    async def keys(self) -> Mapping[bytes, str]:
        """See `AuditLog`."""
        return dict(await self._rows("read_keys"))

    async def _rows(self, name: str, **parameters: Any) -> list[tuple[Any, ...]]:
        async with self._reading() as cursor:
            await cursor.execute(statement(name), parameters)
            return await cursor.fetchall()

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[AsyncCursor]:
        try:
            async with (
                asyncio.timeout(READ_SECONDS),
                self._pool.connection() as connection,
                connection.cursor(binary=True) as cursor,
            ):
                yield cursor
        except AWAY as error:
            raise LogUnavailable(first_line(error)) from error


def _stored(rows: Iterable[tuple[Any, ...]]) -> list[StoredEvent]:
    return [
        StoredEvent(position=position, version=version, recorded_at=recorded_at, topic=topic, state=state)
        for position, version, recorded_at, topic, state in rows
    ]
