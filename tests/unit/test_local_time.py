"""From local to real time, changes of offset, and the names of zones."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from domain.timezones import known_zones, real_time, similar_zones, steady_until

BERLIN = "Europe/Berlin"

local = datetime.fromisoformat


def test_a_local_time_that_a_gap_leaves_out_is_the_first_instant_after_it() -> None:
    after_the_gap = datetime(2026, 3, 29, 1, tzinfo=UTC)
    for minute in ("00", "30", "59"):
        assert real_time(local(f"2026-03-29T02:{minute}"), ZoneInfo(BERLIN)) == after_the_gap
    assert real_time(local("2026-03-29T03:00"), ZoneInfo(BERLIN)) == after_the_gap


def test_a_local_time_that_exists_twice_is_the_first() -> None:
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert real_time(local("2026-10-25T02:30"), ZoneInfo(BERLIN)) == first
    assert real_time(local("2026-10-25T02:30").replace(fold=1), ZoneInfo(BERLIN)) == first


def test_a_zone_is_steady_until_it_changes_or_the_year_ends() -> None:
    zone = ZoneInfo(BERLIN)
    assert steady_until(datetime(2026, 1, 1, tzinfo=UTC), zone) == datetime(2026, 3, 29, 1, tzinfo=UTC)
    assert steady_until(datetime(2026, 3, 29, 1, tzinfo=UTC), zone) == datetime(2026, 10, 25, 1, tzinfo=UTC)
    assert steady_until(datetime(2026, 10, 25, 1, tzinfo=UTC), zone) == datetime(2027, 1, 1, tzinfo=UTC)


def test_zones_that_depend_on_the_machine_are_unknown() -> None:
    assert {"UTC", BERLIN, "Etc/GMT+5"} <= known_zones()
    assert not {"localtime", "Factory", "", "posix/UTC"} & known_zones()


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("europe/berlin", ["Europe/Berlin"]),
        ("Berlin", ["Europe/Berlin"]),
        ("new york", ["America/New_York"]),
        ("Europe/Berlim", ["Europe/Berlin"]),
        ("Mars/Olympus", []),
        ("x" * 100_000, []),
    ],
)
def test_a_zone_that_was_probably_meant_is_suggested(name: str, meant: list[str]) -> None:
    assert similar_zones(name)[:1] == meant
