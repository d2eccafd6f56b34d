"""Evidence stands by itself: whatever is changed about it is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from msgspec.structs import replace

from application.audit import Audit
from infrastructure.audit_log.keys import KeyRing
from tests.support.audit_log import MemoryAuditLog
from tests.support.sealing import KEY

if TYPE_CHECKING:
    from domain.audit import Evidence, ProvedEvent

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
STREAM = UUID(int=7)


@pytest.fixture
async def evidence() -> Evidence:
    rows = [(number, STREAM, number, "execution.started.v1", b"{}", NOON) for number in range(1, 4)]
    sealed = MemoryAuditLog([*rows, (4, UUID(int=8), 1, "execution.started.v1", b"{}", NOON)])
    sealed.seal()
    return await Audit(sealed).evidence(STREAM)


def found(evidence: Evidence) -> list[tuple[str, int]]:
    findings = evidence.findings(KeyRing([KEY.public]).flaw)
    return [(finding.kind, finding.position) for finding in findings]


def with_event(evidence: Evidence, number: int, **changes: object) -> Evidence:
    events: list[ProvedEvent] = list(evidence.events)
    events[number] = replace(events[number], **changes)
    return replace(evidence, events=tuple(events))


def test_nothing_is_found_in_evidence_as_it_was_made(evidence: Evidence) -> None:
    assert found(evidence) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"state": b"{ }"},
        {"topic": "execution.failed.v1"},
        {"recorded_at": NOON + timedelta(microseconds=1)},
        {"leaf_index": 0},
        {"hashes": ()},
    ],
)
def test_a_changed_event_is_named(evidence: Evidence, changes: dict[str, object]) -> None:
    assert found(with_event(evidence, 1, **changes)) == [("event_changed", 2)]


def test_an_event_of_another_stream_proves_nothing(evidence: Evidence) -> None:
    assert found(replace(evidence, stream=UUID(int=8))) == [("event_changed", n) for n in (1, 2, 3)]


def test_an_event_that_was_left_out_between_others_is_told(evidence: Evidence) -> None:
    first, _, last = evidence.events
    assert found(replace(evidence, events=(first, last))) == [("event_removed", 3)]
    assert found(replace(evidence, events=(last,))) == [("event_removed", 3)]


def test_evidence_without_events_proves_nothing(evidence: Evidence) -> None:
    assert found(replace(evidence, events=())) == [("event_removed", 1)]


def test_a_changed_head_is_told_with_all_that_it_was_to_prove(evidence: Evidence) -> None:
    head = replace(evidence.signed.head, tree_size=5)
    changed = replace(evidence, signed=replace(evidence.signed, head=head))
    assert found(changed)[0] == ("head_changed", 4)
