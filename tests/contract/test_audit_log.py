"""Every implementation of `AuditLog` reads the same proofs out of the same log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple
from uuid import UUID

import pytest

from application.audit import Audit, AuditLog, EventNotFound, HeadNotFound, NotYetSealed
from application.ports import LogUnavailable
from domain.audit import told_by
from domain.errors import ExecutionNotFound
from domain.facts import EventsRedacted
from domain.merkle import consistent, includes
from infrastructure.audit_log.keys import KeyRing
from infrastructure.audit_log.store import PostgresAuditLog
from infrastructure.event_store.log import READ_AFTER, Row
from infrastructure.postgres import pool
from tests.support.audit_log import MemoryAuditLog, leaf_of
from tests.support.databases import Databases
from tests.support.projecting import connect
from tests.support.random_log import RandomLog
from tests.support.sealing import KEY, seal
from tests.support.stored import append

# Not a multiple of anything: Postgres seals in blocks, of which each has a head.
EVENTS = (5_000, 3_500)


class Sealed(NamedTuple):
    """A log that was sealed, with one event behind that is not."""

    log: AuditLog
    rows: list[Row]


class Twice(NamedTuple):
    """The same log in both: sealing takes long, and here everybody only reads."""

    memory: MemoryAuditLog
    dsn: str
    rows: list[Row]


@pytest.fixture(scope="module")
def twice(databases: Databases, template_database: str) -> Iterator[Twice]:
    with databases.copy(template_database) as dsn:
        yield asyncio.run(_sealed_twice(dsn))


async def _sealed_twice(dsn: str) -> Twice:
    source = RandomLog(3)
    async with await connect(dsn) as connection:
        known: list[Row] = []
        memory = MemoryAuditLog(known)

        async def grow(events: int) -> None:
            await append(connection, source.grow(events))
            after = known[-1][0] if known else 0
            cursor = await connection.execute(READ_AFTER.encode(), (after, 2 * events), binary=True)
            known.extend(await cursor.fetchall())

        for events in EVENTS:
            await grow(events)
            await seal(connection)
            memory.seal()
            # A gap, as an append that was rolled back leaves one.
            await connection.execute("SELECT nextval(pg_get_serial_sequence('events', 'notification_id'))")
        await grow(1)
    return Twice(memory, dsn, known)


@pytest.fixture(params=["memory", "postgres"])
async def sealed(request: pytest.FixtureRequest, twice: Twice) -> AsyncIterator[Sealed]:
    if request.param == "memory":
        yield Sealed(twice.memory, twice.rows)
        return
    async with pool(twice.dsn, 4) as connections:
        yield Sealed(PostgresAuditLog(connections), twice.rows)


async def test_every_event_is_proved_by_every_head_that_has_it(sealed: Sealed) -> None:
    audit = Audit(sealed.log)
    for signed in await audit.heads(2**62, 200):
        size, root = signed.head.tree_size, signed.head.root_hash
        assert KeyRing([KEY.public]).flaw(signed) is None
        for index in {0, 1, 4_095, 4_096, 5_001, 8_191, 8_192, size - 1}:
            row = sealed.rows[index]
            if index >= size:
                with pytest.raises(NotYetSealed):
                    await audit.inclusion(row[0], size)
                continue
            proved = await audit.inclusion(row[0], size)
            assert (proved.leaf_index, proved.leaf_hash) == (index, leaf_of(row))
            assert includes(root, size, index, leaf_of(row), proved.hashes)


async def test_every_head_has_grown_to_every_later_one(sealed: Sealed) -> None:
    audit = Audit(sealed.log)
    sizes = [signed.head.tree_size for signed in await audit.heads(2**62, 200)]
    assert len(sizes) >= 2
    for first in sizes:
        for second in sizes:
            proved = await audit.consistency(first, second)
            old, new = proved.first.head, proved.second.head
            assert consistent(old.tree_size, old.root_hash, new.tree_size, new.root_hash, proved.hashes)


async def test_a_stream_is_proved_with_all_its_events(sealed: Sealed) -> None:
    stream = sealed.rows[4_096][1]
    evidence = await Audit(sealed.log).evidence(stream)
    expected = [row for row in sealed.rows if row[1] == stream]
    assert [event.state for event in evidence.events] == [row[4] for row in expected]
    assert list(evidence.findings(KeyRing([KEY.public]).flaw)) == []
    assert evidence.public_key == KEY.public.pem


async def test_events_that_name_something_are_found_in_their_stream(sealed: Sealed) -> None:
    told = [row for row in sealed.rows if row[3] == EventsRedacted.topic]
    stream = told[0][1]
    fact = told_by(told[0][4])
    assert fact is not None
    for named in {each.stream for each in fact.rewritten} | {UUID(int=1)}:
        found = await sealed.log.events_naming(stream, named)
        expected = [row for row in told if row[1] == stream and f'"{named}"'.encode() in row[4]]
        assert [(event.position, event.state) for event in found] == [(row[0], row[4]) for row in expected]


async def test_what_is_not_there_is_told(sealed: Sealed) -> None:
    audit = Audit(sealed.log)
    gap = next(number for number, row in enumerate(sealed.rows, start=1) if row[0] != number)
    with pytest.raises(EventNotFound):
        await audit.inclusion(gap, None)
    with pytest.raises(NotYetSealed):
        await audit.inclusion(sealed.rows[-1][0], None)
    with pytest.raises(HeadNotFound):
        await audit.inclusion(1, 17)
    with pytest.raises(ExecutionNotFound):
        await audit.evidence(UUID(int=1))


async def test_an_outage_is_told(database: str) -> None:
    async with pool("host=127.0.0.1 port=1", 2) as connections:
        with pytest.raises(LogUnavailable):
            await PostgresAuditLog(connections).head(None)
    async with pool(database, 2) as connections:
        assert await PostgresAuditLog(connections).head(None) is None
