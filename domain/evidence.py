"""What proves that a stream's events were in the log when a head of it was signed; nothing else is needed."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING
from uuid import UUID

from msgspec import Struct

from domain.merkle import includes
from domain.redaction import original_digest
from domain.redaction_facts import EventsRedacted
from domain.rewriting import Rewritings, rewritten_event, told_by
from domain.sealing import SealedEvent, SignedHead, state_digest
from domain.verification import Finding, not_by_a_redaction

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterator


class ProvedEvent(Struct, frozen=True, kw_only=True):
    """An event with its state as it is stored, and the hashes that prove its place."""

    position: int
    version: int
    recorded_at: datetime
    topic: str
    state: bytes
    leaf_index: int
    hashes: tuple[bytes, ...]


class Evidence(Struct, frozen=True, kw_only=True):
    """A stream's events in order, the head that they are in, and the public key (PEM) that it names.

    `redactions` are the events of the stream `redacted_by` that tell of events that were rewritten.
    """

    stream: UUID
    events: tuple[ProvedEvent, ...]
    signed: SignedHead
    public_key: str
    redacted_by: UUID | None = None
    redactions: tuple[ProvedEvent, ...] = ()

    def findings(self, flaw: Callable[[SignedHead], str | None]) -> Iterator[Finding]:
        """What does not hold; `flaw` tells what is wrong with a signature."""
        head = self.signed.head
        if flawed := flaw(self.signed):
            last = head.last_position
            yield Finding("head_changed", last, last, f"the head of {head.tree_size:,} events {flawed}")
        if not self.events:
            detail = "there are no events of the execution, so nothing is proved of it"
            yield Finding("event_removed", 1, head.last_position, detail)
        for event in self.events:
            if not self._proved(self.stream, event):
                detail = "it is not proved to be the event that was sealed there"
                yield Finding("event_changed", event.position, event.position, detail)
        for rewritten in self._rewritings().unaccounted():
            yield not_by_a_redaction(rewritten)
        versions = [(0, 0), *((event.version, event.position) for event in self.events)]
        for (before, _), (version, position) in pairwise(versions):
            if version != before + 1:
                detail = f"it is version {version} of its stream, behind version {before}: events are missing"
                yield Finding("event_removed", position, position, detail)

    def redacted(self) -> Counter[UUID]:
        """How many of the events the redaction of each task has rewritten, as far as that is proved."""
        return self._rewritings().accounted()

    def _rewritings(self) -> Rewritings:
        """What was rewritten, and what is proved to tell of that."""
        rewritings = Rewritings()
        for event in self.events:
            if original_digest(event.state) is not None:
                rewritings.found(rewritten_event(event.position, self.stream, event.topic, event.state))
        for event in self.redactions:
            told = told_by(event.state) if event.topic == EventsRedacted.topic else None
            if told is not None and self.redacted_by is not None and self._proved(self.redacted_by, event):
                rewritings.told(event.position, self.redacted_by, told)
        return rewritings

    def _proved(self, stream: UUID, event: ProvedEvent) -> bool:
        sealed = SealedEvent(
            position=event.position,
            stream=stream,
            version=event.version,
            recorded_at=event.recorded_at,
            topic=event.topic,
            state_digest=original_digest(event.state) or state_digest(event.state),
        )
        head = self.signed.head
        return includes(head.root_hash, head.tree_size, event.leaf_index, sealed.leaf(), event.hashes)
