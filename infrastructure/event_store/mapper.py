"""Facts as stored bytes and back: JSON by msgspec, under short topics that never change."""

from __future__ import annotations

from typing import Any, get_args
from uuid import UUID

import msgspec
from eventsourcing.persistence import Mapper, StoredEvent, Transcoder

from application.ports import Meta
from domain.facts import AnyFact, EventsRedacted, ExecutionFact, Fact, IdempotencyKeyUsed, TaskFact

FACT_TYPES: tuple[type[Fact], ...] = (
    *get_args(TaskFact.__value__),
    *get_args(ExecutionFact.__value__),
    IdempotencyKeyUsed,
    EventsRedacted,
)


class Redaction(msgspec.Struct, frozen=True, gc=False):
    """The SHA-256 (hex) of a state before parts of it were erased."""

    sha256: str


class Envelope[F](msgspec.Struct, frozen=True, gc=False):
    """The JSON that is stored: who and why beside what. `redacted` is there when parts of it were erased.

    It is the last member, for `domain.redaction.original_digest`.
    """

    meta: Meta
    fact: F
    redacted: Redaction | msgspec.UnsetType = msgspec.UNSET


class StoredFact(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A fact at its place, as the `eventsourcing` library names such things."""

    originator_id: UUID
    originator_version: int
    fact: AnyFact
    meta: Meta


class UnknownTopic(ValueError):
    """The log holds an event that this release does not know; run the one that wrote it, or a later one."""

    def __init__(self, topic: str) -> None:
        super().__init__(
            f"event topic {topic!r} is not known to this release; run the one that wrote it, or later"
        )


_encoder = msgspec.json.Encoder()
_decoders: dict[str, msgspec.json.Decoder[Envelope[Any]]] = {
    fact_type.topic: msgspec.json.Decoder(Envelope[fact_type])  # type: ignore[valid-type]
    for fact_type in FACT_TYPES
}


def encode(fact: AnyFact, meta: Meta) -> bytes:
    """The bytes that are stored for a fact."""
    return _encoder.encode(Envelope(meta, fact))


def encode_redacted(fact: AnyFact, meta: Meta, original: bytes) -> bytes:
    """The bytes that are stored in the place of those whose SHA-256 is `original`."""
    return _encoder.encode(Envelope(meta, fact, Redaction(original.hex())))


def decode(topic: str, state: bytes) -> Envelope[AnyFact]:
    """A stored fact. Raises `UnknownTopic`, or `msgspec.ValidationError` for bytes that do not fit."""
    decoder = _decoders.get(topic)
    if decoder is None:
        raise UnknownTopic(topic)
    return decoder.decode(state)


class _NoTranscoder:
    """Stands where the library wants a transcoder: `FactMapper` never asks it."""


class FactMapper(Mapper[UUID]):
    """Lets the library's recorders and stores read and write the same rows."""

    def __init__(self, transcoder: Transcoder | None = None) -> None:
        super().__init__(transcoder or _NoTranscoder())  # type: ignore[arg-type]

    def to_stored_event(self, domain_event: StoredFact) -> StoredEvent:  # type: ignore[override]
        """The row of a fact."""
        return StoredEvent(
            domain_event.originator_id,
            domain_event.originator_version,
            type(domain_event.fact).topic,
            encode(domain_event.fact, domain_event.meta),
        )

    def to_domain_event(self, stored_event: StoredEvent) -> StoredFact:
        """The fact of a row. Raises `UnknownTopic` and `msgspec.ValidationError`."""
        envelope = decode(stored_event.topic, stored_event.state)
        return StoredFact(
            originator_id=_uuid(stored_event.originator_id),
            originator_version=stored_event.originator_version,
            fact=envelope.fact,
            meta=envelope.meta,
        )


def _uuid(value: UUID | str) -> UUID:
    return value if isinstance(value, UUID) else UUID(value)


__all__ = [
    "FACT_TYPES",
    "Envelope",
    "FactMapper",
    "StoredFact",
    "UnknownTopic",
    "decode",
    "encode",
    "encode_redacted",
]
