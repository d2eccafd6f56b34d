"""The JSON of heads and proofs; hashes, key ids and signatures in hexadecimal."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

from msgspec import Meta, Struct

from application.ports import Unreadable
from domain.evidence import Evidence as Proved
from domain.evidence import ProvedEvent
from domain.sealing import SignedHead, TreeHead

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from application import audit

Hashes = Annotated[
    list[Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]],
    Meta(description="The hashes of the proof by RFC 9162, from the leaf to the root, in hexadecimal."),
]
PublicKeyPem = Annotated[
    str,
    Meta(
        description="The Ed25519 public key in PEM, as it is stored beside the heads; "
        "compare it with the one that you keep."
    ),
]


class Head(Struct, frozen=True, kw_only=True):
    """The log at some moment, signed."""

    tree_size: Annotated[int, Meta(description="How many events the log had.", ge=1)]
    root_hash: Annotated[
        str, Meta(pattern="^[0-9a-f]{64}$", description="The root of their tree, in hexadecimal.")
    ]
    last_position: Annotated[int, Meta(description="The position of the last one.")]
    sealed_at: Annotated[datetime, Meta(description="When it was signed, by the database's clock.")]
    key_id: Annotated[
        str,
        Meta(pattern="^[0-9a-f]{64}$", description="SHA-256 of the public key (DER) that it is signed by."),
    ]
    signature: Annotated[
        str,
        Meta(pattern="^[0-9a-f]{128}$", description="The Ed25519 signature over all of that but `key_id`."),
    ]

    @classmethod
    def of(cls, signed: SignedHead) -> Head:
        """A head as it is shown."""
        return cls(
            tree_size=signed.head.tree_size,
            root_hash=signed.head.root_hash.hex(),
            last_position=signed.head.last_position,
            sealed_at=signed.head.sealed_at,
            key_id=signed.key_id.hex(),
            signature=signed.signature.hex(),
        )

    def to_domain(self) -> SignedHead:
        """The head that was shown."""
        head = TreeHead(
            tree_size=self.tree_size,
            root_hash=bytes.fromhex(self.root_hash),
            last_position=self.last_position,
            sealed_at=self.sealed_at,
        )
        return SignedHead(
            head=head, key_id=bytes.fromhex(self.key_id), signature=bytes.fromhex(self.signature)
        )


class PublicKey(Struct, frozen=True, kw_only=True):
    """A key that heads are signed by."""

    key_id: Annotated[
        str, Meta(pattern="^[0-9a-f]{64}$", description="SHA-256 of the key in DER, in hexadecimal.")
    ]
    public_key: PublicKeyPem


class HeadPage(Struct, frozen=True, kw_only=True):
    """Some heads, the latest first."""

    items: list[Head]
    next_before: Annotated[int | None, Meta(description="`before` of the next page; null: there is none.")]
    keys: Annotated[list[PublicKey], Meta(description="Every key that a head was ever signed by.")]

    @classmethod
    def of(cls, heads: Sequence[SignedHead], limit: int, keys: Mapping[bytes, str]) -> HeadPage:
        """A page as it is shown; `heads` has one more than the page where there is a next one."""
        items = [Head.of(signed) for signed in heads[:limit]]
        return cls(
            items=items,
            next_before=items[-1].tree_size if len(heads) > limit else None,
            keys=[PublicKey(key_id=key_id.hex(), public_key=pem) for key_id, pem in keys.items()],
        )


class InclusionProof(Struct, frozen=True, kw_only=True):
    """That an event was in the log when a head was signed."""

    position: Annotated[int, Meta(description="Its position in the log.")]
    leaf_index: Annotated[int, Meta(description="How many events are before it.")]
    leaf_hash: Annotated[str, Meta(pattern="^[0-9a-f]{64}$", description="Its hash as a leaf.")]
    hashes: Hashes
    head: Head

    @classmethod
    def of(cls, inclusion: audit.Inclusion) -> InclusionProof:
        """A proof as it is shown."""
        return cls(
            position=inclusion.position,
            leaf_index=inclusion.leaf_index,
            leaf_hash=inclusion.leaf_hash.hex(),
            hashes=[hashed.hex() for hashed in inclusion.hashes],
            head=Head.of(inclusion.signed),
        )


class ConsistencyProof(Struct, frozen=True, kw_only=True):
    """That nothing before was changed as the log grew from one head to another."""

    first: Annotated[Head, Meta(description="The smaller head.")]
    second: Annotated[Head, Meta(description="The larger one.")]
    hashes: Hashes

    @classmethod
    def of(cls, consistency: audit.Consistency) -> ConsistencyProof:
        """A proof as it is shown."""
        return cls(
            first=Head.of(consistency.first),
            second=Head.of(consistency.second),
            hashes=[hashed.hex() for hashed in consistency.hashes],
        )


class EvidenceEvent(Struct, frozen=True, kw_only=True):
    """An event with the proof of its place."""

    position: Annotated[int, Meta(description="Its position in the log.")]
    version: Annotated[int, Meta(description="Its number in the stream, from 1.")]
    recorded_at: Annotated[datetime, Meta(description="When it was stored, by the database's clock.")]
    topic: Annotated[str, Meta(description="What kind of event it is.")]
    state: Annotated[str, Meta(description="What is stored of it, byte by byte in UTF-8.")]
    leaf_index: Annotated[int, Meta(description="How many events are before it in the log.")]
    hashes: Hashes

    @classmethod
    def of(cls, event: ProvedEvent) -> EvidenceEvent:
        """An event as it is shown. Raises `Unreadable` for a state that is no text."""
        return cls(
            position=event.position,
            version=event.version,
            recorded_at=event.recorded_at,
            topic=event.topic,
            state=_text(event),
            leaf_index=event.leaf_index,
            hashes=[hashed.hex() for hashed in event.hashes],
        )

    def to_domain(self) -> ProvedEvent:
        """The event that was shown."""
        return ProvedEvent(
            position=self.position,
            version=self.version,
            recorded_at=self.recorded_at,
            topic=self.topic,
            state=self.state.encode(),
            leaf_index=self.leaf_index,
            hashes=tuple(bytes.fromhex(hashed) for hashed in self.hashes),
        )


class Evidence(Struct, frozen=True, kw_only=True):
    """An execution with the proof that its events were in the log when a head was signed.

    `chronoledger verify --bundle FILE` checks it without the service.
    """

    execution_id: Annotated[UUID, Meta(description="The execution, and the stream of its events.")]
    events: Annotated[list[EvidenceEvent], Meta(description="All of its events, in order.")]
    head: Head
    public_key: PublicKeyPem
    redacted_by: Annotated[
        UUID | None, Meta(description="The stream of `redactions`; null: no event was redacted.")
    ] = None
    redactions: Annotated[
        list[EvidenceEvent], Meta(description="What tells which of the events were redacted, into what.")
    ] = []

    @classmethod
    def of(cls, proved: Proved) -> Evidence:
        """Evidence as it is shown. Raises `Unreadable` for a state that was never JSON."""
        return cls(
            execution_id=proved.stream,
            events=[EvidenceEvent.of(event) for event in proved.events],
            head=Head.of(proved.signed),
            public_key=proved.public_key,
            redacted_by=proved.redacted_by,
            redactions=[EvidenceEvent.of(event) for event in proved.redactions],
        )

    def to_domain(self) -> Proved:
        """The evidence that was shown."""
        return Proved(
            stream=self.execution_id,
            events=tuple(event.to_domain() for event in self.events),
            signed=self.head.to_domain(),
            public_key=self.public_key,
            redacted_by=self.redacted_by,
            redactions=tuple(event.to_domain() for event in self.redactions),
        )


def _text(event: ProvedEvent) -> str:
    try:
        return event.state.decode()
    except UnicodeDecodeError as error:
        raise Unreadable(event.position, "it is not UTF-8") from error
