"""When triggers are due. Local times are written as the zone's clock shows them."""

import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from itertools import islice, pairwise
from uuid import UUID
from zoneinfo import ZoneInfo

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
from domain.timezones import real_time
from tests.support.given import NOON, TASK, after

JUNE = datetime(2026, 6, 1, 12, tzinfo=UTC)
BERLIN = "Europe/Berlin"

local = datetime.fromisoformat
SPRING_FORWARD = local("2026-03-29")  # 02:00 -> 03:00, +01:00 -> +02:00
FALL_BACK = local("2026-10-25")  # 03:00 -> 02:00, +02:00 -> +01:00


def shown_on(day: datetime, cron: str, zone: str, days: int = 1) -> list[str]:
    """What the zone's clock shows, with its offset, whenever the schedule fires on a local day."""
    start, end = (real_time(edge, ZoneInfo(zone)) for edge in (day, day + timedelta(days=days)))
    trigger = Cron(cron=cron, timezone=zone)
    tick = timedelta(microseconds=1)
    found = occurrences_between(trigger, start - tick, end - tick)
    return [instant.astimezone(ZoneInfo(zone)).strftime("%H:%M%z") for instant in found]


def test_a_cron_fires_strictly_after_the_given_instant() -> None:
    trigger = Cron(cron="0 12 * * *")
    assert next_after(trigger, JUNE) == JUNE + timedelta(days=1)
    assert next_after(trigger, JUNE - timedelta(microseconds=1)) == JUNE
    assert next_after(trigger, JUNE + timedelta(microseconds=1)) == JUNE + timedelta(days=1)


def test_a_microsecond_counts_even_in_a_far_year() -> None:
    nearly = datetime(9000, 1, 1, 0, 0, 59, 999_999, tzinfo=UTC)
    for cron in ("* * * * *", "0-59 0-23 * * *"):
        assert next_after(Cron(cron=cron), nearly) == datetime(9000, 1, 1, 0, 1, tzinfo=UTC)


def test_the_answer_is_in_utc_whatever_the_zones() -> None:
    noon_in_tokyo = JUNE.astimezone(ZoneInfo("Asia/Tokyo"))
    found = next_after(Cron(cron="0 12 * * *", timezone="America/New_York"), noon_in_tokyo)
    assert found == datetime(2026, 6, 1, 16, tzinfo=UTC)
    assert found.tzinfo is UTC


def test_a_one_off_comes_next_until_its_instant() -> None:
    trigger = OneOff(datetime=JUNE)
    assert next_after(trigger, JUNE - timedelta(seconds=1)) == JUNE
    assert next_after(trigger, JUNE) is None


def test_a_new_one_off_is_due_at_its_instant_even_if_past() -> None:
    assert first_due(OneOff(datetime=JUNE), JUNE + timedelta(seconds=30)) == JUNE


def test_a_new_cron_is_due_at_its_first_occurrence_after_now() -> None:
    assert first_due(Cron(cron="@hourly"), JUNE) == JUNE + timedelta(hours=1)


def test_a_cron_that_only_matches_times_that_do_not_exist_never_fires() -> None:
    """Sundays of 25-31 March from 02:00 to 02:59, minute by minute: the hour that Berlin leaves out."""
    trigger = Cron(cron="* 2 25-31 3 */7", timezone=BERLIN)
    assert next_after(trigger, JUNE) is None
    with pytest.raises(NothingAhead):
        first_due(trigger, JUNE)


def test_a_one_off_without_an_offset_is_local_time() -> None:
    assert instant_of(OneOff(datetime=local("2026-07-01T09:00"), timezone=BERLIN)) == datetime(
        2026, 7, 1, 7, tzinfo=UTC
    )
    east = timezone(timedelta(hours=9))
    assert instant_of(OneOff(datetime=datetime(2026, 7, 1, 9, tzinfo=east), timezone=BERLIN)) == datetime(
        2026, 7, 1, tzinfo=UTC
    )


def test_a_fixed_time_in_the_gap_fires_right_after_it() -> None:
    assert shown_on(SPRING_FORWARD, "30 2 * * *", BERLIN) == ["03:00+0200"]


def test_fixed_times_that_land_on_the_same_instant_fire_once() -> None:
    assert shown_on(SPRING_FORWARD, "0,30 1,2,3 * * *", BERLIN) == [
        "01:00+0100",
        "01:30+0100",
        "03:00+0200",  # 02:00, 02:30 and 03:00
        "03:30+0200",
    ]


