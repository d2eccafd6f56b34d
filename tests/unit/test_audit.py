"""Proofs of a sealed log: each holds, and is refused where nothing can be proved."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from application.audit import Audit, EventNotFound, HeadNotFound, NotYetSealed, SealsDamaged
from domain.errors import ExecutionNotFound
from domain.merkle import consistent, includes
from infrastructure.audit_log.keys import KeyRing
from tests.support.audit_log import MemoryAuditLog, leaf_of
from tests.support.sealing import KEY

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
HEADS = (1, 4_096, 9_000, 13_000)

type Row = tuple[int, UUID, int, str, bytes, datetime]


def row(number: int) -> Row:
    """Positions are 10, 12, 14, …; ten events a stream."""
    stream, version = UUID(int=number // 10), number % 10 + 1
    recorded_at = NOON + timedelta(microseconds=number)
    return 10 + 2 * number, stream, version, "execution.started.v1", b"{}", recorded_at


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return [row(number) for number in range(HEADS[-1])]


@pytest.fixture(scope="module")
def audit(rows: list[Row]) -> Audit:
    known: list[Row] = []
    sealed = MemoryAuditLog(known)
    for size in HEADS:
        known += rows[len(known) : size]
        sealed.seal()
    known.append(row(HEADS[-1]))
    return Audit(sealed)


@pytest.mark.parametrize("tree_size", [None, *HEADS])
@pytest.mark.parametrize("index", [0, 1, 4_095, 4_096, 8_191, 8_192, 8_999, 9_000, 12_999])
async def test_an_event_is_proved_by_any_head_that_has_it(
    audit: Audit, rows: list[Row], index: int, tree_size: int | None
) -> None:
    size = tree_size or HEADS[-1]
    position = rows[index][0]
    if index >= size:
        with pytest.raises(NotYetSealed):
            await audit.inclusion(position, tree_size)
        return
    proved = await audit.inclusion(position, tree_size)
    assert (proved.position, proved.leaf_index, proved.leaf_hash) == (position, index, leaf_of(rows[index]))
    assert proved.signed.head.tree_size == size
    assert includes(proved.signed.head.root_hash, size, index, proved.leaf_hash, proved.hashes)


@pytest.mark.parametrize("first", HEADS)
@pytest.mark.parametrize("second", [None, *HEADS])
async def test_a_head_is_proved_to_have_grown_to_any_other(
    audit: Audit, first: int, second: int | None
) -> None:
    proved = await audit.consistency(first, second)
    sizes = sorted((first, second or HEADS[-1]))
    old, new = proved.first.head, proved.second.head
    assert [old.tree_size, new.tree_size] == sizes
    assert consistent(old.tree_size, old.root_hash, new.tree_size, new.root_hash, proved.hashes)


async def test_an_execution_is_proved_with_all_its_events(audit: Audit, rows: list[Row]) -> None:
    proved = await audit.evidence(UUID(int=409))
    assert [event.position for event in proved.events] == [row[0] for row in rows[4_090:4_100]]
    assert proved.public_key == KEY.public.pem
    assert list(proved.findings(KeyRing([KEY.public]).flaw)) == []


async def test_what_is_not_there_cannot_be_proved(audit: Audit) -> None:
    with pytest.raises(EventNotFound, match="position 11"):
        await audit.inclusion(11, None)
    with pytest.raises(HeadNotFound, match="5,000 events"):
        await audit.inclusion(10, 5_000)
    with pytest.raises(HeadNotFound, match="5,000 events"):
        await audit.consistency(5_000, None)
    with pytest.raises(ExecutionNotFound):
        await audit.evidence(UUID(int=10**6))
    with pytest.raises(NotYetSealed, match="head of 13,000 events"):
        await audit.evidence(UUID(int=1_300))


async def test_what_is_missing_of_the_seals_is_told(rows: list[Row]) -> None:
    sealed = MemoryAuditLog(rows)
    sealed.seal()
    sealed.lose_nodes()
    with pytest.raises(SealsDamaged, match="leaves 4,096 to 8,191 is missing"):
        await Audit(sealed).inclusion(rows[0][0], None)


async def test_nothing_is_proved_before_anything_is_sealed() -> None:
    with pytest.raises(HeadNotFound, match="There is no head yet"):
        await Audit(MemoryAuditLog([row(1)])).inclusion(10, None)


async def test_heads_are_listed_from_the_latest(audit: Audit) -> None:
    sizes = [signed.head.tree_size for signed in await audit.heads(13_000, 2)]
    assert sizes == [9_000, 4_096]
    assert await audit.keys() == {KEY.public.id: KEY.public.pem}
