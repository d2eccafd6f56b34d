"""Facts survive being stored, whatever they hold; what is no fact is refused by a word that tells why."""

from __future__ import annotations

import inspect
import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID, uuid4

import msgspec
import pytest
from eventsourcing.persistence import StoredEvent
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from application.ports import Meta
from domain import facts
from domain.attempt import Answered, Attempt, Unanswered
from domain.definition import (
    Action,
    CatchUp,
    Cron,
    Definition,
    Interval,
    JsonCondition,
    OneOff,
    Overlap,
    RetryPolicy,
    SuccessPolicy,
)
from domain.fact import Fact
from domain.facts import (
    AttemptFailed,
    AttemptStarted,
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionQueued,
    ExecutionRequested,
    ExecutionSkipped,
    ExecutionStarted,
    ExecutionSucceeded,
    ExecutionTakenOver,
    IdempotencyKeyUsed,
    Occurrence,
    TaskCancelled,
    TaskCompleted,
    TaskCreated,
    TaskFailuresCounted,
    TaskPaused,
    TaskResumed,
    TaskUpdated,
)
from domain.redaction_facts import EventsRedacted, Rewritten, TaskRedacted
from infrastructure.event_store.mapper import FACT_TYPES, FactMapper, StoredFact, UnknownTopic, decode, encode
from tests.support.groups import NOON, cancelled, created, meta

if TYPE_CHECKING:
    from domain.facts import AnyFact

