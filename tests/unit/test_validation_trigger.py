"""Which bounds, delays and intervals are admitted, and how they are stored."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.definition import Cron, Interval, OneOff, Trigger
from domain.errors import ValidationFailed
from domain.schedule import next_after
from domain.validation import validate
from tests.unit.test_validation import NOON, complaints, with_trigger

local = datetime.fromisoformat
BERLIN = "Europe/Berlin"


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def admitted(trigger: Trigger, now: datetime = NOON, current: Trigger | None = None) -> Trigger:
    return validate(with_trigger(trigger), now, current=current).trigger


def every(seconds: int = 60, **rest: Any) -> Interval:
    return Interval(every_seconds=seconds, **rest)


def test_an_interval_gets_its_creation_as_its_anchor() -> None:
    assert admitted(every(), now=after(0.123456)) == every(anchor=after(0.123))


def test_an_interval_with_a_start_is_anchored_there() -> None:
    start = after(3600)
    assert admitted(every(start_at=start)) == every(start_at=start, anchor=start)


def test_an_anchor_that_is_given_is_kept() -> None:
    anchor = after(-7)
    assert admitted(every(anchor=anchor, start_at=after(90))) == every(anchor=anchor, start_at=after(90))


def test_to_send_an_interval_again_without_its_anchor_does_not_move_it() -> None:
    stored = every(anchor=after(-12))
    assert admitted(every(), current=stored) == stored
    assert admitted(every(max_runs=5), current=stored) == every(max_runs=5, anchor=after(-12))


@pytest.mark.parametrize(
    "changed", [every(61), every(start_at=after(30))], ids=["another pace", "another start"]
)
def test_another_interval_gets_an_anchor_of_its_own(changed: Interval) -> None:
    found = admitted(changed, current=every(anchor=after(-12)))
    assert isinstance(found, Interval)
    assert found.anchor == (changed.start_at or NOON)


def test_an_interval_in_place_of_another_kind_is_anchored_anew() -> None:
    assert admitted(every(), current=Cron(cron="* * * * *")) == every(anchor=NOON)


def test_bounds_without_an_offset_are_local_time_of_the_zone() -> None:
    trigger = Cron(
        cron="0 9 * * *",
        timezone=BERLIN,
        start_at=local("2026-07-01T00:00"),
        end_at=local("2026-12-31T12:00"),
    )
    found = admitted(trigger)
    assert found.start_at == datetime(2026, 6, 30, 22, tzinfo=UTC)
    assert found.end_at == datetime(2026, 12, 31, 11, tzinfo=UTC)


def test_bounds_are_kept_in_utc_and_in_milliseconds() -> None:
    east = timezone(timedelta(hours=9))
    found = admitted(every(start_at=datetime(2026, 7, 1, 9, 0, 0, 123_999, tzinfo=east)))
    assert found.start_at == datetime(2026, 7, 1, 0, 0, 0, 123_000, tzinfo=UTC)
    assert isinstance(found, Interval)
    assert found.anchor == found.start_at


REFUSED: dict[str, tuple[Trigger, str, str]] = {
    "no interval": (every(0), "every_seconds", 'every_seconds "0" is out of range; give 1 to 315360000.'),
    "an interval of ages": (every(315_360_001), "every_seconds", "give 1 to 315360000."),
    "no runs": (every(max_runs=0), "max_runs", 'max_runs "0" is out of range; give 1 to 1000000000.'),
    "a negative jitter": (every(jitter_seconds=-1), "jitter_seconds", "give 0 to 86400."),
    "a jitter of days": (every(jitter_seconds=86_401), "jitter_seconds", "give 0 to 86400."),
    "a jitter beyond the interval": (
        every(jitter_seconds=60.5),
        "jitter_seconds",
        "The jitter is longer than the interval; give at most 60 seconds.",
    ),
    "an end before the start": (
        every(start_at=after(60), end_at=after(59)),
        "end_at",
        "end_at is before start_at; give 2026-06-01T12:01:00+00:00 or later.",
    ),
    "an end in the past": (
        Cron(cron="* * * * *", end_at=after(-1)),
        "end_at",
        "between 2026-06-01T12:00:00+00:00 and end_at; give a later end_at, or leave it out.",
    ),
    "nothing between the bounds": (
        Cron(cron="0 9 * * *", start_at=after(3600), end_at=after(7200)),
        "end_at",
        "No occurrence lies between 2026-06-01T13:00:00+00:00 and end_at",
    ),
    "an interval that is over": (
        every(anchor=NOON, end_at=after(59)),
        "end_at",
        "No occurrence lies between",
    ),
    "a cron that never fires, whatever its end": (
        Cron(cron="0 0 31 2 *", end_at=after(60)),
        "cron",
        "never fires",
    ),
    "a cron that only matches what the clocks skip": (
        Cron(cron="* 2 25-31 3 */7", timezone=BERLIN, end_at=after(60)),
        "cron",
        "never fires",
    ),
    "a one-off before its start": (
        OneOff(datetime=after(60), start_at=after(61)),
        "start_at",
        'start_at is after the datetime "2026-06-01T12:01:00+00:00"; leave it out.',
    ),
    "a one-off after its end": (
        OneOff(datetime=after(60), end_at=after(59)),
        "end_at",
        'end_at is before the datetime "2026-06-01T12:01:00+00:00"; leave it out.',
    ),
    "a start before 1970": (
        every(start_at=datetime(1969, 12, 31, tzinfo=UTC)),
        "start_at",
        "from the year 1970",
    ),
    "an end beyond the calendar": (every(end_at=datetime(9999, 1, 1, tzinfo=UTC)), "end_at", "the year 9998"),
    "an anchor beyond the calendar": (every(anchor=local("9999-12-31T23:59")), "anchor", "out of reach"),
}


@pytest.mark.parametrize(("trigger", "field", "said"), REFUSED.values(), ids=REFUSED)
def test_a_refusal_names_the_field_and_what_to_change(trigger: Trigger, field: str, said: str) -> None:
    [(where, detail)] = complaints(with_trigger(trigger)).items()
    assert where == f"/trigger/{field}"
    assert said in detail


def test_a_jitter_out_of_range_is_named_once() -> None:
    assert list(complaints(with_trigger(every(jitter_seconds=10**6)))) == ["/trigger/jitter_seconds"]


def test_every_broken_rule_is_named_at_once() -> None:
    trigger = every(0, timezone="Mars", max_runs=0, jitter_seconds=-1)
    assert set(complaints(with_trigger(trigger))) == {
        "/trigger/every_seconds",
        "/trigger/timezone",
        "/trigger/max_runs",
        "/trigger/jitter_seconds",
    }


def test_a_trigger_that_is_kept_may_have_come_to_its_end() -> None:
    stored = Cron(cron="* * * * *", end_at=after(-60))
    assert complaints(with_trigger(stored), current=stored) == {}


def test_start_and_end_may_be_the_same_instant() -> None:
    assert complaints(with_trigger(every(start_at=after(60), end_at=after(60)))) == {}


INSTANTS = st.datetimes(local("1900-01-01"), local("9999-12-31"), timezones=st.sampled_from([None, UTC]))
BOUNDS = {
    "timezone": st.sampled_from(["UTC", BERLIN, "Pacific/Apia", "Mars"]),
    "start_at": st.none() | INSTANTS,
    "end_at": st.none() | INSTANTS,
    "max_runs": st.none() | st.integers(-1, 5),
    "jitter_seconds": st.floats(-1, 100_000),
}
TRIGGERS: st.SearchStrategy[Trigger] = st.one_of(
    st.builds(Interval, every_seconds=st.integers(-1, 10**9), anchor=st.none() | INSTANTS, **BOUNDS),
    st.builds(Cron, cron=st.sampled_from(["*/5 * * * *", "0 9 * * *", "10 0 9 1 1 *"]), **BOUNDS),
    st.builds(OneOff, datetime=INSTANTS, **BOUNDS),
)


@settings(deadline=None)
@given(TRIGGERS)
def test_what_is_admitted_has_something_ahead_and_is_admitted_as_it_is(trigger: Trigger) -> None:
    try:
        stored = admitted(trigger)
    except ValidationFailed:
        return
    assert admitted(stored) == stored
    assert next_after(stored, NOON - timedelta(seconds=61)) is not None
