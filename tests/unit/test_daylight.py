"""What a change of the clocks does to the local times that a schedule names."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from domain.definition import Cron, Interval
from domain.schedule import affected_times, changes_between, clock_changes, occurrences_between, preview

BERLIN = "Europe/Berlin"
SPRING = datetime(2027, 3, 28, 1, tzinfo=UTC)
AUTUMN = datetime(2027, 10, 31, 1, tzinfo=UTC)
YEAR = datetime(2027, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)
ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "UTC"]
CRONS = ["30 2 * * *", "*/20 * * * *", "0 2,3 * * *", "15 1-3 * * 0", "45 */2 * * *", "0 0 * * *"]


def effects(cron: str, changed_at: datetime, zone: str = BERLIN) -> list[tuple[str, str, list[int]]]:
    """Of each time: local, what becomes of it, and minutes after the change when it is called."""
    [change] = clock_changes(zone, changed_at - timedelta(seconds=1), changed_at)
    return [
        (
            f"{time.local:%H:%M}",
            time.effect,
            [(each - changed_at) // timedelta(minutes=1) for each in time.instants],
        )
        for time in affected_times(Cron(cron=cron, timezone=zone), change)
    ]


def test_the_changes_of_a_zone_are_told_with_the_local_times_that_they_concern() -> None:
    spring, autumn = clock_changes(BERLIN, *YEAR)
    assert (spring.at, autumn.at) == (SPRING, AUTUMN)
    assert (spring.repeated, autumn.repeated) == (False, True)
    assert (f"{spring.start:%H:%M}", f"{spring.end:%H:%M}") == ("02:00", "03:00")
    assert (f"{autumn.start:%H:%M}", f"{autumn.end:%H:%M}") == ("02:00", "03:00")


def test_a_zone_without_changes_has_none() -> None:
    assert not list(clock_changes("UTC", *YEAR))


def test_a_fixed_time_that_does_not_exist_is_called_right_after_the_gap() -> None:
    assert effects("30 2 * * *", SPRING) == [("02:30", "moved", [0])]


def test_a_fixed_time_in_the_gap_has_no_call_of_its_own_when_another_one_is_due_right_after() -> None:
    assert effects("0 2,3 * * *", SPRING) == [("02:00", "left_out", [])]


def test_a_rhythm_leaves_out_what_does_not_exist() -> None:
    assert effects("15,45 * * * *", SPRING) == [("02:15", "left_out", []), ("02:45", "left_out", [])]


def test_a_fixed_time_that_comes_twice_is_called_once() -> None:
    assert effects("30 2 * * *", AUTUMN) == [("02:30", "once", [-30])]


def test_a_rhythm_is_kept_through_both_passes() -> None:
    assert effects("30 * * * *", AUTUMN) == [("02:30", "twice", [-30, 30])]


def test_what_lies_outside_of_gap_and_repeat_is_not_concerned() -> None:
    assert not effects("0 9 * * *", SPRING)
    assert not effects("0 3 * * *", AUTUMN)


def test_intervals_do_not_go_by_clocks() -> None:
    assert not list(changes_between(Interval(every_seconds=60, anchor=SPRING), *YEAR))


@given(
    cron=st.sampled_from(CRONS),
    zone=st.sampled_from(ZONES),
    day=st.integers(0, 50 * 365),
)
def test_what_is_told_of_a_change_is_what_the_schedule_does(cron: str, zone: str, day: int) -> None:
    start = datetime(1990, 1, 1, tzinfo=UTC) + timedelta(days=day)
    trigger = Cron(cron=cron, timezone=zone)
    for affected in changes_between(trigger, start, start + timedelta(days=400)):
        change = affected.change
        length = change.end - change.start
        around = set(occurrences_between(trigger, change.at - length * 2, change.at + length * 2))
        told = {instant for time in affected.times for instant in time.instants}
        assert told <= around
        if change.repeated:
            first, last = change.at - length, change.at + length
            passes = {each for each in around if first <= each < last}
            assert told == passes


def test_a_preview_tells_local_times_with_their_offset_and_what_the_clocks_do() -> None:
    found = preview(Cron(cron="30 2 * * *", timezone=BERLIN), SPRING - timedelta(hours=1), 2)
    assert [each.local.isoformat() for each in found.fires] == [
        "2027-03-28T03:00:00+02:00",
        "2027-03-29T02:30:00+02:00",
    ]
    assert found.more
    [affected] = found.clock_changes
    assert (affected.change.at, affected.total) == (SPRING, 1)


def test_a_preview_ends_with_the_schedule() -> None:
    ended = Cron(cron="0 9 * * *", end_at=SPRING + timedelta(days=2))
    assert (len(preview(ended, SPRING, 10).fires), preview(ended, SPRING, 10).more) == (2, False)
    assert preview(ended, SPRING, 1).more
    counted = Cron(cron="0 9 * * *", max_runs=3)
    for limit, shown, more in [(10, 3, False), (3, 3, False), (2, 2, True)]:
        found = preview(counted, SPRING, limit)
        assert (len(found.fires), found.more) == (shown, more)


def test_a_preview_of_what_is_over_is_empty() -> None:
    over = Cron(cron="0 9 * * *", end_at=SPRING)
    assert preview(over, SPRING, 10).fires == ()