def test_a_fixed_time_that_exists_twice_fires_once_at_the_first() -> None:
    assert shown_on(FALL_BACK, "30 2 * * *", BERLIN) == ["02:30+0200"]
    assert shown_on(FALL_BACK, "0,30 1-3 * * *", BERLIN) == [
        "01:00+0200",
        "01:30+0200",
        "02:00+0200",
        "02:30+0200",
        "03:00+0100",
        "03:30+0100",
    ]


def test_within_the_second_pass_a_fixed_time_waits_for_the_next_day() -> None:
    second_pass = datetime(2026, 10, 25, 1, 15, tzinfo=UTC)
    assert next_after(Cron(cron="30 2 * * *", timezone=BERLIN), second_pass) == datetime(
        2026, 10, 26, 1, 30, tzinfo=UTC
    )


def test_every_quarter_of_an_hour_keeps_its_rhythm_through_gap_and_repeat() -> None:
    for day, hours in ((SPRING_FORWARD, 23), (FALL_BACK, 25)):
        start, end = (
            real_time(edge, ZoneInfo(BERLIN)) - timedelta(seconds=1)
            for edge in (day, day + timedelta(days=1))
        )
        found = list(occurrences_between(Cron(cron="*/15 * * * *", timezone=BERLIN), start, end))
        assert len(found) == 4 * hours
        assert {later - earlier for earlier, later in pairwise(found)} == {timedelta(minutes=15)}


def test_an_hour_rhythm_follows_the_clock_it_sees() -> None:
    assert shown_on(SPRING_FORWARD, "0 */2 * * *", BERLIN)[:3] == ["00:00+0100", "04:00+0200", "06:00+0200"]
    assert shown_on(FALL_BACK, "0 */2 * * *", BERLIN)[:4] == [
        "00:00+0200",
        "02:00+0200",
        "02:00+0100",
        "04:00+0100",
    ]


def test_minutes_within_a_fixed_hour_run_in_both_passes_and_not_in_the_gap() -> None:
    assert shown_on(FALL_BACK, "*/30 2 * * *", BERLIN) == [
        "02:00+0200",
        "02:30+0200",
        "02:00+0100",
        "02:30+0100",
    ]
    assert shown_on(SPRING_FORWARD, "*/30 2 * * *", BERLIN) == []


def test_lord_howe_moves_its_clocks_by_half_an_hour() -> None:
    zone = "Australia/Lord_Howe"
    back, forward = local("2026-04-05"), local("2026-10-04")
    assert shown_on(back, "45 1 * * *", zone) == ["01:45+1100"]
    assert shown_on(back, "*/15 1 * * *", zone) == [
        "01:00+1100",
        "01:15+1100",
        "01:30+1100",
        "01:45+1100",
        "01:30+1030",
        "01:45+1030",
    ]
    assert shown_on(forward, "15,45 2 * * *", zone) == ["02:30+1100", "02:45+1100"]


def test_apia_left_out_a_whole_day() -> None:
    """30 December 2011: its times are due at the first instant of the 31st, at UTC+14."""
    zone, day = "Pacific/Apia", local("2011-12-29")
    assert shown_on(day, "0 9 * * *", zone, days=3) == ["09:00-1000", "00:00+1400", "09:00+1400"]
    assert shown_on(day, "0 */12 * * *", zone, days=3) == [
        "00:00-1000",
        "12:00-1000",
        "00:00+1400",
        "12:00+1400",
    ]


def test_casablanca_leaves_summer_time_for_ramadan() -> None:
    zone = "Africa/Casablanca"
    assert shown_on(local("2026-02-15"), "30 2 * * *", zone) == ["02:30+0100"]
    assert shown_on(local("2026-02-15"), "*/30 2 * * *", zone) == [
        "02:00+0100",
        "02:30+0100",
        "02:00+0000",
        "02:30+0000",
    ]
    assert shown_on(local("2026-03-22"), "30 2 * * *", zone) == ["03:00+0100"]


def test_a_change_at_midnight_moves_the_first_run_of_the_day() -> None:
    santiago = local("2026-09-06")  # 00:00 -> 01:00
    assert shown_on(santiago, "0 0 * * *", "America/Santiago") == ["01:00-0300"]
    assert shown_on(santiago, "0 */12 * * *", "America/Santiago") == ["12:00-0300"]


