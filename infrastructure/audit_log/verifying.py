"""Verifying a database's log against what was sealed of it, in one snapshot, beside the running service."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from struct import unpack
from typing import Any, NamedTuple, Protocol

from psycopg import AsyncConnection, AsyncServerCursor, IsolationLevel

from domain.audit import (
    NODE_LEVEL,
    Finding,
    SealedBlock,
    SignedHead,
    Verifier,
    not_by_a_redaction,
    signed_by_none,
    state_digest,
)
from domain.facts import EventsRedacted
from domain.merkle import HASH_BYTES
from domain.redaction import original_digest
from infrastructure.archive.catalog import NO_ARCHIVES, Catalog, archived_events
from infrastructure.audit_log.keys import KeyRing, PublicKey
from infrastructure.audit_log.sealer import node_arrays
from infrastructure.audit_log.store import Leaves, in_order, read_keys, signed_head, split
from infrastructure.event_store.log import head
from infrastructure.postgres import with_liveness
from infrastructure.sql import statements

statement = statements("infrastructure.audit_log")

FETCHED_EVENTS, FETCHED_BLOCKS = 5_000, 50
NODES_AT_ONCE = 1_000
_BLOCK_COLUMNS = 7
"""Of a row of `verified_blocks`; those of the head are behind them."""
# Where Postgres' own count of microseconds begins.
_POSTGRES_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class VerifyObserver(Protocol):
    """Hears how far a verification is and what it finds, as soon as it is found."""

    def verified(self, events: int, until: int) -> None:
        """So many events are compared, of about `until`."""

    def found(self, finding: Finding) -> None:
        """Something is not as it was sealed."""


class Verified(NamedTuple):
    """How many events were compared, up to which position, with how many findings; and how many came later.

    `first` is the first position that a finding names. `sealed_at` is when the last of them was sealed.
    `pinned`: the keys came from elsewhere; `witnessed`: so many heads did. `rewritten` events are those that
    the redactions of `redacted_tasks` tasks account for. `unknown_key`: no head is signed by a key that came
    from elsewhere, which is one of the findings.
    """

    events: int
    position: int
    sealed_at: datetime | None
    unsealed: int
    findings: int
    first: int | None
    pinned: bool
    witnessed: int
    rewritten: int = 0
    redacted_tasks: int = 0
    unknown_key: bool = False


async def verify(
    dsn: str,
    observer: VerifyObserver,
    pinned: Sequence[PublicKey] = (),
    witnessed: Sequence[SignedHead] = (),
    catalog: Catalog = NO_ARCHIVES,
) -> Verified:
    """Compare every event with its seal, and every seal with the signed heads.

    With `pinned` keys no others are believed; else those that are stored beside the heads. Where no head is
    signed by a pinned one, that is found once, and the stored ones are taken for the rest. `witnessed` are
    heads that were kept elsewhere; `catalog` has what was archived. Raises `ArchiveAway` and `psycopg.Error`.
    """
    async with await AsyncConnection.connect(with_liveness(dsn), autocommit=True) as connection:
        await connection.set_isolation_level(IsolationLevel.REPEATABLE_READ)
        await connection.set_read_only(True)
        async with connection.transaction():
            stranger = await _of_others(connection, pinned)
            keys = pinned if pinned and stranger is None else [*pinned, *await read_keys(connection)]
            verifier = Verifier(KeyRing(keys).flaw, witnessed)
            verification = _Verification(connection, observer, verifier, catalog)
            if stranger is not None:
                verification.tell(stranger)
            return (await verification.run())._replace(
                pinned=bool(pinned), witnessed=len(witnessed), unknown_key=stranger is not None
            )


async def _of_others(connection: AsyncConnection, pinned: Sequence[PublicKey]) -> Finding | None:
    """What is found if there are pinned keys and heads, and none of these by one of those."""
    if not pinned:
        return None
    cursor = await connection.execute(statement("heads_of_others"), {"key_ids": KeyRing(pinned).ids})
    ends = await cursor.fetchone()
    return None if ends is None else signed_by_none(len(pinned), *ends)


class _Verification:
    def __init__(
        self, connection: AsyncConnection, observer: VerifyObserver, verifier: Verifier, catalog: Catalog
    ) -> None:
        self._catalog = catalog
        self._connection = connection
        self._observer = observer
        self._verifier = verifier
        self._sealed_at: datetime | None = None
        self._compared = self._findings = 0
        self._first: int | None = None

    async def run(self) -> Verified:
        until = await head(self._connection)
        async with (
            aclosing(self._rows("verified_blocks", FETCHED_BLOCKS)) as blocks,
            aclosing(self._rows("verified_events", FETCHED_EVENTS)) as stored,
            aclosing(self._archived()) as archived,
        ):
            leaves = Leaves(in_order(stored, archived))
            unsealed = await self._compare(blocks, leaves, until)
        await self._compare_nodes()
        await self._find_surplus_nodes()
        for event in leaves.rewritings.unaccounted():
            self.tell(not_by_a_redaction(event))
        for finding in self._verifier.ended():
            self.tell(finding)
        redacted = leaves.rewritings.accounted()
        return Verified(
            events=self._compared,
            position=self._verifier.last_position,
            sealed_at=self._sealed_at,
            unsealed=unsealed,
            findings=self._findings,
            first=self._first,
            pinned=False,
            witnessed=0,
            rewritten=redacted.total(),
            redacted_tasks=len(redacted),
        )

    async def _compare(self, blocks: AsyncIterator[tuple[Any, ...]], leaves: Leaves, until: int) -> int:
        async for row in blocks:
            signed = None if row[_BLOCK_COLUMNS] is None else signed_head(row[_BLOCK_COLUMNS:])
            block = None if row[0] is None else _block(*row[:_BLOCK_COLUMNS])
            if block is None:
                self.tell(self._verifier.missing(signed))
                continue
            last = self._verifier.until(signed)
            events = await (
                leaves.within(self._verifier.extent(block)) if last is None else leaves.up_to(last)
            )
            for finding in self._verifier.block(block, signed, events):
                self.tell(finding)
            self._compared += len(events)
            self._sealed_at = signed.head.sealed_at if signed else self._sealed_at
            if len(self._verifier.nodes) >= NODES_AT_ONCE:
                await self._compare_nodes()
            self._observer.verified(block.end, max(until, block.end))
        return await leaves.left()

    async def _compare_nodes(self) -> None:
        nodes = self._verifier.nodes
        cursor = await self._connection.execute(statement("wrong_nodes"), node_arrays(nodes))
        for level, index, first, last in await cursor.fetchall():
            detail = f"the stored node {index:,} of level {level} is not that of their leaves"
            self.tell(Finding("node_changed", first, last, detail))
        nodes.clear()

    async def _find_surplus_nodes(self) -> None:
        tree = {"lowest": NODE_LEVEL, "size": self._verifier.size}
        cursor = await self._connection.execute(statement("surplus_nodes"), tree)
        behind = self._verifier.last_position + 1
        for level, index in await cursor.fetchall():
            detail = f"the stored node {index:,} of level {level} is above nothing that is sealed"
            self.tell(Finding("node_changed", behind, behind, detail))

    def tell(self, finding: Finding) -> None:
        """Count what is found, and pass it on."""
        self._findings += 1
        self._first = finding.position if self._first is None else min(self._first, finding.position)
        self._observer.found(finding)

    async def _archived(self) -> AsyncGenerator[tuple[Any, ...]]:
        """What is sealed of each event that has left the table, in the form of `verified_events`."""
        async for position, stream, version, topic, state, recorded_at in archived_events(
            self._connection, self._catalog
        ):
            recorded = (recorded_at - _POSTGRES_EPOCH) // _MICROSECOND
            packed = recorded.to_bytes(8, "big", signed=True)
            original = original_digest(state)
            yield (
                *(position, stream.bytes, version, packed, topic.encode(), original or state_digest(state)),
                state if original else None,
                state if topic == EventsRedacted.topic else None,
            )

    async def _rows(self, name: str, fetched: int) -> AsyncGenerator[tuple[Any, ...]]:
        async with AsyncServerCursor(self._connection, name) as cursor:
            cursor.itersize = fetched
            await cursor.execute(statement(name), binary=True)
            async for row in cursor:
                yield row


def _block(
    first_leaf: int, leaves: int, first: int, last: int, positions: bytes, hashes: bytes, frontier: bytes
) -> SealedBlock | None:
    """A stored block, unless it cannot be read as one."""
    if not positions or len(positions) % 8 or len(hashes) != len(positions) // 8 * HASH_BYTES:
        return None
    return SealedBlock(
        first_leaf=first_leaf,
        leaves=leaves,
        first_position=first,
        last_position=last,
        positions=unpack(f">{len(positions) // 8}q", positions),
        leaf_hashes=split(hashes),
        frontier=split(frontier),
    )