TEXT = st.text() | st.sampled_from(["\x00", "\N{GRINNING FACE}", "\u2028", '"\\/', "e\u0301", "\U0010ffff"])
NUMBERS = st.integers() | st.integers(min_value=-(10**60), max_value=10**60)
REALS = st.floats(allow_nan=False, allow_infinity=False)
INSTANTS = st.datetimes(timezones=st.just(UTC))
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | REALS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
HEADERS = st.dictionaries(TEXT, TEXT, max_size=3)
BOUNDS: dict[str, st.SearchStrategy[Any]] = {
    "timezone": TEXT,
    "start_at": st.none() | INSTANTS,
    "end_at": st.none() | INSTANTS,
    "max_runs": st.none() | NUMBERS,
    "jitter_seconds": REALS,
}
DEFINITIONS = st.builds(
    Definition,
    name=TEXT,
    trigger=st.builds(OneOff, datetime=INSTANTS, **BOUNDS)
    | st.builds(Cron, cron=TEXT, **BOUNDS)
    | st.builds(Interval, every_seconds=NUMBERS, anchor=INSTANTS, **BOUNDS),
    action=st.builds(
        Action,
        method=TEXT,
        url=TEXT,
        headers=HEADERS,
        payload=JSON,
        timeout_seconds=REALS,
        connect_timeout_seconds=st.none() | REALS,
        max_redirects=NUMBERS,
    ),
    retry=st.builds(
        RetryPolicy,
        max_attempts=NUMBERS,
        initial_delay_seconds=REALS,
        multiplier=REALS,
        max_delay_seconds=REALS,
        backoff=st.sampled_from(["fixed", "linear", "exponential"]),
        jitter=st.sampled_from(["none", "slight", "full"]),
        max_elapsed_seconds=st.none() | REALS,
        statuses=st.lists(TEXT).map(tuple),
        final_statuses=st.lists(TEXT).map(tuple),
        max_retry_after_seconds=REALS,
        on_gone=st.sampled_from(["fail", "stop"]),
        disable_after_failures=st.none() | NUMBERS,
    ),
    success=st.builds(
        SuccessPolicy,
        statuses=st.lists(TEXT).map(tuple),
        body_contains=st.none() | TEXT,
        json=st.none() | st.builds(JsonCondition, pointer=TEXT, equals=JSON),
    ),
    catch_up=st.builds(
        CatchUp,
        mode=st.sampled_from(["skip", "latest", "all"]),
        window_seconds=st.none() | NUMBERS,
        max_runs=st.none() | NUMBERS,
    ),
    overlap=st.builds(
        Overlap,
        mode=st.sampled_from(["allow", "skip", "queue_one", "queue_all", "cancel_running"]),
        max_running=st.none() | NUMBERS,
        max_queued=st.none() | NUMBERS,
    ),
    delivery=st.sampled_from(["at_least_once", "at_most_once"]),
    priority=NUMBERS,
)
OCCURRENCES = st.builds(
    Occurrence,
    task_id=st.uuids(),
    task_version=NUMBERS,
    task_name=TEXT,
    namespace=TEXT,
    due_at=INSTANTS,
    kind=st.sampled_from(["scheduled", "manual", "backfill"]),
    fire_at=st.none() | INSTANTS,
    run=NUMBERS,
)
ATTEMPTS = st.builds(
    Attempt,
    number=NUMBERS,
    started_at=INSTANTS,
    duration_ms=NUMBERS,
    answer=st.builds(Answered, status_code=NUMBERS, headers=HEADERS, body=TEXT, truncated=st.booleans())
    | st.builds(Unanswered, error=TEXT, retryable=st.booleans(), sent=st.booleans()),
)
NEXT = {"next_run_at": st.none() | INSTANTS, "next_fire_at": st.none() | INSTANTS}
LEASES = {"node": TEXT, "lease_until": INSTANTS}
FIELDS: dict[type[Fact], dict[str, st.SearchStrategy[Any]]] = {
    TaskCreated: {"namespace": TEXT, "definition": DEFINITIONS, "next_run_at": INSTANTS},
    TaskUpdated: {
        "definition": DEFINITIONS,
        "next_run_at": st.none() | INSTANTS,
        "runs": NUMBERS,
        "rolled_back_to": st.just(UNSET) | NUMBERS,
    },
    TaskPaused: {"note": st.none() | TEXT},
    TaskResumed: {},
    TaskCancelled: {"reason": st.none() | TEXT},
    TaskFailuresCounted: {"failures": NUMBERS, "execution_id": st.uuids()},
    TaskCompleted: {"outcome": st.sampled_from(["succeeded", "failed"]), "execution_id": st.uuids()},
    ExecutionStarted: {"occurrence": OCCURRENCES, **NEXT, **LEASES},
    AttemptFailed: {
        "task_id": st.uuids(),
        "attempt": ATTEMPTS,
        "retry_at": INSTANTS,
        "unmet": st.none() | TEXT,
    },
    AttemptStarted: {"task_id": st.uuids(), "task_version": NUMBERS, "number": NUMBERS, **LEASES},
    ExecutionTakenOver: {
        "task_id": st.uuids(),
        "task_version": NUMBERS,
        "number": NUMBERS,
        "lost_by": TEXT,
        **LEASES,
    },
    ExecutionSucceeded: {"task_id": st.uuids(), "attempt": ATTEMPTS},
    ExecutionFailed: {
        "task_id": st.uuids(),
        "attempt": st.none() | ATTEMPTS,
        "reason": TEXT,
        "lapsed": st.booleans(),
        "unmet": st.none() | TEXT,
    },
    ExecutionSkipped: {
        "occurrence": OCCURRENCES,
        "reason": TEXT,
        "by": st.sampled_from([None, "catch_up", "pause", "overlap", "change"]),
        "behind": st.none() | st.uuids(),
        **NEXT,
    },
    ExecutionQueued: {"occurrence": OCCURRENCES, "behind": st.uuids(), **NEXT},
    ExecutionRequested: {"occurrence": OCCURRENCES},
    ExecutionCancelled: {
        "task_id": st.uuids(),
        "reason": TEXT,
        "interrupted": st.booleans(),
        "replaced_by": st.none() | st.uuids(),
    },
    IdempotencyKeyUsed: {
        "key": TEXT,
        "namespace": TEXT,
        "task_id": st.uuids(),
        "digest": TEXT,
        "execution_id": st.none() | st.uuids(),
        "task_ids": st.lists(st.none() | st.uuids(), max_size=3).map(tuple),
    },
    TaskRedacted: {},
    EventsRedacted: {
        "task_id": st.uuids(),
        "rewritten": st.lists(
            st.builds(Rewritten, st.integers(min_value=1), st.uuids(), TEXT), max_size=3
        ).map(tuple),
    },
}
FACTS = st.one_of(*(st.builds(fact_type, at=INSTANTS, **fields) for fact_type, fields in FIELDS.items())).map(
    lambda fact: cast("AnyFact", fact)
)
MAYBE = st.none() | TEXT
METAS = st.builds(Meta, actor=TEXT, correlation_id=TEXT, command_id=st.uuids(), address=MAYBE, reason=MAYBE)


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
