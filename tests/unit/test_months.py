"""Months, and the ids of the executions that are due in them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.identity import Month, execution_id, is_execution

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
INSTANTS = st.integers(0, 200 * 365 * 86_400).map(lambda second: EPOCH + timedelta(seconds=second))


@given(INSTANTS)
def test_an_execution_lies_within_the_ids_of_its_month_and_of_no_other(due_at: datetime) -> None:
    month, run = Month.of(due_at), execution_id(uuid4(), due_at, "scheduled")
    assert month.first_execution <= run < month.end_of_executions
    assert month.end_of_executions == month.next.first_execution


def test_a_month_is_that_of_utc() -> None:
    eve = datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=2)))
    assert Month.of(eve) == Month(2025, 12)


def test_months_follow_each_other_over_the_turn_of_the_year() -> None:
    assert Month(2025, 12).next == Month(2026, 1)
    assert Month(2026, 1).next == Month(2026, 2)
    assert Month(2025, 12) < Month(2026, 1)


@given(INSTANTS)
def test_what_is_written_is_read_again(instant: datetime) -> None:
    month = Month.of(instant)
    assert Month.read(str(month)) == month


@pytest.mark.parametrize(
    "text", ["2026", "2026-13", "2026-00", "2026-1", "0000-01", "٢٠٢٦-01", "2026-01-01", ""]
)
def test_what_is_no_month_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no month such as 2026-01"):
        Month.read(text)


def test_tasks_are_no_executions() -> None:
    assert is_execution(execution_id(uuid4(), datetime(2026, 1, 1, tzinfo=UTC), "manual", uuid4()))
    assert not is_execution(UUID(int=(1 << 127) - 1))
