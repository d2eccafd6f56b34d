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


class SealedEvent(Struct, frozen=True, kw_only=True):
    """An event as it is sealed: by the digest of its state, which need not be there to prove its place."""

    position: int
    stream: UUID
    version: int
    recorded_at: datetime
    topic: str
    state_digest: bytes
    """SHA-256 of the stored state."""

    def entry(self) -> bytes:
        """The bytes that are sealed.

        Position (8 bytes, big-endian, as all numbers are), stream (16), version (8), microseconds since 1970
        UTC of `recorded_at` (8, signed), length of the topic in bytes (2), topic in UTF-8, digest (32).
        """
        topic = self.topic.encode()
        packed = _pack_entry(
            self.position, self.stream.bytes, self.version, microseconds(self.recorded_at), len(topic)
        )
        return packed + topic + self.state_digest

    def leaf(self) -> bytes:
        """The event's hash in the tree."""
        return leaf_hash(self.entry())


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


def state_digest(state: bytes) -> bytes:
    """What stands for a state in what is sealed."""
    return sha256(state).digest()


def microseconds(instant: datetime) -> int:
    """Microseconds since 1970 UTC, exactly."""
    return (instant - _EPOCH) // _MICROSECOND
