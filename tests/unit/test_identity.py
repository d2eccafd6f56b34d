"""The names of occurrences and of idempotency keys."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from uuid_utils.compat import uuid7

from domain.identity import execution_id, key_stream, milliseconds
from tests.support.given import NOON, TASK

MILLISECOND = timedelta(milliseconds=1)
# UUIDv7 and the ids of executions count milliseconds in 47 bits below their marker: until the year 6429.
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
INSTANTS = st.timedeltas(timedelta(), datetime(6429, 1, 1, tzinfo=UTC) - EPOCH).map(EPOCH.__add__)


def test_the_same_occurrence_has_the_same_id_for_whoever_computes_it() -> None:
    assert execution_id(TASK, NOON, "scheduled") == UUID("81b8dd58-e200-87f5-9836-5bbd71b2b290")


def test_a_backfilled_occurrence_is_the_scheduled_one() -> None:
    assert execution_id(TASK, NOON, "backfill") == execution_id(TASK, NOON, "scheduled")


def test_task_instant_kind_and_nonce_tell_occurrences_apart() -> None:
    ids = {
        execution_id(TASK, NOON, "scheduled"),
        execution_id(UUID(int=7), NOON, "scheduled"),
        execution_id(TASK, NOON + MILLISECOND, "scheduled"),
        execution_id(TASK, NOON, "manual", UUID(int=1)),
        execution_id(TASK, NOON, "manual", UUID(int=2)),
    }
    assert len(ids) == 5


@settings(deadline=None)
@given(due_at=INSTANTS, task=st.uuids())
def test_an_execution_id_is_a_uuid_of_version_8(due_at: datetime, task: UUID) -> None:
    made = execution_id(task, due_at, "scheduled")
    assert (made.version, made.variant) == (8, "specified in RFC 4122")


@settings(deadline=None)
@given(first=INSTANTS, second=INSTANTS)
def test_execution_ids_are_ordered_by_time(first: datetime, second: datetime) -> None:
    earlier, later = sorted((first, second))
    if milliseconds(earlier) < milliseconds(later):
        assert execution_id(TASK, earlier, "scheduled") < execution_id(UUID(int=3), later, "scheduled")


@settings(deadline=None)
@given(due_at=INSTANTS)
def test_executions_come_after_all_tasks(due_at: datetime) -> None:
    assert execution_id(TASK, due_at, "scheduled") > uuid7()
    assert execution_id(TASK, due_at, "scheduled").int >> 127 == 1


@settings(deadline=None)
@given(namespace=st.text(), key=st.text())
def test_keys_come_before_all_tasks(namespace: str, key: str) -> None:
    stream = key_stream(namespace, key)
    assert stream < uuid7()
    assert stream.int >> 80 == 0
    assert (stream.version, stream.variant) == (8, "specified in RFC 4122")


def test_a_key_means_something_else_in_each_namespace() -> None:
    assert key_stream("default", "key") == key_stream("default", "key")
    assert key_stream("default", "key") != key_stream("other", "key")


@pytest.mark.parametrize(
    ("instant", "expected"),
    [
        (EPOCH, 0),
        (datetime(2030, 1, 1, 0, 0, 0, 1_999, tzinfo=UTC), 1_893_456_000_001),
        (datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), 253_402_300_799_999),
    ],
)
def test_milliseconds_are_exact_where_floats_are_not(instant: datetime, expected: int) -> None:
    assert milliseconds(instant) == expected
