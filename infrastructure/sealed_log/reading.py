"""Reading what is sealed: heads, keys, and the rows that proofs are made of."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from domain.merkle import HASH_BYTES
from domain.sealing import SignedHead, TreeHead
from infrastructure.sealed_log.keys import KeyUnusable, PublicKey
from infrastructure.sql import statements

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import AsyncConnection

statement = statements("infrastructure.sealed_log")

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
