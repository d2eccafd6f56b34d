"""What is sealed of a log: carried as it is stored, so that who has kept a head finds the very same one."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from itertools import batched
from typing import TYPE_CHECKING, ClassVar

import msgspec
from msgspec import Struct
from msgspec.structs import asdict, replace

from infrastructure.carry.errors import CarryRefused
from infrastructure.sql import statements

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from psycopg import Connection

statement = statements("infrastructure.carry")

# A block has 160 KiB at most.
_AT_ONCE = 50
_UNDATED = datetime.min.replace(tzinfo=UTC)


class Key(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="key"):
    """A public key that heads were signed by."""

    reads: ClassVar[str] = "read_keys"
    stores: ClassVar[str] = "store_key"

    key_id: bytes
    public_key: str
    added_at: datetime


class Block(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="block"):
    """A run of leaves as they were sealed."""

    reads: ClassVar[str] = "read_blocks"
    stores: ClassVar[str] = "store_block"

    first_leaf: int
    leaves: int
    first_position: int
    last_position: int
    positions: bytes
    leaf_hashes: bytes
    frontier: bytes


class Node(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="node"):
    """A perfect subtree."""

    reads: ClassVar[str] = "read_nodes"
    stores: ClassVar[str] = "store_node"

    level: int
    index: int
    hash: bytes


class Head(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="head"):
    """A signed head."""

    reads: ClassVar[str] = "read_heads"
    stores: ClassVar[str] = "store_head"

    tree_size: int
    root_hash: bytes
    last_position: int
    sealed_at: datetime
    key_id: bytes
    signature: bytes


type Seal = Key | Block | Node | Head

_KINDS: tuple[type[Seal], ...] = (Key, Block, Node, Head)
_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Seal] = msgspec.json.Decoder(Key | Block | Node | Head)


class SealsDiffer(CarryRefused):
    """The database has seals of its own; carry the log to another, empty one."""

    def __init__(self) -> None:
        super().__init__(
            "the database has sealed its log by itself, or its seals are not those that were stored: carry "
            "the log to another, empty one"
        )


def written_seals(seals: Iterable[Seal]) -> bytes:
    """A line for each, each ended."""
    return _encoder.encode_lines(seals)


def read_seals(lines: bytes) -> Sequence[Seal]:
    """What such lines tell. Raises `msgspec.MsgspecError`."""
    return _decoder.decode_lines(lines)


def sealed(connection: Connection, until: int) -> Iterator[Sequence[Seal]]:
    """All that is sealed up to a position, some at a time; needs a transaction, best one of a snapshot."""
    for kind in _KINDS:
        with connection.cursor(name=kind.reads) as cursor:
            cursor.execute(statement(kind.reads), {"until": until}, binary=True)
            for rows in batched(cursor, _AT_ONCE):
                yield [kind(*row) for row in rows]


def check_unsealed(connection: Connection, until: int) -> None:
    """Raises `SealsDiffer` where something is sealed up to a position; a key that signed nothing is not."""
    with connection.transaction():
        if next(sealed(connection, until), None) is not None:
            raise SealsDiffer


def store_sealed(connection: Connection, seals: Iterable[Sequence[Seal]], until: int, expected: str) -> None:
    """Store all that was sealed up to a position, or nothing, unless it is there; `expected` is its digest.

    Raises `SealsDiffer`.
    """
    with connection.transaction(), connection.cursor() as cursor:
        if seals_digest(sealed(connection, until)) == expected:
            return
        check_unsealed(connection, until)
        for some in seals:
            for kind in _KINDS:
                rows = [asdict(seal) for seal in some if isinstance(seal, kind)]
                cursor.executemany(statement(kind.stores), rows)
        if seals_digest(sealed(connection, until)) != expected:
            raise SealsDiffer


def seals_digest(seals: Iterable[Sequence[Seal]]) -> str:
    """The SHA-256 of the lines of seals, but for when a database first heard of a key."""
    digest = sha256()
    for some in seals:
        digest.update(written_seals(_undated(seal) for seal in some))
    return digest.hexdigest()


def _undated(seal: Seal) -> Seal:
    return replace(seal, added_at=_UNDATED) if isinstance(seal, Key) else seal
