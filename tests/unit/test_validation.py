"""Which definitions are admitted, in which form, and what is said about the others (but for their calls)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from domain.definition import (
    Action,
    CatchUp,
    Cron,
    Definition,
    OneOff,
    Overlap,
    RetryPolicy,
    SuccessPolicy,
    Trigger,
)
from domain.errors import ValidationFailed
from domain.validation import validate

if TYPE_CHECKING:
    from collections.abc import Mapping

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)

local = datetime.fromisoformat

DEFINITION = Definition(
    name="report",
    trigger=Cron(cron="0 9 * * *", timezone="Europe/Berlin"),
    action=Action(method="POST", url="https://example.com/reports", payload={"kind": "daily"}),
)


def with_trigger(trigger: Trigger) -> Definition:
    return replace(DEFINITION, trigger=trigger)


def with_retry(**changes: Any) -> Definition:
    return replace(DEFINITION, retry=replace(RetryPolicy(), **changes))


def complaints(definition: Definition, current: Trigger | None = None) -> Mapping[str, str]:
    """The sentence for each pointer; empty if the definition is admitted."""
    try:
        validate(definition, NOON, current=current)
    except ValidationFailed as refusal:
        said = {error.pointer: error.detail for error in refusal.errors}
        assert len(said) == len(refusal.errors) > 0, "a field has two complaints, or none has one"  # noqa: PT017
        return said
    return {}


def admitted_instant(trigger: OneOff) -> datetime:
    admitted = validate(with_trigger(trigger), NOON).trigger
    assert isinstance(admitted, OneOff)
    assert admitted.datetime.tzinfo is UTC
    return admitted.datetime


def test_a_definition_in_normal_form_is_admitted_as_it_is() -> None:
    assert validate(DEFINITION, NOON) == DEFINITION


def test_blanks_in_a_cron_are_collapsed() -> None:
    admitted = validate(with_trigger(Cron(cron=" 0\t9  * * * ")), NOON)
    assert admitted.trigger == Cron(cron="0 9 * * *")


def test_an_instant_is_kept_in_utc_and_in_milliseconds() -> None:
    east = timezone(timedelta(hours=9))
    given_instant = datetime(2026, 7, 1, 9, 30, 0, 123_999, tzinfo=east)
    assert admitted_instant(OneOff(datetime=given_instant)) == datetime(
        2026, 7, 1, 0, 30, 0, 123_000, tzinfo=UTC
    )


def test_a_datetime_without_an_offset_is_local_time_of_the_zone() -> None:
    summer = OneOff(datetime=local("2026-07-01T09:00"), timezone="Europe/Berlin")
    assert admitted_instant(summer) == datetime(2026, 7, 1, 7, tzinfo=UTC)


def test_a_local_time_in_a_gap_is_due_after_it_and_one_that_repeats_at_the_first() -> None:
    gap = OneOff(datetime=local("2027-03-28T02:30"), timezone="Europe/Berlin")
    repeat = OneOff(datetime=local("2026-10-25T02:30"), timezone="Europe/Berlin")
    assert admitted_instant(gap) == datetime(2027, 3, 28, 1, tzinfo=UTC)
    assert admitted_instant(repeat) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)


def test_a_one_off_may_be_a_minute_late_and_no_more() -> None:
    assert admitted_instant(OneOff(datetime=NOON - timedelta(seconds=60))) == NOON - timedelta(seconds=60)
    assert complaints(with_trigger(OneOff(datetime=NOON - timedelta(seconds=61)))) == {
        "/trigger/datetime": 'The datetime "2026-06-01T11:58:59+00:00" is in the past;'
        " give one that is not more than 60 s before 2026-06-01T12:00:00+00:00."
    }


def test_an_update_that_keeps_the_trigger_may_come_after_its_instant() -> None:
    stored = OneOff(datetime=NOON - HOUR)
    resent = OneOff(datetime=(NOON - HOUR).astimezone(timezone(HOUR)))
    assert complaints(with_trigger(resent), current=stored) == {}
    other = with_trigger(OneOff(datetime=NOON - 2 * HOUR))
    assert list(complaints(other, current=stored)) == ["/trigger/datetime"]


@pytest.mark.parametrize(
    "far",
    [
        datetime(9999, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, tzinfo=timezone(timedelta(hours=-12))),
        local("9999-12-31T23:59"),
    ],
)
def test_an_instant_beyond_the_calendar_is_refused(far: datetime) -> None:
    said = complaints(with_trigger(OneOff(datetime=far, timezone="America/New_York")))
    assert "is out of reach; give one from now to the year 9998" in said["/trigger/datetime"]


def test_the_last_instant_that_can_be_stored_is_admitted() -> None:
    last = datetime(9998, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert admitted_instant(OneOff(datetime=last)) == last


@pytest.mark.parametrize(
    "zone", ["", "Mars/Olympus", "/etc/passwd", "../UTC", "Europe/../UTC", "localtime", "a\0b"]
)
def test_a_zone_must_be_a_known_name(zone: str) -> None:
    for trigger in (Cron(cron="0 9 * * *", timezone=zone), OneOff(datetime=NOON + HOUR, timezone=zone)):
        said = complaints(with_trigger(trigger))
        assert list(said) == ["/trigger/timezone"]
        assert "is unknown; give an IANA name such as Europe/Berlin, or UTC." in said["/trigger/timezone"]


def test_a_zone_that_was_probably_meant_is_suggested() -> None:
    said = complaints(with_trigger(Cron(cron="0 9 * * *", timezone="Berlin")))
    assert said == {"/trigger/timezone": 'The time zone "Berlin" is unknown; did you mean Europe/Berlin?'}


def test_a_wrong_cron_is_refused_with_its_field_even_beside_a_wrong_zone() -> None:
    said = complaints(with_trigger(Cron(cron="0 24 * * *", timezone="Nowhere")))
    assert list(said) == ["/trigger/timezone", "/trigger/cron"]
    assert said["/trigger/cron"].startswith('The hour "24" is not accepted: give 0-23')


@pytest.mark.parametrize(
    ("cron", "zone"),
    [("0 0 31 2 *", "UTC"), ("0 0 31 2 *", "Nowhere"), ("* 2 25-31 3 */7", "Europe/Berlin")],
)
def test_a_cron_that_never_fires_is_refused(cron: str, zone: str) -> None:
    said = complaints(with_trigger(Cron(cron=cron, timezone=zone)))
    assert said["/trigger/cron"].startswith(f'"{cron}" never fires')


@pytest.mark.parametrize("name", ["x", "x" * 255, "Ärger 🕰 日本", "a\u200db"])
def test_a_name_is_any_line_of_text(name: str) -> None:
    assert complaints(replace(DEFINITION, name=name)) == {}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "is blank; give 1 to 255 characters"),
        (" \t\u3000", "is blank"),
        ("x" * 256, "has 256 characters; give at most 255"),
        ("a\nb", r'contains the character "\n"; leave out control characters'),
        ("a\x00b", r'contains the character "\x00"'),
        ("a\ud800b", r'contains the character "\ud800"'),
        ("a\u2028b", r'contains the character "\u2028"'),
    ],
)
def test_a_name_that_cannot_stand_on_a_line_is_refused(name: str, said: str) -> None:
    assert said in complaints(replace(DEFINITION, name=name))["/name"]


@pytest.mark.parametrize(
    "retry",
    [
        {"max_attempts": 1, "initial_delay_seconds": 0, "multiplier": 1, "max_delay_seconds": 0},
        {
            "max_attempts": 100,
            "initial_delay_seconds": 86_400,
            "multiplier": 10,
            "max_delay_seconds": 604_800,
        },
    ],
)
def test_the_limits_of_a_retry_policy_are_admitted(retry: dict[str, float]) -> None:
    assert complaints(with_retry(**retry)) == {}


@pytest.mark.parametrize(
    ("retry", "name", "said"),
    [
        ({"max_attempts": 0}, "max_attempts", 'max_attempts "0" is out of range; give 1 to 100.'),
        ({"max_attempts": 101}, "max_attempts", "give 1 to 100"),
        ({"initial_delay_seconds": -0.1}, "initial_delay_seconds", "give 0 to 86400"),
        ({"initial_delay_seconds": float("nan")}, "initial_delay_seconds", '"nan" is out of range'),
        ({"multiplier": 0.99}, "multiplier", "give 1 to 10"),
        ({"multiplier": float("inf")}, "multiplier", "give 1 to 10"),
        ({"max_delay_seconds": 604_801}, "max_delay_seconds", "give 0 to 604800"),
        ({"max_delay_seconds": -1}, "max_delay_seconds", "give 0 to 604800"),
        (
            {"initial_delay_seconds": 600.0},
            "max_delay_seconds",
            'max_delay_seconds "300.0" is less than initial_delay_seconds; give at least 600.0.',
        ),
    ],
)
def test_a_retry_policy_out_of_range_is_refused(retry: dict[str, Any], name: str, said: str) -> None:
    found = complaints(with_retry(**retry))
    assert list(found) == [f"/retry/{name}"]
    assert said in found[f"/retry/{name}"]


def test_all_errors_are_told_at_once() -> None:
    wrong = Definition(
        name="",
        trigger=Cron(cron="x", timezone="y"),
        action=Action(
            method="BREW",
            url="ftp://example.com",
            headers={"a b": "x", "X/~": "\n"},
            payload=object(),
            timeout_seconds=0,
        ),
        retry=RetryPolicy(max_attempts=0),
        success=SuccessPolicy(statuses=()),
        catch_up=CatchUp(max_runs=1),
        overlap=Overlap(max_running=1),
        priority=0,
    )
    with pytest.raises(ValidationFailed) as refusal:
        validate(wrong, NOON)
    assert [error.pointer for error in refusal.value.errors] == [
        "/name",
        "/trigger/timezone",
        "/trigger/cron",
        "/action/method",
        "/action/url",
        "/action/headers/a b",
        "/action/headers/X~1~0",
        "/action/payload",
        "/action/timeout_seconds",
        "/retry/max_attempts",
        "/success/statuses",
        "/catch_up/max_runs",
        "/overlap/max_running",
        "/priority",
    ]
    assert "/action/method: The method" in str(refusal.value)


def test_a_long_value_is_shown_shortened() -> None:
    said = complaints(with_trigger(Cron(cron="0 9 * * *", timezone="x" * 1000)))["/trigger/timezone"]
    assert '"' + "x" * 79 + '…"' in said
