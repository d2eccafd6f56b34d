"""Evidence of redacted executions: what is erased is missing, and what tells of that is proved as well."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from uuid import UUID

import pytest
from msgspec.structs import replace

from application.audit import Audit
from application.ports import Meta
from domain.audit import Evidence, told_by
from domain.facts import EventsRedacted, ExecutionRequested, ExecutionSucceeded, Rewritten
from domain.identity import redaction_stream
from domain.redaction import erased
from infrastructure.audit_log.keys import KeyRing
from infrastructure.event_store.mapper import encode, encode_redacted
from tests.support.audit_log import MemoryAuditLog
from tests.support.given import RUN, TASK, answered, attempt, occurrence
from tests.support.sealing import KEY

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
META = Meta(actor="tester", correlation_id="test", command_id=UUID(int=1))
REQUESTED = ExecutionRequested(at=NOON, occurrence=occurrence())
SUCCEEDED = ExecutionSucceeded(at=NOON, task_id=TASK, attempt=attempt(1, answered(200, "secret")))
TELLS = redaction_stream(TASK)


def rewritten(fact: ExecutionRequested | ExecutionSucceeded) -> bytes:
    return encode_redacted(erased(fact), META, sha256(encode(fact, META)).digest())


def telling(*states: bytes, stream: UUID = RUN) -> bytes:
    told = tuple(Rewritten(place, stream, sha256(state).hexdigest()) for place, state in enumerate(states, 1))
    return encode(EventsRedacted(at=NOON, task_id=TASK, rewritten=told), META)


STATES = (rewritten(REQUESTED), rewritten(SUCCEEDED))


async def evidence_of(*states: bytes, told: bytes = telling(*STATES), version: int = 1) -> Evidence:
    topics = (ExecutionRequested.topic, ExecutionSucceeded.topic)
    rows = [
        (place, RUN, place, topic, state, NOON)
        for place, (topic, state) in enumerate(zip(topics, states, strict=True), 1)
    ]
    sealed = MemoryAuditLog([*rows, (3, TELLS, version, EventsRedacted.topic, told, NOON)])
    sealed.seal()
    return await Audit(sealed).evidence(RUN)


def found(evidence: Evidence) -> list[tuple[str, int]]:
    return [(each.kind, each.position) for each in evidence.findings(KeyRing([KEY.public]).flaw)]


async def test_what_tells_of_the_redaction_is_in_the_evidence() -> None:
    evidence = await evidence_of(*STATES)
    assert (evidence.redacted_by, [event.position for event in evidence.redactions]) == (TELLS, [3])
    assert found(evidence) == []
    assert evidence.redacted() == {TASK: 2}


async def test_the_task_is_known_by_any_of_its_events() -> None:
    of_the_end = await evidence_of(encode(REQUESTED, META), STATES[1])
    assert of_the_end.redacted_by == TELLS
    assert found(of_the_end) == []


async def test_what_nothing_tells_of_was_changed() -> None:
    evidence = await evidence_of(*STATES)
    assert found(replace(evidence, redactions=())) == [("event_changed", 1), ("event_changed", 2)]
    assert found(replace(evidence, redacted_by=None)) == [("event_changed", 1), ("event_changed", 2)]


async def test_what_was_put_in_the_place_of_what_was_erased_was_not_left_by_a_redaction() -> None:
    forged = encode_redacted(
        replace(SUCCEEDED, attempt=attempt(1, answered(200, "never was"))), META, sha256(b"x").digest()
    )
    assert found(await evidence_of(STATES[0], forged, told=telling(STATES[0], forged))) == [
        ("event_changed", 2)
    ]


async def test_what_tells_of_it_stands_in_the_stream_of_its_task() -> None:
    told = told_by(telling(*STATES))
    assert told is not None
    elsewhere = encode(replace(told, task_id=RUN), META)
    assert found(await evidence_of(*STATES, told=elsewhere)) == [("event_changed", 1), ("event_changed", 2)]


async def test_what_tells_of_it_has_to_be_proved_itself() -> None:
    evidence = await evidence_of(*STATES)
    [event] = evidence.redactions
    for changes in ({"state": event.state + b" "}, {"topic": "task.redacted.v1"}, {"state": b"{}"}):
        changed = replace(evidence, redactions=(replace(event, **changes),))
        assert found(changed) == [("event_changed", 1), ("event_changed", 2)]


@pytest.mark.parametrize(
    "told", [telling(*STATES, stream=TASK), b"{}", b"\xff", b'["%s"]' % str(RUN).encode()]
)
async def test_what_tells_of_others_is_left_out(told: bytes) -> None:
    evidence = await evidence_of(*STATES, told=told)
    assert evidence.redactions == ()
    assert found(evidence) == [("event_changed", 1), ("event_changed", 2)]


@pytest.mark.parametrize("garbage", [b'{"meta":{}', b'{"fact":{}'])
async def test_a_state_that_tells_of_no_task_was_changed(garbage: bytes) -> None:
    forged = garbage + STATES[0][-90:]
    evidence = await evidence_of(forged, encode(SUCCEEDED, META))
    assert evidence.redacted_by is None
    assert found(evidence) == [("event_changed", 1)]


async def test_nothing_is_added_to_evidence_of_what_was_not_redacted() -> None:
    evidence = await evidence_of(encode(REQUESTED, META), encode(SUCCEEDED, META))
    assert (evidence.redacted_by, evidence.redactions) == (None, ())
    assert found(evidence) == []
