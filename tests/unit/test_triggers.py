"""What bounds a schedule, what delays its calls, and the schedules that follow no calendar."""

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.definition import Cron, Interval, OneOff, Trigger
from domain.schedule import (
    NothingAhead,
    ends,
    fires_at,
    first_due,
    instant_of,
    next_after,
    occurrences_between,
    spent,
)
from tests.support.given import NOON, TASK, after

DAY = timedelta(days=1)
EVERY_MINUTE = Interval(every_seconds=60, anchor=NOON)
LAST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
FIRST_DELAY = timedelta(seconds=21.319)
NEAR = st.timedeltas(-400 * DAY, 400 * DAY).map(NOON.__add__)


def found(trigger: Trigger, since: datetime = NOON, count: int = 4) -> list[datetime]:
    return list(islice(occurrences_between(trigger, since, since + 400 * DAY), count))


def test_an_interval_falls_on_its_anchor_and_on_whole_multiples_before_and_after() -> None:
    assert next_after(EVERY_MINUTE, after(-61)) == after(-60)
    assert next_after(EVERY_MINUTE, after(-0.001)) == NOON
    assert next_after(EVERY_MINUTE, NOON) == after(60)


def test_an_interval_keeps_real_time_through_a_change_of_clocks() -> None:
    trigger = Interval(every_seconds=43_200, anchor=NOON, timezone="Europe/Berlin")
    steps = [later - earlier for earlier, later in pairwise(found(trigger, count=800))]
    assert set(steps) == {timedelta(hours=12)}


@given(st.integers(1, 10**6), NEAR, NEAR)
def test_the_next_multiple_is_the_first_one_after(seconds: int, anchor: datetime, now: datetime) -> None:
    instant = next_after(Interval(every_seconds=seconds, anchor=anchor), now)
    assert instant is not None
    assert now < instant <= now + timedelta(seconds=seconds)
    assert (instant - anchor) % timedelta(seconds=seconds) == timedelta()


def test_the_end_of_the_calendar_ends_an_interval() -> None:
    assert next_after(EVERY_MINUTE, LAST) is None


def test_nothing_is_due_before_start_at_which_is_included() -> None:
    start = after(120)
    for trigger in (EVERY_MINUTE, Cron(cron="* * * * *")):
        assert found(replace(trigger, start_at=start), count=2) == [start, after(180)]
        assert first_due(replace(trigger, start_at=start), NOON) == start
        assert next_after(replace(trigger, start_at=start), start) == after(180)


def test_nothing_is_due_after_end_at_which_is_included() -> None:
    for trigger in (EVERY_MINUTE, Cron(cron="* * * * *")):
        assert found(replace(trigger, end_at=after(120))) == [after(60), after(120)]
        with pytest.raises(NothingAhead, match="no occurrence after"):
            first_due(replace(trigger, end_at=after(59)), NOON)


def test_bounds_hold_for_a_one_off_too() -> None:
    trigger = OneOff(datetime=after(60), start_at=after(60), end_at=after(60))
    assert next_after(trigger, NOON) == after(60)
    assert next_after(replace(trigger, start_at=after(61)), NOON) is None
    assert next_after(replace(trigger, end_at=after(59)), NOON) is None
    assert instant_of(trigger) == after(60)


@pytest.mark.parametrize(
    ("trigger", "has_end"),
    [
        (OneOff(datetime=NOON), True),
        (EVERY_MINUTE, False),
        (replace(EVERY_MINUTE, end_at=after(1)), True),
        (Cron(cron="* * * * *", max_runs=3), True),
        (Cron(cron="* * * * *", start_at=NOON), False),
    ],
)
def test_a_schedule_has_an_end_when_something_bounds_it(trigger: Trigger, has_end: bool) -> None:
    assert ends(trigger) is has_end


def test_a_trigger_is_spent_after_max_runs() -> None:
    trigger = replace(EVERY_MINUTE, max_runs=2)
    assert [spent(trigger, runs) for runs in (0, 1, 2, 3)] == [False, False, True, True]
    assert not spent(EVERY_MINUTE, 10**9)


