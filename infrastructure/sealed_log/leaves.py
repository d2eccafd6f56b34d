"""The leaves of a log as they are now, from its rows and from what has left the table."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any
from uuid import UUID

from domain.merkle import leaf_hash
from domain.rewriting import Rewritings, rewritten_event, told_by
from domain.sealing import entry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from domain.placing import Extent
    from domain.verification import Leaf

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
