"""Proofs of the sealed log: of one event, of one head behind another, of an execution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol
from uuid import UUID

import msgspec
from msgspec import Struct

from domain.audit import NODE_LEVEL, Evidence, ProvedEvent, SignedHead, told_by
from domain.errors import ExecutionNotFound, Refused
from domain.identity import redaction_stream
from domain.merkle import Span, Subtree, Tree, consistency_path, inclusion_path, proof
from domain.redaction import original_digest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime


class StoredEvent(Struct, frozen=True, kw_only=True):
    """An event as the log holds it, its state unread."""

    position: int
    version: int
    recorded_at: datetime
    topic: str
    state: bytes


class AuditLog(Protocol):
    """What is sealed. Every method raises `application.ports.LogUnavailable`."""

    async def heads(self, before: int, limit: int) -> Sequence[SignedHead]:
        """Heads of trees smaller than `before`, the largest first."""
        ...

    async def head(self, tree_size: int | None) -> SignedHead | None:
        """The head of a tree of this size, the largest for None."""
        ...

    async def leaf_index(self, position: int) -> int | None:
        """The index of the event at a position; None: there is no sealed event."""
        ...

    async def leaves(self, run: int) -> Sequence[bytes]:
        """The leaf hashes of the 4,096 leaves from `run * 4096`, as far as they are sealed."""
        ...

    async def nodes(self, wanted: Sequence[Subtree]) -> Mapping[Subtree, bytes]:
        """The hashes of perfect subtrees of 4,096 leaves and more."""
        ...

    async def events(self, stream: UUID) -> Sequence[StoredEvent]:
        """A stream from its beginning."""
        ...

    async def events_naming(self, stream: UUID, named: UUID) -> Sequence[StoredEvent]:
        """Those events of a stream that never leaves the log in whose state an id stands as a JSON string."""
        ...

    async def keys(self) -> Mapping[bytes, str]:
        """The public keys (PEM) by their ids."""
        ...


class HeadNotFound(Refused):
    """There is no such head; list them."""

    def __init__(self, tree_size: int | None) -> None:
        which = "head yet" if tree_size is None else f"head of a tree of {tree_size:,} events"
        super().__init__(f"There is no {which}; `GET /api/v1/audit/heads` lists those there are.")


class NotYetSealed(Refused):
    """Nothing is sealed up to this position yet."""

    def __init__(self, position: int, signed: SignedHead) -> None:
        sealed = (
            f"the head of {signed.head.tree_size:,} events ends at position {signed.head.last_position:,}"
        )
        super().__init__(
            f"Position {position:,} is not sealed there: {sealed}. What is appended is sealed seconds later."
        )


class EventNotFound(Refused):
    """There is no event at this position."""

    def __init__(self, position: int) -> None:
        super().__init__(f"There is no event at position {position:,}: an append was rolled back there.")


class SealsDamaged(Refused):
    """Some of what proofs are made of is missing; run `chronoledger verify`."""

    def __init__(self, missing: Subtree) -> None:
        first, end = missing.index << missing.level, (missing.index + 1) << missing.level
        super().__init__(
            f"What is sealed of the leaves {first:,} to {end - 1:,} is missing, so nothing is proved by it: "
            "run `chronoledger verify`, and restore the database."
        )


class Inclusion(Struct, frozen=True, kw_only=True):
    """That an event is at a place of the tree that a head is the root of."""

    position: int
    leaf_index: int
    leaf_hash: bytes
    hashes: tuple[bytes, ...]
    signed: SignedHead


class Consistency(Struct, frozen=True, kw_only=True):
    """That the tree of one head has grown to that of another, and nothing before was changed."""

    first: SignedHead
    second: SignedHead
    hashes: tuple[bytes, ...]


class Audit:
    """Reads proofs together: a bounded number of rows each. Raises `application.ports.LogUnavailable`."""

    def __init__(self, log: AuditLog) -> None:
        self._log = log

    async def heads(self, before: int, limit: int) -> Sequence[SignedHead]:
        """Heads of trees smaller than `before`, the largest first."""
        return await self._log.heads(before, limit)

    async def keys(self) -> Mapping[bytes, str]:
        """The public keys (PEM) by their ids."""
        return await self._log.keys()

    async def inclusion(self, position: int, tree_size: int | None) -> Inclusion:
        """Prove an event by the head of a tree of this size (None: the largest).

        Raises `HeadNotFound`, `EventNotFound`, `NotYetSealed` and `SealsDamaged`.
        """
        signed = await self._head(tree_size)
        return await self._included(position, signed, _Subtrees(self._log))

    async def consistency(self, first: int, second: int | None) -> Consistency:
        """Prove that one head's tree has grown to another's (None: the largest), whichever is named first.

        Raises `HeadNotFound` and `SealsDamaged`.
        """
        heads = sorted(
            [await self._head(first), await self._head(second)], key=lambda signed: signed.head.tree_size
        )
        path = consistency_path(heads[0].head.tree_size, heads[1].head.tree_size)
        hashes = await _Subtrees(self._log).proof(path)
        return Consistency(first=heads[0], second=heads[1], hashes=hashes)

    async def evidence(self, execution_id: UUID) -> Evidence:
        """All events of an execution, each with its proof by the largest head.

        Raises `HeadNotFound`, `ExecutionNotFound`, `NotYetSealed` and `SealsDamaged`.
        """
        events = await self._log.events(execution_id)
        if not events:
            raise ExecutionNotFound(execution_id)
        signed, keys, subtrees = await self._head(None), await self._log.keys(), _Subtrees(self._log)
        redacted_by = _redacted_by(events)
        told = () if redacted_by is None else await self._log.events_naming(redacted_by, execution_id)
        telling = [event for event in told if _tells_of(event, execution_id)]
        return Evidence(
            stream=execution_id,
            events=tuple([await self._proved(event, signed, subtrees) for event in events]),
            signed=signed,
            public_key=keys.get(signed.key_id, ""),
            redacted_by=redacted_by,
            redactions=tuple([await self._proved(event, signed, subtrees) for event in telling]),
        )

    async def _proved(self, event: StoredEvent, signed: SignedHead, subtrees: _Subtrees) -> ProvedEvent:
        inclusion = await self._included(event.position, signed, subtrees)
        return ProvedEvent(
            position=event.position,
            version=event.version,
            recorded_at=event.recorded_at,
            topic=event.topic,
            state=event.state,
            leaf_index=inclusion.leaf_index,
            hashes=inclusion.hashes,
        )

    async def _included(self, position: int, signed: SignedHead, subtrees: _Subtrees) -> Inclusion:
        if position > signed.head.last_position:
            raise NotYetSealed(position, signed)
        index = await self._log.leaf_index(position)
        if index is None:
            raise EventNotFound(position)
        itself = Span(index, index + 1)
        leaf, *hashes = await subtrees.proof([itself, *inclusion_path(index, signed.head.tree_size)])
        return Inclusion(
            position=position, leaf_index=index, leaf_hash=leaf, hashes=tuple(hashes), signed=signed
        )

    async def _head(self, tree_size: int | None) -> SignedHead:
        signed = await self._log.head(tree_size)
        if signed is None:
            raise HeadNotFound(tree_size)
        return signed


class _Occurrence(Struct, frozen=True):
    task_id: UUID | None = None


class _About(Struct, frozen=True):
    task_id: UUID | None = None
    occurrence: _Occurrence = _Occurrence()


class _Stored(Struct, frozen=True):
    fact: _About


_stored = msgspec.json.Decoder(_Stored)


def _redacted_by(events: Sequence[StoredEvent]) -> UUID | None:
    """The stream that tells what was rewritten of an execution; None: nothing was, or it cannot be told."""
    rewritten = [event for event in events if original_digest(event.state) is not None]
    if not rewritten:
        return None
    try:
        about = _stored.decode(rewritten[0].state).fact
    except (ValueError, RecursionError):
        return None
    task_id = about.task_id or about.occurrence.task_id
    return None if task_id is None else redaction_stream(task_id)


def _tells_of(event: StoredEvent, execution_id: UUID) -> bool:
    told = told_by(event.state)
    return told is not None and any(each.stream == execution_id for each in told.rewritten)


class _Subtrees:
    """The hashes of perfect subtrees: the large ones as they are stored, others from their runs of leaves."""

    def __init__(self, log: AuditLog) -> None:
        self._log = log
        self._known: dict[Subtree, bytes] = {}
        self._runs: set[int] = set()

    async def proof(self, path: Sequence[Span]) -> tuple[bytes, ...]:
        wanted = {subtree for span in path for subtree in span.subtrees()} - self._known.keys()
        stored = [subtree for subtree in wanted if subtree.level >= NODE_LEVEL]
        if stored:
            self._known |= await self._log.nodes(stored)
        runs = {
            subtree.index >> (NODE_LEVEL - subtree.level) for subtree in wanted if subtree.level < NODE_LEVEL
        }
        for run in sorted(runs - self._runs):
            self._read(run, await self._log.leaves(run))
        self._runs |= runs
        if missing := wanted - self._known.keys():
            raise SealsDamaged(min(missing, key=lambda subtree: (subtree.level, subtree.index)))
        return tuple(proof(path, self._known.__getitem__))

    def _read(self, run: int, leaves: Sequence[bytes]) -> None:
        first = run << NODE_LEVEL
        self._known |= {Subtree(0, first + at): leaf for at, leaf in enumerate(leaves)}
        for subtree, hashed in Tree().grown(leaves, 1)[1].items():
            self._known[Subtree(subtree.level, (first >> subtree.level) + subtree.index)] = hashed
