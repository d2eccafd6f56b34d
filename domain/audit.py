"""What proves that a stream's events were in the log when a head of it was signed; nothing else is needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from itertools import pairwise
from struct import Struct as Packing
from typing import Any, Literal, get_args
from uuid import UUID

import msgspec
from msgspec import Struct

from domain.facts import (
    AnyFact,
    AttemptFailed,
    AttemptStarted,
    EventsRedacted,
    ExecutionCancelled,
    ExecutionFact,
    ExecutionFailed,
    ExecutionQueued,
    ExecutionRequested,
    ExecutionSkipped,
    ExecutionStarted,
    ExecutionSucceeded,
    ExecutionTakenOver,
    IdempotencyKeyUsed,
    Rewritten,
    TaskCreated,
    TaskFact,
)
from domain.identity import redaction_stream
from domain.merkle import Subtree, Tree, fold, includes, leaf_hash
from domain.redaction import MARK, erased, holds_something, original_digest, tasks_of

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


_FACTS = (
    *get_args(TaskFact.__value__),
    *get_args(ExecutionFact.__value__),
    IdempotencyKeyUsed,
    EventsRedacted,
)


class _Meta(Struct, frozen=True, gc=False):
    address: str | None = None
    reason: str | None = None


class _Stored[F](Struct, frozen=True, gc=False):
    meta: _Meta
    fact: F


_decoders: dict[str, msgspec.json.Decoder[_Stored[Any]]] = {
    fact.topic: msgspec.json.Decoder(_Stored[fact])  # type: ignore[valid-type]
    for fact in _FACTS
}


def told_by(state: bytes) -> EventsRedacted | None:
    """What the stored state of an `events.redacted` tells; None for bytes that are none."""
    stored = _read(EventsRedacted.topic, state)
    return stored.fact if stored else None


def _read(topic: str, state: bytes) -> _Stored[Any] | None:
    try:
        return _decoders[topic].decode(state)
    except (KeyError, ValueError, RecursionError):
        return None


class RewrittenEvent(Struct, frozen=True, gc=False):
    """An event whose state says that it was rewritten; `digest` is the SHA-256 of what stands there now.

    `task_id` is the task that it is about, None: that cannot be told, or of several. `is_erased`: there is
    nothing to erase in it any more. `beside`: the redaction of another task may have left it as it was, but
    for the id of its command.
    """

    position: int
    stream: UUID
    digest: bytes
    task_id: UUID | None = None
    is_erased: bool = False
    beside: bool = False

    def may_be_of(self, task_id: UUID) -> bool:
        """Whether the redaction of a task can have led to what stands there now."""
        return self.is_erased if task_id == self.task_id else self.beside


def rewritten_event(position: int, stream: UUID, topic: str, state: bytes) -> RewrittenEvent:
    """An event by its rewritten state. No redaction leads to one that this release cannot read."""
    digest, stored = state_digest(state), _read(topic, state)
    if stored is None or not holds_something(stored.fact):
        return RewrittenEvent(position, stream, digest)
    fact: AnyFact = stored.fact
    return RewrittenEvent(
        position,
        stream,
        digest,
        task_id=_task_of(stream, fact),
        is_erased=erased(fact) == fact and {stored.meta.address, stored.meta.reason} <= {None, MARK},
        beside=isinstance(fact, TaskCreated)
        or (isinstance(fact, IdempotencyKeyUsed) and fact.execution_id is None),
    )


def _task_of(stream: UUID, fact: AnyFact) -> UUID | None:
    match fact:
        case IdempotencyKeyUsed(task_id=task_id):
            return task_id if tasks_of(fact) == {task_id} else None
        case ExecutionRequested() | ExecutionQueued() | ExecutionStarted() | ExecutionSkipped():
            return fact.occurrence.task_id
        case (
            AttemptFailed()
            | AttemptStarted()
            | ExecutionTakenOver()
            | ExecutionSucceeded()
            | ExecutionFailed()
            | ExecutionCancelled()
            | EventsRedacted()
        ):
            return fact.task_id
        case _:
            return stream


class Rewritings:
    """Tells which rewritten events the log itself accounts for, whatever order it is read in.

    One is accounted for by the last `EventsRedacted` behind it, in the stream of its task's redactions, that
    names its position, if that names its stream and its present state, and if what stands there is what the
    redaction of that task leaves. Nobody has changed it since then, nor put in what was to be erased.
    Numbers, instants and statuses in it could have been others before: the seal is of the original.
    """

    def __init__(self) -> None:
        self._found: list[RewrittenEvent] = []
        self._told: dict[int, tuple[int, UUID, Rewritten]] = {}

    def found(self, event: RewrittenEvent) -> None:
        """There is a rewritten event."""
        self._found.append(event)

    def told(self, position: int, stream: UUID, fact: EventsRedacted) -> None:
        """The event at a position of the log, of a stream, tells of such."""
        if stream != redaction_stream(fact.task_id):
            return
        for each in fact.rewritten:
            before = self._told.get(each.position)
            if position > max(each.position, before[0] if before else 0):
                self._told[each.position] = (position, fact.task_id, each)

    def unaccounted(self) -> Iterator[RewrittenEvent]:
        """Those that were rewritten by nothing that the log tells of."""
        return (event for event in self._found if self._redacted(event) is None)

    def accounted(self) -> Counter[UUID]:
        """How many events the redaction of each task has rewritten."""
        return Counter(task_id for task_id in map(self._redacted, self._found) if task_id is not None)

    def _redacted(self, event: RewrittenEvent) -> UUID | None:
        """The task that was redacted when an event was rewritten."""
        told = self._told.get(event.position)
        if told is None:
            return None
        _, task_id, rewritten = told
        as_told = (rewritten.stream, rewritten.sha256) == (event.stream, event.digest.hex())
        return task_id if as_told and event.may_be_of(task_id) else None


def places_of(block: SealedBlock, after: int, last: int | None, events: Sequence[Leaf]) -> tuple[int, ...]:
    """The positions of a block's leaves, behind `after`; `last` is that of the last one, if it is signed.

    Where the block's own cannot be, because they do not increase, the lowest ones that can.
    """
    if tuple(hashed for _, hashed in events) == block.leaf_hashes:
        return tuple(position for position, _ in events)
    there = {hashed: position for position, hashed in events}
    places = [there.get(*leaf) for leaf in zip(block.leaf_hashes, block.positions, strict=True)]
    if last is not None and block.leaf_hashes[-1] not in there:
        places[-1] = last
    if all(before < behind for before, behind in pairwise([after, *places])):
        return tuple(places)
    lowest = []
    for hashed in block.leaf_hashes:
        after = there.get(hashed, after + 1)
        lowest.append(after)
    return (*lowest[:-1], places[-1] if last is not None else lowest[-1])


def from_block(block: SealedBlock, events: Sequence[Leaf]) -> Sequence[Leaf]:
    """The events of a block, behind those of others that are gone."""
    sealed = set(block.leaf_hashes)
    first = next((position for position, hashed in events if hashed in sealed), block.positions[0])
    return [event for event in events if event[0] >= min(first, block.positions[0])]


class Extent:
    """How far a block reaches that no signed head ends, as the events behind the one before are read.

    It reaches to the last event whose hash it has; behind that, as far as its own positions say, to as many
    as there are leaves behind the one of that event. So what it says of positions takes no event from another
    block, and no more than the length of a block is read in advance.
    """

    def __init__(self, block: SealedBlock, first: int | None = None) -> None:
        """`first`: blocks are gone before it, and events of theirs may lie before that position."""
        self._leaves = {hashed: place for place, hashed in enumerate(block.leaf_hashes, 1)}
        self._count = self._open = len(block.leaf_hashes)
        self._first, self._last = first, block.positions[-1]
        self._read = self._behind = 0
        self.events = 0
        """How many of those that were read belong to it, or lie before it."""

    def goes_on_behind(self, position: int, hashed: bytes) -> bool:
        """Take in the next event; whether those behind it may belong to the block as well."""
        self._read += 1
        place = self._leaves.get(hashed)
        if place is not None:
            self.events, self._behind, self._open = self._read, 0, self._count - place
            return self._open > 0
        if self._first is None or position >= self._first:
            self._behind += 1
            if self._behind <= self._open and position <= self._last:
                self.events = self._read
        return self._behind < self._count


type Leaf = tuple[int, bytes]

"""A position, and the leaf hash of the event there."""

NODE_LEVEL = 12
"""Perfect subtrees of this level and above are stored; a sealed block lies within one of this level."""

type Kind = Literal[
    "event_changed", "event_removed", "event_inserted", "block_changed", "head_changed", "node_changed"
]


class Finding(Struct, frozen=True):
    """Something that is not as it was sealed, about the events from a position up to another one.

    `event_changed`, `event_removed` and `event_inserted` are about the log; the others about what is stored
    to prove it: a sealed block, a signed head, a node of the tree.
    """

    kind: Kind
    position: int
    until: int
    detail: str


def not_by_a_redaction(event: RewrittenEvent) -> Finding:
    """An event says that it was redacted, and no redaction that the log tells of leads to what is there."""
    detail = "it says that it was redacted, and no redaction in the log leads to what stands there now"
    return Finding("event_changed", event.position, event.position, detail)


def signed_by_none(keys: int, first: int, last: int) -> Finding:
    """No head, of those that end at these positions and between, is signed by one of so many pinned keys."""
    key, asked = "any of the keys", "is one of them the right one?"
    if keys == 1:
        key, asked = "the key", "is it the right one?"
    return Finding("head_changed", first, last, f"no head is signed by {key} to verify with: {asked}")


class Verifier:
    """Is given the blocks in order, each with the events from behind the one before up to its end.

    That is where its head says (`until`), or as far as it reaches by itself (`extent`).

    The tree is grown from what was sealed. Where that does not lead to the signed root, it is tried with what
    is there: that tells whether an event or its seal was changed. Failing both, the next block goes on from
    the block's own frontier, if that has the signed root.
    """

    def __init__(
        self, flaw: Callable[[SignedHead], str | None], witnessed: Iterable[SignedHead] = ()
    ) -> None:
        """`flaw` tells what is wrong with a signature; `witnessed` are heads that were kept elsewhere."""
        self._flaw = lru_cache(maxsize=1)(flaw)
        self._witnessed = sorted(witnessed, key=lambda signed: signed.head.tree_size)
        self._witnessed_to = 0
        self._tree: Tree | None = Tree()
        self.nodes: dict[Subtree, bytes] = {}
        """The stored subtrees as they should be; whoever has compared them may clear it."""
        self.size = 0
        self.last_position = 0
        """The last one that a signed head or an event itself vouches for."""
        self._doubted: int | None = None
        """The first position of the blocks right before that no signed root vouches for."""

    def until(self, signed: SignedHead | None) -> int | None:
        """The last position of the block that a head ends; None: no signature says so."""
        return None if signed is None or self._flaw(signed) else signed.head.last_position

    def extent(self, block: SealedBlock) -> Extent:
        """Tells how far the next block reaches, where no signature does."""
        return Extent(block, block.positions[0] if block.first_leaf != self.size else None)

    def block(self, block: SealedBlock, signed: SignedHead | None, events: Sequence[Leaf]) -> list[Finding]:
        """What is found about a block, the head that it ends with, and its events."""
        found = []
        flaw = "is gone" if signed is None else self._flaw(signed)
        vouched = None if flaw or signed is None else signed.head
        if block.first_leaf != self.size:
            events = from_block(block, events)
            self._tree = None
        last = None if vouched is None else vouched.last_position
        places = places_of(block, self.last_position, last, events)
        if block.first_leaf != self.size:
            found.append(self._gap(block, places[0]))
        if vouched and vouched.last_position != places[-1]:
            flaw, vouched = f"tells of position {vouched.last_position:,} as its last", None
        if flaw:
            end = places[-1]
            found.append(Finding("head_changed", end, end, f"the head of {block.end:,} events {flaw}"))
        found += self._compared(block, places, None if vouched is None else vouched.root_hash, events)
        self._doubted = None if vouched else places[0] if self._doubted is None else self._doubted
        self.size = block.end
        self.last_position = self._reached(vouched, events)
        return found

    def _reached(self, vouched: TreeHead | None, events: Sequence[Leaf]) -> int:
        if vouched is not None:
            return vouched.last_position
        return max(self.last_position, events[-1][0]) if events else self.last_position

    def missing(self, signed: SignedHead | None) -> Finding:
        """A head without a block that ends with it, or a block that cannot be read."""
        first = self.last_position + 1
        if signed is None:
            return Finding("block_changed", first, first, "the sealed block behind cannot be read")
        size, last = signed.head.tree_size, signed.head.last_position
        detail = (
            f"the head of {size:,} events, up to position {last:,}, has no sealed block that ends with it"
        )
        return Finding("block_changed", min(first, last), last, detail)

    def ended(self) -> Iterator[Finding]:
        """What is found at the end: heads kept elsewhere that the log does not come up to."""
        for signed in self._witnessed:
            size, last = signed.head.tree_size, signed.head.last_position
            detail = f"a head kept elsewhere has {size:,} events, and {self.size:,} are sealed here"
            yield Finding("event_removed", min(self.last_position + 1, last), last, detail)

    def _gap(self, block: SealedBlock, first: int) -> Finding:
        detail = f"a sealed block begins at leaf {block.first_leaf:,}, where leaf {self.size:,} should be"
        return Finding("block_changed", min(self.last_position + 1, first), first, detail)

    def _compared(
        self, block: SealedBlock, places: Sequence[int], root: bytes | None, events: Sequence[Leaf]
    ) -> Iterator[Finding]:
        before, there = self._tree, tuple(leaf for _, leaf in events)
        if before is None:
            self._tree = _restored(block, root)
            yield from _differing_events(block, places, events)
            yield from _misplaced(block, places)
            yield from self._witness(block, None, ())
            return
        for leaves in (block.leaf_hashes, there):
            tree, nodes = before.grown(leaves, NODE_LEVEL)
            if _leads(tree, block, root):
                self._tree = tree
                self.nodes |= nodes
                if leaves is block.leaf_hashes:
                    yield from _differing_events(block, places, events)
                    yield from _misplaced(block, places)
                else:
                    yield from _differing_seals(block, events)
                    yield from _misplaced(block, [position for position, _ in events])
                if tree.frontier != block.frontier:
                    yield _of_block(block, places, "what it says of the tree was changed")
                break
        else:
            self._tree = _restored(block, root)
            yield from _differing_events(block, places, events)
            yield self._leading_nowhere(block, places)
        yield from self._witness(block, before, leaves)

    def _leading_nowhere(self, block: SealedBlock, places: Sequence[int]) -> Finding:
        if self._doubted is None:
            return _of_block(block, places, "it does not lead to its head: it was changed")
        what = "it does not lead to its head: it was changed, or those before it that have no head"
        return _of_block(block, (self._doubted, places[-1]), what)

    def _witness(self, block: SealedBlock, before: Tree | None, leaves: Sequence[bytes]) -> Iterator[Finding]:
        while self._witnessed and self._witnessed[0].head.tree_size <= block.end:
            signed = self._witnessed.pop(0)
            size, last = signed.head.tree_size, signed.head.last_position
            if flaw := self._flaw(signed):
                detail = f"the head of {size:,} events that was kept elsewhere {flaw}"
                yield Finding("head_changed", last, last, detail)
                continue
            known = min(self._witnessed_to + 1, last)
            tree = None if before is None else before.grown(leaves[: size - block.first_leaf], NODE_LEVEL)[0]
            if tree is None or (tree.size, tree.root) != (size, signed.head.root_hash):
                detail = f"they do not lead to the head of {size:,} events that was kept elsewhere"
                yield Finding("event_changed", known, last, detail)
            else:
                self._witnessed_to = last


def _leads(tree: Tree, block: SealedBlock, root: bytes | None) -> bool:
    """Without a head to trust, the block has only itself for a witness."""
    return tree.frontier == block.frontier if root is None else tree.root == root


def _restored(block: SealedBlock, root: bytes | None) -> Tree | None:
    """The tree that a block says it ends with, as far as that can be."""
    if len(block.frontier) != block.end.bit_count() or (root is not None and fold(block.frontier) != root):
        return None
    return Tree(block.end, block.frontier)


def _of_block(block: SealedBlock, places: Sequence[int], what: str) -> Finding:
    detail = f"the sealed block of leaves {block.first_leaf:,} to {block.end - 1:,}: {what}"
    return Finding("block_changed", places[0], places[-1], detail)


def _misplaced(block: SealedBlock, places: Sequence[int]) -> Iterator[Finding]:
    """Where a block tells of other positions than those of its leaves."""
    wrong = [place for place, told in zip(places, block.positions, strict=False) if place != told]
    columns = (block.leaves, block.first_position, block.last_position)
    if columns != (len(places), places[0], places[-1]):
        wrong = [places[0], places[-1]]
    if wrong:
        detail = "what the sealed block says of their positions was changed"
        yield Finding("block_changed", wrong[0], wrong[-1], detail)


def _differing_seals(block: SealedBlock, events: Sequence[Leaf]) -> Iterator[Finding]:
    """Leaves that are not those of the events, which are as they were sealed."""
    for (position, hashed), sealed in zip(events, block.leaf_hashes, strict=False):
        if hashed != sealed:
            detail = "what was sealed of it was changed, and it is as the signed head says"
            yield _one("block_changed", position, detail)


def _differing_events(block: SealedBlock, places: Sequence[int], events: Sequence[Leaf]) -> list[Finding]:
    """Events that are not those of the leaves, by their positions."""
    sealed, there = dict(zip(places, block.leaf_hashes, strict=True)), dict(events)
    if there == sealed and len(there) == len(events):
        return []
    found = [
        *(_one("event_removed", position, "it is gone") for position in sealed.keys() - there.keys()),
        *(_one("event_inserted", position, "it was not there") for position in there.keys() - sealed.keys()),
        *(
            _one("event_changed", position, "it is not what was sealed")
            for position in sealed.keys() & there.keys()
            if sealed[position] != there[position]
        ),
        *(
            _one("event_inserted", position, "it is there more than once")
            for position, times in Counter(position for position, _ in events).items()
            if times > 1
        ),
    ]
    return sorted(found, key=lambda finding: finding.position)


def _one(kind: Kind, position: int, detail: str) -> Finding:
    return Finding(kind, position, position, detail)


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
