"""Facts survive being stored, whatever they hold; what is no fact is refused by a word that tells why."""

from __future__ import annotations

import inspect
import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import msgspec
import pytest
from eventsourcing.persistence import StoredEvent
from hypothesis import given
from hypothesis import strategies as st

from application.ports import Meta
from domain import facts
from domain.facts import (
    Fact,
    TaskCancelled,
)
from infrastructure.event_store.mapper import FACT_TYPES, FactMapper, StoredFact, UnknownTopic, decode, encode
from tests.support.fact_strategies import FACTS, FIELDS, METAS
from tests.support.groups import NOON, cancelled, created, meta

if TYPE_CHECKING:
    from domain.facts import AnyFact


def test_every_fact_has_a_strategy_here_that_names_all_its_fields() -> None:
    assert set(FIELDS) == set(FACT_TYPES)
    for fact_type, strategies in FIELDS.items():
        assert {field.name for field in msgspec.structs.fields(fact_type)} == {"at", *strategies}


@given(fact=FACTS, who=METAS)
def test_what_is_stored_is_what_is_read(fact: AnyFact, who: Meta) -> None:
    envelope = decode(fact.topic, encode(fact, who))
    assert type(envelope.fact) is type(fact)
    assert (envelope.fact, envelope.meta) == (fact, who)


@given(fact=FACTS, who=METAS)
def test_what_is_stored_is_json_that_others_read_too(fact: AnyFact, who: Meta) -> None:
    assert json.loads(encode(fact, who))["meta"]["command_id"] == str(who.command_id)


@given(fact=FACTS, who=METAS, stream=st.uuids(), version=st.integers(min_value=1, max_value=2**63 - 1))
def test_the_library_s_mapper_keeps_a_fact_and_its_place(
    fact: AnyFact, who: Meta, stream: UUID, version: int
) -> None:
    stored = StoredFact(originator_id=stream, originator_version=version, fact=fact, meta=who)
    row = FactMapper().to_stored_event(stored)
    assert (row.originator_id, row.originator_version, row.topic) == (stream, version, fact.topic)
    assert row.state == encode(fact, who)
    assert FactMapper().to_domain_event(row) == stored


def test_the_library_s_mapper_takes_stream_ids_that_are_text() -> None:
    stream = uuid4()
    row = StoredEvent(str(stream), 1, "task.cancelled.v1", encode(cancelled(), meta()))
    assert FactMapper().to_domain_event(row).originator_id == stream


def test_every_fact_of_the_domain_can_be_stored() -> None:
    concrete = {
        kind
        for _, kind in inspect.getmembers(facts, inspect.isclass)
        if issubclass(kind, Fact) and kind is not Fact
    }
    assert concrete == set(FACT_TYPES)


def test_topics_are_short_names_of_their_own_and_never_module_paths() -> None:
    topics = [fact_type.topic for fact_type in FACT_TYPES]
    assert len(topics) == len(set(topics))
    for topic in topics:
        assert re.fullmatch(r"[a-z]+\.[a-z_]+\.v[1-9][0-9]*", topic)


def test_a_field_that_a_later_release_added_is_passed_over() -> None:
    state = json.loads(encode(created(), meta()))
    state["fact"]["colour"] = "blue"
    state["since"] = 2031
    assert decode("task.created.v1", json.dumps(state).encode()).fact == created()


def test_instants_keep_their_microseconds_and_their_zone() -> None:
    exact = datetime(2030, 1, 1, 12, 0, 0, 1, tzinfo=UTC)
    assert b'"at":"2030-01-01T12:00:00.000001Z"' in encode(TaskCancelled(at=exact), meta())
    assert decode("task.cancelled.v1", encode(TaskCancelled(at=exact), meta())).fact.at == exact


def test_an_unknown_topic_is_named_with_what_to_do() -> None:
    with pytest.raises(UnknownTopic, match=r"'task\.teleported\.v9'.*run the one that wrote it"):
        decode("task.teleported.v9", b"{}")


@pytest.mark.parametrize("state", [b"", b"{", b"null", b"[]", b"{}", b'{"meta":{},"fact":{}}'])
def test_bytes_that_are_no_fact_are_refused(state: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode("task.cancelled.v1", state)


def test_another_fact_s_bytes_are_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"\$\.fact"):
        decode("task.created.v1", encode(TaskCancelled(at=NOON), meta()))
