"""What is sealed of an event, and what a head of the sealed log states."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from struct import Struct as Packing
from typing import TYPE_CHECKING
from uuid import UUID

from msgspec import Struct

from domain.merkle import leaf_hash

if TYPE_CHECKING:
    from collections.abc import Callable

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_HEAD_TEXT = b"chronoledger tree head v1\n"

_pack_entry: Callable[..., bytes] = Packing(">q16sqqH").pack
_pack_head: Callable[..., bytes] = Packing(">Q32sqq").pack


def entry(
    position: int, stream: bytes, version: int, recorded_us: int, topic: bytes, state_digest: bytes
) -> bytes:
    """The bytes that are sealed of an event: its state by a digest, which proves its place without it.

    Position (8 bytes, big-endian, as all numbers are), stream (16), version (8), microseconds since 1970 UTC
    of `recorded_at` (8, signed), length of the topic in bytes (2), topic in UTF-8, SHA-256 of the state (32).
    """
    packed = _pack_entry(position, stream, version, recorded_us, len(topic) & 0xFFFF)
    return packed + topic + state_digest


class SealedEvent(Struct, frozen=True, kw_only=True):
    """An event by what is sealed of it."""

    position: int
    stream: UUID
    version: int
    recorded_at: datetime
    topic: str
    state_digest: bytes
    """SHA-256 of the stored state."""

    def leaf(self) -> bytes:
        """The event's hash in the tree."""
        recorded_us, topic = microseconds(self.recorded_at), self.topic.encode()
        return leaf_hash(
            entry(self.position, self.stream.bytes, self.version, recorded_us, topic, self.state_digest)
        )


class TreeHead(Struct, frozen=True, kw_only=True):
    """The log as it was at some moment: `tree_size` events, the last one at `last_position`.

    Positions have gaps, so an event's index in the tree is the number of events before it.
    """

    tree_size: int
    root_hash: bytes
    last_position: int
    sealed_at: datetime

    def signed_bytes(self) -> bytes:
        """What a signature is over.

        A line of text, then size (8 bytes, big-endian, as all numbers are), root (32), last position (8),
        microseconds since 1970 UTC of `sealed_at` (8, signed).
        """
        return _HEAD_TEXT + _pack_head(
            self.tree_size, self.root_hash, self.last_position, microseconds(self.sealed_at)
        )


class SignedHead(Struct, frozen=True, kw_only=True):
    """A head, and who signed it: the SHA-256 of the public key (DER), and an Ed25519 signature (RFC 8032)."""

    head: TreeHead
    key_id: bytes
    signature: bytes


class SealedBlock(Struct, frozen=True, kw_only=True):
    """A run of leaves as they were sealed, and the frontier of the tree that ends with them.

    A root depends on the leaf hashes alone; the positions are told beside, and may be told wrongly.
    """

    first_leaf: int
    leaves: int
    first_position: int
    last_position: int
    positions: tuple[int, ...]
    leaf_hashes: tuple[bytes, ...]
    frontier: tuple[bytes, ...]

    @property
    def end(self) -> int:
        """The number of leaves up to its last one."""
        return self.first_leaf + len(self.leaf_hashes)


def state_digest(state: bytes) -> bytes:
    """What stands for a state in what is sealed."""
    return sha256(state).digest()


def microseconds(instant: datetime) -> int:
    """Microseconds since 1970 UTC, exactly."""
    return (instant - _EPOCH) // _MICROSECOND
