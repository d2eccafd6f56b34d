"""Sealing the next block of the log: its leaves, new nodes of the tree, a signed head, in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from domain.merkle import Tree
from domain.sealing import TreeHead
from domain.verification import NODE_LEVEL
from infrastructure.sealed_log.continuing import standing
from infrastructure.sealed_log.reading import split
from infrastructure.sql import statements

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from domain.merkle import Subtree
    from domain.sealing import SignedHead
    from infrastructure.sealed_log.keys import SigningKey

statement = statements("infrastructure.sealed_log")

BLOCK_LEAVES = 1 << NODE_LEVEL


class Sealed(NamedTuple):
    """The head that was signed, None: there was nothing to seal; and whether the log may hold more.

    `lost` is the position that was sealed last, if there is no event any more.
    """

    signed: SignedHead | None
    more: bool
    lost: int | None


async def seal_block(connection: AsyncConnection, key: SigningKey, known: SignedHead | None = None) -> Sealed:
    """Seal what is not yet sealed, up to the next multiple of 4,096 leaves.

    The caller is the only one that seals; `known` is the last head that it signed. Raises `psycopg.Error`,
    and `SealsDiffer` where what is sealed is not what was signed.
    """
    async with connection.transaction(), connection.cursor(binary=True) as cursor:
        size, after, frontier, held = await standing(cursor, key, known)
        limit = BLOCK_LEAVES - size % BLOCK_LEAVES
        lost = None if held else after
        await cursor.execute(statement("next_leaves"), {"after": after, "limit": limit})
        row = await cursor.fetchone()
        assert row is not None
        leaves, first, last, positions, leaf_hashes, sealed_at = row
        if not leaves:
            return Sealed(None, more=False, lost=lost)
        tree, nodes = Tree(size, frontier).grown(split(leaf_hashes), NODE_LEVEL)
        block = {
            "first_leaf": size,
            "leaves": leaves,
            "first_position": first,
            "last_position": last,
            "positions": positions,
            "leaf_hashes": leaf_hashes,
            "frontier": b"".join(tree.frontier),
        }
        await cursor.execute(statement("put_block"), block)
        if nodes:
            await cursor.execute(statement("put_nodes"), node_arrays(nodes))
        head = TreeHead(tree_size=tree.size, root_hash=tree.root, last_position=last, sealed_at=sealed_at)
        signed = key.sign(head)
        await cursor.execute(statement("put_head"), _columns(signed))
        return Sealed(signed, more=leaves == limit, lost=lost)


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