def test_six_fields_are_the_second_and_the_five_that_cron_has() -> None:
    assert found(Cron(cron="*/20 * * * * *")) == [after(20), after(40), after(60), after(80)]
    assert found(Cron(cron="5,10 30 9 * * *"), count=3) == [
        datetime(2030, 1, 2, 9, 30, 5, tzinfo=UTC),
        datetime(2030, 1, 2, 9, 30, 10, tzinfo=UTC),
        datetime(2030, 1, 3, 9, 30, 5, tzinfo=UTC),
    ]
    assert found(Cron(cron="0 0 12 * * *")) == found(Cron(cron="0 12 * * *"))


def test_with_seconds_fixed_times_still_fire_once_and_rhythms_in_both_passes() -> None:
    """25 October 2026 in Berlin: 02:00 to 03:00 comes twice, at 00:00 and at 01:00 UTC."""
    night = datetime(2026, 10, 24, 23, tzinfo=UTC)
    fixed = Cron(cron="15 30 2 * * *", timezone="Europe/Berlin")
    assert found(fixed, night, 2) == [
        datetime(2026, 10, 25, 0, 30, 15, tzinfo=UTC),
        datetime(2026, 10, 26, 1, 30, 15, tzinfo=UTC),
    ]
    rhythm = Cron(cron="15 */30 2 * * *", timezone="Europe/Berlin")
    assert [instant.strftime("%H:%M:%S") for instant in found(rhythm, night, 4)] == [
        "00:00:15",
        "00:30:15",
        "01:00:15",
        "01:30:15",
    ]


def test_with_seconds_fixed_times_in_a_gap_fire_once_right_after_it() -> None:
    trigger = Cron(cron="10,20 30 2 * * *", timezone="Europe/Berlin")
    assert found(trigger, datetime(2026, 3, 29, tzinfo=UTC), 2) == [
        datetime(2026, 3, 29, 1, tzinfo=UTC),
        datetime(2026, 3, 30, 0, 30, 10, tzinfo=UTC),
    ]


def test_without_jitter_a_call_is_sent_at_its_occurrence() -> None:
    assert fires_at(EVERY_MINUTE, TASK, NOON) == NOON


def test_the_delay_of_an_occurrence_never_changes() -> None:
    """The draw is part of the log's meaning: another one would move the calls of every stored schedule."""
    trigger = Cron(cron="0 * * * *", jitter_seconds=600)
    assert fires_at(trigger, TASK, NOON) - NOON == FIRST_DELAY
    assert fires_at(trigger, UUID(int=2), NOON) != fires_at(trigger, TASK, NOON)
    assert fires_at(trigger, TASK, after(3600)) - after(3600) != FIRST_DELAY


def test_delays_are_spread_over_the_whole_jitter() -> None:
    trigger = Cron(cron="0 0 * * *", jitter_seconds=100)
    delays = [(fires_at(trigger, UUID(int=n), NOON) - NOON).total_seconds() for n in range(2000)]
    tenths = [sum(start <= delay < start + 10 for delay in delays) for start in range(0, 100, 10)]
    assert sum(tenths) == 2000
    assert all(140 < tenth < 260 for tenth in tenths), tenths


@settings(deadline=None)
@given(
    st.uuids(), st.floats(0.001, 86_400), st.sampled_from(["* * * * *", "0 */5 * * *", "30 2 * * *"]), NEAR
)
def test_occurrences_never_overtake_one_another(
    task_id: UUID, jitter: float, cron: str, since: datetime
) -> None:
    trigger = Cron(cron=cron, timezone="Europe/Berlin", jitter_seconds=jitter)
    nominal = found(trigger, since, 10)
    for due_at, following in pairwise(nominal):
        assert due_at <= fires_at(trigger, task_id, due_at) < following
        assert fires_at(trigger, task_id, due_at) - due_at < timedelta(seconds=jitter)


def test_the_last_occurrence_is_delayed_like_any_other() -> None:
    trigger = replace(EVERY_MINUTE, end_at=NOON, jitter_seconds=60)
    assert NOON < fires_at(trigger, TASK, NOON) < after(60)
