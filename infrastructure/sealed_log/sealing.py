"""Sealing the next block of the log: its leaves, new nodes of the tree, a signed head, in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from domain.merkle import HASH_BYTES, Tree
from domain.sealing import TreeHead
from domain.verification import NODE_LEVEL
from infrastructure.archive.library import NO_ARCHIVES
from infrastructure.archive.merging import events_after
from infrastructure.sealed_log.leaves import leaf_of
from infrastructure.sealed_log.statements import statement

if TYPE_CHECKING:
    from datetime import datetime

    from psycopg import AsyncConnection, AsyncCursor

    from domain.merkle import Subtree
    from domain.sealing import SignedHead
    from infrastructure.archive.library import Library
    from infrastructure.sealed_log.keys import SigningKey

BLOCK_LEAVES = 1 << NODE_LEVEL
ARCHIVED_BYTES = 16 * 1024 * 1024


class Sealed(NamedTuple):
    """The head that was signed, None: there was nothing to seal; and whether the log may hold more.

    `lost` is the position that was sealed last, if there is no event any more.
    """

    signed: SignedHead | None
    more: bool
    lost: int | None


async def seal_block(connection: AsyncConnection, key: SigningKey, library: Library = NO_ARCHIVES) -> Sealed:
    """Seal what is not yet sealed, up to the next multiple of 4,096 leaves.

    The caller is the only one that seals. Raises `ArchiveAway` and `psycopg.Error`.
    """
    async with connection.transaction(), connection.cursor(binary=True) as cursor:
        await cursor.execute(statement("sealed_so_far"))
        size, after, frontier, held = await cursor.fetchone() or (0, 0, b"", True)
        lost = None if held else after
        found = await _next(cursor, library, after, BLOCK_LEAVES - size % BLOCK_LEAVES)
        if not found.leaves:
            return Sealed(None, more=False, lost=lost)
        tree, nodes = Tree(size, split(frontier)).grown(split(found.hashes), NODE_LEVEL)
        block = {
            "first_leaf": size,
            "leaves": found.leaves,
            "first_position": found.first,
            "last_position": found.last,
            "positions": found.positions,
            "leaf_hashes": found.hashes,
            "frontier": b"".join(tree.frontier),
        }
        await cursor.execute(statement("put_block"), block)
        if nodes:
            await cursor.execute(statement("put_nodes"), node_arrays(nodes))
        head = TreeHead(
            tree_size=tree.size, root_hash=tree.root, last_position=found.last, sealed_at=found.sealed_at
        )
        signed = key.sign(head)
        await cursor.execute(statement("put_head"), _columns(signed))
        return Sealed(signed, more=found.more, lost=lost)


class _Next(NamedTuple):
    """The next leaves, packed as a block stores them; and whether there may be more behind them."""

    leaves: int
    first: int
    last: int
    positions: bytes
    hashes: bytes
    sealed_at: datetime
    more: bool


async def _next(cursor: AsyncCursor, library: Library, after: int, limit: int) -> _Next:
    await cursor.execute(statement("next_leaves"), {"after": after, "limit": limit})
    row = await cursor.fetchone()
    assert row is not None, "it has one row"
    leaves, first, last, positions, hashes, sealed_at, incomplete = row
    if not incomplete:
        return _Next(leaves, first, last, positions, hashes, sealed_at, more=leaves == limit)
    events, more = await events_after(cursor.connection, library, after, limit, ARCHIVED_BYTES)
    return _Next(
        leaves=len(events),
        first=events[0].position if events else 0,
        last=events[-1].position if events else 0,
        positions=b"".join(event.position.to_bytes(8, "big") for event in events),
        hashes=b"".join(map(leaf_of, events)),
        sealed_at=sealed_at,
        more=more,
    )


def split(hashes: bytes) -> tuple[bytes, ...]:
    """Hashes that are stored behind each other."""
    return tuple(hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES))


def node_arrays(nodes: dict[Subtree, bytes]) -> dict[str, list[int] | list[bytes]]:
    """Parameters of the statements about nodes."""
    return {
        "levels": [node.level for node in nodes],
        "indexes": [node.index for node in nodes],
        "hashes": list(nodes.values()),
    }


def _columns(signed: SignedHead) -> dict[str, object]:
    return {
        "tree_size": signed.head.tree_size,
        "root_hash": signed.head.root_hash,
        "last_position": signed.head.last_position,
        "sealed_at": signed.head.sealed_at,
        "key_id": signed.key_id,
        "signature": signed.signature,
    }