def test_offsets_with_seconds_are_kept_to_the_second() -> None:
    """Berlin's local mean time was 53 min 28 s ahead until it adopted +01:00 at the start of April 1893."""
    trigger = Cron(cron="0 0 * * *", timezone=BERLIN)
    found = occurrences_between(trigger, datetime(1893, 3, 30, tzinfo=UTC), datetime(1893, 4, 2, tzinfo=UTC))
    assert list(found) == [
        datetime(1893, 3, 30, 23, 6, 32, tzinfo=UTC),
        datetime(1893, 3, 31, 23, 6, 32, tzinfo=UTC),  # 00:06:32 by the new clock: the first after the gap
        datetime(1893, 4, 1, 23, tzinfo=UTC),
    ]
    rhythm = Cron(cron="* * * * *", timezone=BERLIN)
    assert next_after(rhythm, datetime(1893, 3, 31, 23, 6, 32, tzinfo=UTC)) == datetime(
        1893, 3, 31, 23, 7, tzinfo=UTC
    )


def test_both_day_fields_must_match_when_one_starts_with_a_star() -> None:
    first_mondays = occurrences_between(Cron(cron="0 0 */40 * MON"), JUNE, JUNE + timedelta(days=400))
    assert [instant.strftime("%a %d %b") for instant in first_mondays] == ["Mon 01 Feb", "Mon 01 Mar"]


def test_either_day_field_may_match_when_none_starts_with_a_star() -> None:
    found = occurrences_between(Cron(cron="0 0 13 * FRI"), JUNE, JUNE + timedelta(days=14))
    assert [instant.strftime("%a %d") for instant in found] == ["Fri 05", "Fri 12", "Sat 13"]


def test_the_last_day_and_the_nth_weekday_of_the_month() -> None:
    last_days = islice(occurrences_between(Cron(cron="0 0 15,L * *"), JUNE, JUNE + timedelta(days=400)), 4)
    assert [instant.strftime("%d %b") for instant in last_days] == ["15 Jun", "30 Jun", "15 Jul", "31 Jul"]
    fridays = islice(occurrences_between(Cron(cron="0 0 * * 5#2"), JUNE, JUNE + timedelta(days=400)), 2)
    assert [instant.strftime("%a %d %b") for instant in fridays] == ["Fri 12 Jun", "Fri 10 Jul"]


def test_leap_days_are_found_over_the_year_2100() -> None:
    assert next_after(Cron(cron="0 0 29 2 *"), datetime(2096, 3, 1, tzinfo=UTC)) == datetime(
        2104, 2, 29, tzinfo=UTC
    )
    sundays = Cron(cron="0 0 29 2 */7")
    assert next_after(sundays, datetime(2280, 3, 1, tzinfo=UTC)) == datetime(2320, 2, 29, tzinfo=UTC)


def test_occurrences_are_found_one_at_a_time() -> None:
    endless = occurrences_between(Cron(cron="* * * * *"), JUNE, JUNE + timedelta(days=3000 * 365))
    assert list(islice(endless, 3)) == [JUNE + timedelta(minutes=n) for n in (1, 2, 3)]


def test_until_is_included_and_after_is_not() -> None:
    hourly = Cron(cron="0 * * * *")
    found = occurrences_between(hourly, JUNE, JUNE + timedelta(hours=2))
    assert list(found) == [JUNE + timedelta(hours=1), JUNE + timedelta(hours=2)]
    assert list(occurrences_between(hourly, JUNE, JUNE)) == []


def test_the_end_of_the_calendar_is_the_end_of_the_schedule() -> None:
    last = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    for zone in ("UTC", "Pacific/Kiritimati", "Pacific/Honolulu"):
        assert next_after(Cron(cron="* * * * *", timezone=zone), last) is None
        assert next_after(Cron(cron="0 0 * * *", timezone=zone), last) is None


def test_threads_may_share_a_schedule() -> None:
    """croniter keeps its position in itself: instants asked for at the same time must not mix."""
    trigger = Cron(cron="17 3 * * *", timezone=BERLIN)
    starts = [JUNE + timedelta(days=day) for day in range(1000)]
    expected = [next_after(trigger, start) for start in starts]

    def ask(start: datetime) -> datetime:
        return next(occurrences_between(trigger, start, start + timedelta(days=2)))

    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(ask, starts)) == expected
    finally:
        sys.setswitchinterval(usual)


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
