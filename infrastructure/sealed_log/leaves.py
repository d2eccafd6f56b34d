"""The log's leaves in the order of their positions: those of the table, and of archived months among them."""

from __future__ import annotations

from contextlib import AsyncExitStack, aclosing
from heapq import heapify, heappop, heappush
from itertools import count, islice
from typing import TYPE_CHECKING

from psycopg import AsyncServerCursor

from domain.merkle import leaf_hash
from domain.sealing import SealedEvent, entry, state_digest
from infrastructure.archive.catalogue import archives
from infrastructure.archive.reading import ArchiveFile
from infrastructure.sealed_log.statements import statement

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from psycopg import AsyncConnection

    from domain.verification import Leaf
    from infrastructure.archive.catalogue import Archive
    from infrastructure.archive.form import Event
    from infrastructure.archive.library import Library

FETCHED_EVENTS = 5_000
# What is stored is believed in nothing: somebody may have put an event before the first position.
_FIRST_POSITION = -(2**63)
# Microseconds from 1970 to 2000, where Postgres' own count begins.
_POSTGRES_EPOCH_US = 946_684_800_000_000
_INFINITY_US = 2**63 - 1


async def leaves(connection: AsyncConnection, library: Library) -> AsyncGenerator[Leaf]:
    """Every leaf of the log; needs a transaction that sees one state of the database.

    A file is opened when it is its turn. Raises `ArchiveAway` and `psycopg.Error`.
    """
    sources = [(_FIRST_POSITION, _stored(connection))]
    sources += [
        (archive.first_position, _archived(library, archive))
        for archive in await archives(connection)
        if archive.away
    ]
    async with AsyncExitStack() as stack:
        for _, source in sources:
            await stack.enter_async_context(aclosing(source))
        async for leaf in _merged(sources):
            yield leaf


def leaf_of(event: Event) -> bytes:
    """The hash of an event, as the database hashes it."""
    sealed = SealedEvent(
        position=event.position,
        stream=event.stream,
        version=event.version,
        recorded_at=event.recorded_at,
        topic=event.topic,
        state_digest=state_digest(event.state),
    )
    return sealed.leaf()


async def _merged(sources: list[tuple[int, AsyncGenerator[Leaf]]]) -> AsyncGenerator[Leaf]:
    """In order, each source from its first position on."""
    numbers = count()
    turns: list[tuple[int, int, Leaf | None, AsyncGenerator[Leaf]]]
    turns = [(first, next(numbers), None, source) for first, source in sources]
    heapify(turns)
    while turns:
        _, _, leaf, source = heappop(turns)
        if leaf is not None:
            yield leaf
        if (following := await anext(source, None)) is not None:
            heappush(turns, (following[0], next(numbers), following, source))


async def _stored(connection: AsyncConnection) -> AsyncGenerator[Leaf]:
    async with AsyncServerCursor(connection, "verified_events") as cursor:
        cursor.itersize = FETCHED_EVENTS
        await cursor.execute(statement("verified_events"), binary=True)
        async for row in cursor:
            yield _leaf(*row)


async def _archived(library: Library, archive: Archive) -> AsyncGenerator[Leaf]:
    events = await library.look(archive, ArchiveFile.events)
    while found := await library.look(
        archive, lambda _: [(event.position, leaf_of(event)) for event in islice(events, FETCHED_EVENTS)]
    ):
        for leaf in found:
            yield leaf


def _leaf(position: int, stream: bytes, version: int, recorded: bytes, topic: bytes, digest: bytes) -> Leaf:
    recorded_us = int.from_bytes(recorded, "big", signed=True) + _POSTGRES_EPOCH_US
    recorded_us = min(recorded_us, _INFINITY_US)
    return position, leaf_hash(entry(position, stream, version, recorded_us, topic, digest))
