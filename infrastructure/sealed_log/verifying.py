"""Verifying a database's log against what was sealed of it, in one snapshot, beside the running service."""

from __future__ import annotations

from contextlib import aclosing
from struct import unpack
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from psycopg import AsyncConnection, AsyncServerCursor, IsolationLevel

from domain.merkle import HASH_BYTES
from domain.sealing import SealedBlock
from domain.verification import Finding, Verifier
from infrastructure.archive.library import NO_ARCHIVES
from infrastructure.database import with_liveness
from infrastructure.event_store.log import head
from infrastructure.sealed_log.keys import KeyRing
from infrastructure.sealed_log.leaves import leaves
from infrastructure.sealed_log.reading import read_keys, signed_head
from infrastructure.sealed_log.sealing import node_arrays, split
from infrastructure.sealed_log.statements import statement

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence
    from datetime import datetime

    from domain.sealing import SignedHead
    from domain.verification import Leaf
    from infrastructure.archive.library import Library
    from infrastructure.sealed_log.keys import PublicKey

FETCHED_BLOCKS = 50
NODES_AT_ONCE = 1_000


class VerifyObserver(Protocol):
    """Hears how far a verification is and what it finds, as soon as it is found."""

    def verified(self, events: int, until: int) -> None:
        """So many events are compared, of about `until`."""

    def found(self, finding: Finding) -> None:
        """Something is not as it was sealed."""


class Verified(NamedTuple):
    """How many events were compared, up to which position, with how many findings; and how many came later.

    `first` is the first position that a finding names. `sealed_at` is when the last of them was sealed.
    `pinned`: the keys came from elsewhere; `witnessed`: so many heads did.
    """

    events: int
    position: int
    sealed_at: datetime | None
    unsealed: int
    findings: int
    first: int | None
    pinned: bool
    witnessed: int


async def verify(
    dsn: str,
    observer: VerifyObserver,
    pinned: Sequence[PublicKey] = (),
    witnessed: Sequence[SignedHead] = (),
    library: Library = NO_ARCHIVES,
) -> Verified:
    """Compare every event with its seal, those in archives as well, and every seal with the signed heads.

    With `pinned` keys no others are believed; else those that are stored beside the heads. `witnessed` are
    heads that were kept elsewhere. Raises `ArchiveAway` and `psycopg.Error`.
    """
    async with await AsyncConnection.connect(with_liveness(dsn), autocommit=True) as connection:
        await connection.set_isolation_level(IsolationLevel.REPEATABLE_READ)
        await connection.set_read_only(True)
        async with connection.transaction():
            keys = pinned or await read_keys(connection)
            verification = _Verification(
                connection, observer, Verifier(KeyRing(keys).flaw, witnessed), library
            )
            return (await verification.run())._replace(pinned=bool(pinned), witnessed=len(witnessed))


class _Verification:
    def __init__(
        self, connection: AsyncConnection, observer: VerifyObserver, verifier: Verifier, library: Library
    ) -> None:
        self._connection = connection
        self._observer = observer
        self._verifier = verifier
        self._library = library
        self._sealed_at: datetime | None = None
        self._compared = self._findings = 0
        self._first: int | None = None

    async def run(self) -> Verified:
        until = await head(self._connection)
        async with (
            aclosing(self._blocks()) as blocks,
            aclosing(leaves(self._connection, self._library)) as events,
        ):
            unsealed = await self._compare(blocks, _Leaves(events), until)
        await self._compare_nodes()
        for finding in self._verifier.ended():
            self._tell(finding)
        return Verified(
            events=self._compared,
            position=self._verifier.last_position,
            sealed_at=self._sealed_at,
            unsealed=unsealed,
            findings=self._findings,
            first=self._first,
            pinned=False,
            witnessed=0,
        )

    async def _compare(self, blocks: AsyncIterator[tuple[Any, ...]], leaves: _Leaves, until: int) -> int:
        async for first_leaf, positions, hashes, frontier, *columns in blocks:
            signed = None if columns[0] is None else signed_head(columns)
            block = None if first_leaf is None else _block(first_leaf, positions, hashes, frontier)
            if block is None:
                self._tell(self._verifier.missing(signed))
                continue
            events = await leaves.up_to(block.positions[-1])
            for finding in self._verifier.block(block, signed, events):
                self._tell(finding)
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
            self._tell(Finding("node_changed", first, last, detail))
        nodes.clear()

    def _tell(self, finding: Finding) -> None:
        self._findings += 1
        self._first = finding.position if self._first is None else min(self._first, finding.position)
        self._observer.found(finding)

    async def _blocks(self) -> AsyncGenerator[tuple[Any, ...]]:
        async with AsyncServerCursor(self._connection, "verified_blocks") as cursor:
            cursor.itersize = FETCHED_BLOCKS
            await cursor.execute(statement("verified_blocks"), binary=True)
            async for row in cursor:
                yield row


class _Leaves:
    """The log's leaves in order, as far as they are asked for."""

    def __init__(self, leaves: AsyncIterator[Leaf]) -> None:
        self._leaves = leaves
        self._next: Leaf | None = None

    async def up_to(self, position: int) -> list[Leaf]:
        """Those that were not yet asked for, up to a position."""
        if self._next is not None and self._next[0] > position:
            return []
        found = [] if self._next is None else [self._next]
        self._next = None
        async for leaf in self._leaves:
            if leaf[0] > position:
                self._next = leaf
                break
            found.append(leaf)
        return found

    async def left(self) -> int:
        """How many there are behind those that were asked for."""
        left = 0 if self._next is None else 1
        async for _ in self._leaves:
            left += 1
        return left


def _block(first_leaf: int, positions: bytes, hashes: bytes, frontier: bytes) -> SealedBlock | None:
    """A stored block, unless it cannot be read as one."""
    if not positions or len(positions) % 8 or len(hashes) != len(positions) // 8 * HASH_BYTES:
        return None
    return SealedBlock(
        first_leaf=first_leaf,
        positions=unpack(f">{len(positions) // 8}q", positions),
        leaf_hashes=split(hashes),
        frontier=split(frontier),
    )
