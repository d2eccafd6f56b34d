"""`AuditLog` over a log in memory that is sealed when a test says so."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

from application.audit import StoredEvent
from application.ports import LogUnavailable
from domain.audit import NODE_LEVEL, SealedEvent, SignedHead, TreeHead, state_digest
from domain.merkle import Subtree, Tree
from domain.redaction import original_digest
from infrastructure.event_store.log import Row
from tests.support.sealing import KEY


class MemoryAuditLog:
    """`rows` is the log, as far as it has grown."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows
        self._tree = Tree()
        self._leaves: list[bytes] = []
        self._positions: list[int] = []
        self._nodes: dict[Subtree, bytes] = {}
        self._heads: list[SignedHead] = []
        self.away = False

    def seal(self) -> None:
        """Seal all there is."""
        fresh = self._rows[len(self._leaves) :]
        hashes = [leaf_of(row) for row in fresh]
        self._tree, nodes = self._tree.grown(hashes, NODE_LEVEL)
        self._nodes |= nodes
        self._leaves += hashes
        self._positions += [row[0] for row in fresh]
        head = TreeHead(
            tree_size=self._tree.size,
            root_hash=self._tree.root,
            last_position=self._positions[-1],
            sealed_at=datetime.now(UTC),
        )
        self._heads.append(KEY.sign(head))

    def lose_nodes(self) -> None:
        """As somebody with the database can."""
        self._nodes.clear()

    async def heads(self, before: int, limit: int) -> Sequence[SignedHead]:
        """See `AuditLog`."""
        self._answering()
        return [signed for signed in reversed(self._heads) if signed.head.tree_size < before][:limit]

    async def head(self, tree_size: int | None) -> SignedHead | None:
        """See `AuditLog`."""
        self._answering()
        if tree_size is None:
            return self._heads[-1] if self._heads else None
        return next((signed for signed in self._heads if signed.head.tree_size == tree_size), None)

    async def leaf_index(self, position: int) -> int | None:
        """See `AuditLog`."""
        index = bisect_left(self._positions, position)
        return index if self._positions[index : index + 1] == [position] else None

    async def leaves(self, run: int) -> Sequence[bytes]:
        """See `AuditLog`."""
        return self._leaves[run << NODE_LEVEL : (run + 1) << NODE_LEVEL]

    async def nodes(self, wanted: Sequence[Subtree]) -> Mapping[Subtree, bytes]:
        """See `AuditLog`."""
        return {subtree: self._nodes[subtree] for subtree in wanted if subtree in self._nodes}

    async def events(self, stream: UUID) -> Sequence[StoredEvent]:
        """See `AuditLog`."""
        return [
            StoredEvent(position=row[0], version=row[2], recorded_at=row[5], topic=row[3], state=row[4])
            for row in self._rows
            if row[1] == stream
        ]

    async def events_naming(self, stream: UUID, named: UUID) -> Sequence[StoredEvent]:
        """See `AuditLog`."""
        return [event for event in await self.events(stream) if f'"{named}"'.encode() in event.state]

    async def keys(self) -> Mapping[bytes, str]:
        """See `AuditLog`."""
        return {KEY.public.id: KEY.public.pem}

    def _answering(self) -> None:
        if self.away:
            raise LogUnavailable("connection refused")


def leaf_of(row: Row) -> bytes:
    """An event's hash, without what seals it."""
    position, stream, version, topic, state, recorded_at = row
    return SealedEvent(
        position=position,
        stream=stream,
        version=version,
        recorded_at=recorded_at,
        topic=topic,
        state_digest=original_digest(state) or state_digest(state),
    ).leaf()
