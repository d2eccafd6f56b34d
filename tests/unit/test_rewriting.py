"""Which rewritten events the log accounts for: those that a redaction leaves so, and tells of."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from hypothesis import given as hypothesis_given
from msgspec.structs import replace

from application.ports import Meta
from domain.audit import Rewritings, rewritten_event, told_by
from domain.facts import (
    AttemptFailed,
    EventsRedacted,
    ExecutionRequested,
    IdempotencyKeyUsed,
    Rewritten,
    TaskPaused,
    TaskRedacted,
)
from domain.identity import redaction_stream
from domain.redaction import MARK, erased, holds_something
from infrastructure.event_store.mapper import encode, encode_redacted
from tests.support.fact_strategies import FACTS
from tests.support.given import (
    NOON,
    RUN,
    TASK,
    answered,
    attempt,
    cancelled,
    created,
    definition,
    failed,
    occurrence,
    skipped,
    started,
)

if TYPE_CHECKING:
    from domain.audit import RewrittenEvent
    from domain.facts import AnyFact

OTHER = UUID(int=7)
META = Meta(actor="tester", correlation_id="test", command_id=UUID(int=1))
DIGEST = sha256(b"what was there").digest()
FAILED = replace(failed(), attempt=attempt(1, answered(500, MARK)))
USE = IdempotencyKeyUsed(at=NOON, key="k", namespace="n", task_id=TASK, digest="9f86")
HOLDING = replace(
    created(), definition=replace(definition(), action=replace(definition().action, payload="Anna"))
)


def state_of(fact: AnyFact, meta: Meta = META) -> bytes:
    return encode_redacted(fact, meta, DIGEST)


@dataclass
class Log:
    """Rewritten events, and what tells of them."""

    rewritings: Rewritings = field(default_factory=Rewritings)

    def found(
        self, position: int, fact: AnyFact = FAILED, stream: UUID = RUN, meta: Meta = META
    ) -> RewrittenEvent:
        event = rewritten_event(position, stream, fact.topic, state_of(fact, meta))
        self.rewritings.found(event)
        return event

    def told(
        self,
        at: int,
        *events: RewrittenEvent,
        task_id: UUID = TASK,
        stream: UUID | None = None,
        **words: Any,
    ) -> None:
        rewritten = tuple(
            Rewritten(
                words.get("position", event.position),
                words.get("of", event.stream),
                words.get("digest", event.digest).hex(),
            )
            for event in events
        )
        fact = EventsRedacted(at=NOON, task_id=task_id, rewritten=rewritten)
        self.rewritings.told(at, stream or redaction_stream(task_id), fact)

    def accounts_for(self, fact: AnyFact, stream: UUID, by: UUID = TASK, meta: Meta = META) -> bool:
        """Whether it does when the redaction of a task tells of what stands there."""
        self.told(9, self.found(3, fact, stream, meta), task_id=by)
        return self.unaccounted() == []

    def unaccounted(self) -> list[RewrittenEvent]:
        return list(self.rewritings.unaccounted())


def test_a_rewritten_event_that_a_later_one_tells_of_is_accounted_for() -> None:
    log = Log()
    log.told(9, log.found(3), log.found(5))
    assert log.unaccounted() == []
    assert log.rewritings.accounted() == {TASK: 2}


def test_one_that_nothing_tells_of_was_changed() -> None:
    log = Log()
    event = log.found(3)
    log.told(9, event, position=4)
    assert log.unaccounted() == [event]
    assert log.rewritings.accounted() == {}


def test_one_that_was_changed_after_its_redaction_was_changed() -> None:
    log = Log()
    event = log.found(3)
    log.told(9, event, digest=bytes(32))
    assert log.unaccounted() == [event]


def test_an_earlier_event_cannot_tell_of_a_later_one() -> None:
    log = Log()
    event = log.found(9)
    log.told(3, event)
    assert log.unaccounted() == [event]


def test_one_of_another_stream_is_not_the_one_that_was_told_of() -> None:
    log = Log()
    event = log.found(3)
    log.told(9, event, of=TASK)
    assert log.unaccounted() == [event]


@pytest.mark.parametrize("order", [(9, 12), (12, 9)])
def test_the_last_redaction_of_several_counts_whatever_order_they_are_read_in(order: tuple[int, ...]) -> None:
    log = Log()
    event = log.found(3)
    for at in order:
        log.told(at, event, digest=event.digest if at == 12 else bytes(32))
    assert log.unaccounted() == []


def test_only_the_stream_of_a_task_s_redactions_tells_of_them() -> None:
    log = Log()
    event = log.found(3)
    log.told(9, event, stream=OTHER)
    assert log.unaccounted() == [event]


@pytest.mark.parametrize(
    ("fact", "stream"),
    [
        (created(), TASK),
        (TaskPaused(at=NOON, note=MARK), TASK),
        (FAILED, RUN),
        (ExecutionRequested(at=NOON, occurrence=occurrence()), RUN),
        (skipped(), RUN),
        (replace(USE, digest=MARK), OTHER),
        (replace(USE, execution_id=RUN), OTHER),
    ],
)
def test_the_redaction_of_a_task_leaves_erased_events_of_that_task(fact: AnyFact, stream: UUID) -> None:
    assert Log().accounts_for(fact, stream)
    assert Log().accounts_for(fact, stream, meta=replace(META, address=MARK, reason=MARK))
    assert not Log().accounts_for(fact, stream, meta=replace(META, reason="Anna asked"))


@pytest.mark.parametrize(
    ("fact", "stream"),
    [
        (HOLDING, TASK),
        (TaskPaused(at=NOON, note="never was"), TASK),
        (replace(FAILED, unmet="never was"), RUN),
        (USE, OTHER),
    ],
)
def test_what_holds_what_was_to_be_erased_was_not_left_by_a_redaction(fact: AnyFact, stream: UUID) -> None:
    assert not Log().accounts_for(fact, stream)


@pytest.mark.parametrize(
    ("fact", "stream"),
    [
        (FAILED, RUN),
        (cancelled(), TASK),
        (skipped(), RUN),
        (replace(USE, execution_id=RUN), OTHER),
    ],
)
def test_the_redaction_of_one_task_leaves_others_alone(fact: AnyFact, stream: UUID) -> None:
    assert not Log().accounts_for(fact, stream, by=OTHER)


@pytest.mark.parametrize(
    ("fact", "stream"), [(HOLDING, TASK), (USE, RUN), (replace(USE, task_ids=(TASK, None, OTHER)), RUN)]
)
def test_what_one_request_has_created_with_a_task_may_have_lost_the_id_of_it(
    fact: AnyFact, stream: UUID
) -> None:
    assert Log().accounts_for(fact, stream, by=OTHER, meta=replace(META, reason="Anna asked"))


@pytest.mark.parametrize("fact", [started(), TaskRedacted(at=NOON)])
def test_what_holds_nothing_to_erase_is_never_rewritten(fact: AnyFact) -> None:
    assert not Log().accounts_for(fact, TASK)


@pytest.mark.parametrize(
    ("topic", "state"),
    [("task.unheard_of.v9", state_of(FAILED)), (FAILED.topic, b"{}"), (FAILED.topic, b"\xff")],
)
def test_what_cannot_be_read_was_not_left_by_a_redaction(topic: str, state: bytes) -> None:
    log = Log()
    event = rewritten_event(3, RUN, topic, state)
    log.rewritings.found(event)
    log.told(9, event)
    assert log.unaccounted() == [event]


@hypothesis_given(fact=FACTS)
def test_every_fact_is_accounted_for_as_erased_by_its_own_task_if_it_holds_something(fact: AnyFact) -> None:
    event = rewritten_event(3, TASK, fact.topic, state_of(erased(fact)))
    assert event.is_erased == holds_something(fact)


def test_what_tells_is_read_from_its_state() -> None:
    fact = EventsRedacted(at=NOON, task_id=TASK, rewritten=(Rewritten(3, RUN, DIGEST.hex()),))
    assert told_by(encode(fact, META)) == fact
    assert told_by(b"{}") is None
    assert (
        told_by(
            encode(
                AttemptFailed(at=NOON, task_id=TASK, attempt=attempt(1, answered(500)), retry_at=NOON), META
            )
        )
        is None
    )
