"""`application.audit.SealedLog` in Postgres."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec

from application.audit import StoredEvent
from application.ports import LogUnavailable
from domain.identity import is_execution
from domain.merkle import Subtree
from domain.verification import NODE_LEVEL
from infrastructure.event_store.log import READ_SECONDS
from infrastructure.event_store.outage import AWAY, first_line
from infrastructure.sealed_log.reading import LAST_SIZE, signed_head, split
from infrastructure.sql import statements

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
    from typing import Any
    from uuid import UUID

    from psycopg import AsyncCursor
    from psycopg_pool import AsyncConnectionPool

    from domain.sealing import SignedHead
    from infrastructure.archive.shelf import Shelf

statement = statements("infrastructure.sealed_log")

_POSITION_BYTES = 8


class PostgresSealedLog:
    """What is sealed of one database's log."""

    def __init__(self, pool: AsyncConnectionPool, shelf: Shelf | None = None) -> None:
        """`shelf` has the streams that have left the log; None: nobody asks for any of them."""
        self._pool = pool
        self._shelf = shelf

    async def heads(self, before: int, limit: int) -> Sequence[SignedHead]:
        """See `SealedLog`."""
        return [signed_head(row) for row in await self._rows("heads_before", before=before, limit=limit)]

    async def head(self, tree_size: int | None) -> SignedHead | None:
        """See `SealedLog`."""
        if tree_size is None:
            latest = await self.heads(LAST_SIZE, 1)
            return latest[0] if latest else None
        rows = await self._rows("head_of", tree_size=tree_size)
        return signed_head(rows[0]) if rows else None

    async def leaf_index(self, position: int) -> int | None:
        """See `SealedLog`."""
        for first_leaf, positions in await self._rows("block_of", position=position):
            sought = position.to_bytes(_POSITION_BYTES, "big")
            for at in range(0, len(positions), _POSITION_BYTES):
                if positions[at : at + _POSITION_BYTES] == sought:
                    return int(first_leaf) + at // _POSITION_BYTES
        return None

    async def leaves(self, run: int) -> Sequence[bytes]:
        """See `SealedLog`."""
        [(hashes,)] = await self._rows("run_of_leaves", start=run << NODE_LEVEL, end=(run + 1) << NODE_LEVEL)
        return split(hashes)

    async def nodes(self, wanted: Sequence[Subtree]) -> Mapping[Subtree, bytes]:
        """See `SealedLog`."""
        levels, indexes = [each.level for each in wanted], [each.index for each in wanted]
        rows = await self._rows("nodes", levels=levels, indexes=indexes)
        return {Subtree(level, index): hashed for level, index, hashed in rows}

    async def events(self, stream: UUID) -> Sequence[StoredEvent]:
        """See `SealedLog`."""
        rows = await self._rows("events_of", stream=stream)
        if not rows and self._shelf is not None and is_execution(stream):
            archived = await self._shelf.of_stream(stream) or []
            rows = [
                (event.position, event.version, event.recorded_at, event.topic, event.state)
                for event in archived
            ]
        return _stored(rows)

    async def events_naming(self, stream: UUID, named: UUID) -> Sequence[StoredEvent]:
        """See `SealedLog`."""
        return _stored(await self._rows("events_naming", stream=stream, named=msgspec.json.encode(named)))

    async def keys(self) -> Mapping[bytes, str]:
        """See `SealedLog`."""
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
