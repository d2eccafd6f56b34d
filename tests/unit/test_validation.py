"""Which definitions are admitted, in which form, and what is said about the others."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.definition import (
    RETRYABLE,
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
    Trigger,
)
from domain.errors import ValidationFailed
from domain.schedule import next_after
from domain.validation import validate

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
    never = complaints(with_trigger(Cron(cron="0 0 31 2 *", timezone="Nowhere")))["/trigger/cron"]
    assert never.startswith('"0 0 31 2 *" never fires')


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
    "a jitter beyond the interval": (every(jitter_seconds=60.5), "jitter_seconds",
        "The jitter is longer than the interval; give at most 60 seconds."),
    "an end before the start": (every(start_at=after(60), end_at=after(59)), "end_at",
        "end_at is before start_at; give 2026-06-01T12:01:00+00:00 or later."),
    "an end in the past": (Cron(cron="* * * * *", end_at=after(-1)), "end_at",
        "between 2026-06-01T12:00:00+00:00 and end_at; give a later end_at, or leave it out."),
    "nothing between the bounds": (Cron(cron="0 9 * * *", start_at=after(3600), end_at=after(7200)), "end_at",
        "No occurrence lies between 2026-06-01T13:00:00+00:00 and end_at"),
    "an interval that is over": (every(anchor=NOON, end_at=after(59)), "end_at",
        "No occurrence lies between"),
    "a cron that never fires, whatever its end": (Cron(cron="0 0 31 2 *", end_at=after(60)), "cron",
        "never fires"),
    "a cron that only matches what the clocks skip": (
        Cron(cron="* 2 25-31 3 */7", timezone=BERLIN, end_at=after(60)), "cron", "never fires"),
    "a one-off before its start": (OneOff(datetime=after(60), start_at=after(61)), "start_at",
        'start_at is after the datetime "2026-06-01T12:01:00+00:00"; leave it out.'),
    "a one-off after its end": (OneOff(datetime=after(60), end_at=after(59)), "end_at",
        'end_at is before the datetime "2026-06-01T12:01:00+00:00"; leave it out.'),
    "a start before 1970": (every(start_at=datetime(1969, 12, 31, tzinfo=UTC)), "start_at",
        "from the year 1970"),
    "an end beyond the calendar": (every(end_at=datetime(9999, 1, 1, tzinfo=UTC)), "end_at", "the year 9998"),
    "an anchor beyond the calendar": (every(anchor=local("9999-12-31T23:59")), "anchor", "out of reach"),
}  # fmt: skip


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


ONCE = with_trigger(OneOff(datetime=NOON + timedelta(hours=1)))


def complaint(definition: Definition, pointer: str) -> str:
    """The sentence about this field, which must be the only one."""
    found = complaints(definition)
    assert list(found) == [pointer]
    return found[pointer]


def succeeding(*statuses: str, **retry: Any) -> Definition:
    return replace(with_retry(**retry), success=SuccessPolicy(statuses=statuses))


def once_at_most(**retry: Any) -> Definition:
    return replace(with_retry(**retry), delivery="at_most_once")


ADMITTED = {
    "every bound at its least": with_retry(
        max_elapsed_seconds=1, max_retry_after_seconds=0, disable_after_failures=1
    ),
    "every bound at its most": with_retry(
        max_elapsed_seconds=31_536_000, max_retry_after_seconds=86_400, disable_after_failures=1_000
    ),
    "a multiplier of its own with exponential": with_retry(backoff="exponential", multiplier=3.0),
    "the usual multiplier with linear": with_retry(backoff="linear", multiplier=2.0),
    "anything with a single attempt": with_retry(
        max_attempts=1, initial_delay_seconds=60, max_elapsed_seconds=1, statuses=("503",), jitter="full"
    ),
    "as long as the first delay": with_retry(initial_delay_seconds=60, max_elapsed_seconds=60),
    "no status at all": with_retry(statuses=()),
    "fifty statuses": with_retry(
        statuses=tuple(str(status) for status in range(400, 410)) * 5, on_gone="fail"
    ),
    "an exception from a class": with_retry(statuses=("5xx",), final_statuses=("501",)),
    "an exception from the usual ones": with_retry(final_statuses=("429", "5xx")),
    "an exception from answers that lack what their body must have": replace(
        with_retry(final_statuses=("200",)), success=SuccessPolicy(body_contains="OK")
    ),
    "the same by their JSON": replace(
        with_retry(final_statuses=("2xx",)), success=SuccessPolicy(json=JsonCondition(pointer="", equals=1))
    ),
    "a class that has one of the usual ones": with_retry(final_statuses=("4xx",)),
    "410 to be tried again, not to stop": with_retry(statuses=("410",), on_gone="fail"),
    "410 as one of a class": with_retry(statuses=("4xx",), on_gone="stop"),
    "410 as a success beside stop": succeeding("2xx", "410", on_gone="stop"),
    "a success that is one of the usual ones": succeeding("2xx", "503"),
    "a success out of a class that is tried again": succeeding("503", statuses=("5xx",)),
    "stop on a one-off": replace(ONCE, retry=RetryPolicy(on_gone="stop")),
    "at most once, and nothing written about statuses": once_at_most(max_attempts=5),
    "at most once, and no status": once_at_most(statuses=()),
}


@pytest.mark.parametrize(
    "entry", ["", "5", "99", "600", "50", "0503", "6xx", "x5x", "5x", "5xxx", "503 ", "²00"]
)
@pytest.mark.parametrize("name", ["statuses", "final_statuses"])
def test_an_entry_that_is_no_status_is_refused(name: str, entry: str) -> None:
    given = with_retry(**{name: ("500", entry)}, max_attempts=1)
    assert complaint(given, f"/retry/{name}/1") == (
        f'"{entry}" is not a status; give 100 to 599, or a class such as 5xx.'
    )


def test_an_empty_entry_among_the_successes_is_no_trouble_for_what_is_final() -> None:
    success = SuccessPolicy(statuses=("2xx", ""), body_contains="OK")
    given = replace(with_retry(final_statuses=("404",)), success=success)
    said = complaints(given)
    assert said["/success/statuses/1"].startswith('"" is not a status')
    assert said["/retry/final_statuses/0"].endswith("leave it out.")


CONTRADICTIONS = {
    "in statuses and in final_statuses": (with_retry(statuses=("429", "503"), final_statuses=("503",)),
        "/retry/final_statuses/0",
        '"503" is never tried again, but retry.statuses has "503": take it out of one of the two.'),
    "in statuses and in final_statuses, spelt differently": (
        with_retry(statuses=("5XX",), final_statuses=("501", "5xx")), "/retry/final_statuses/1",
        'retry.statuses has "5xx"'),
    "final as one of a class": (with_retry(statuses=("429", "503"), final_statuses=("5xx",)),
        "/retry/final_statuses/0", '"5xx" is never tried again, but retry.statuses has "503"'),
    "final and not tried again anyway": (with_retry(final_statuses=("404",)), "/retry/final_statuses/0",
        '"404" is not tried again anyway, as retry.statuses does not have it: leave it out.'),
    "a success that is final": (with_retry(final_statuses=("200",)), "/retry/final_statuses/0",
        '"200" is not tried again anyway'),
    "final where no status is tried again": (with_retry(statuses=(), final_statuses=("5xx",)),
        "/retry/final_statuses/0", "leave it out"),
    "in statuses and a success": (
        succeeding("2xx", "503", statuses=("429", "503")),
        "/retry/statuses/1",
        '"503" is a success ("503" is in success.statuses) and is not tried again: '
        "take it out of one of the two.",
    ),
    "in statuses and one of a class that is a success": (succeeding("5xx", statuses=("503",)),
        "/retry/statuses/0", '"503" is a success ("5xx" is in success.statuses)'),
    "a usual success to be tried again": (with_retry(statuses=("202",)), "/retry/statuses/0",
        '("2xx" is in success.statuses)'),
    "410 to be tried again and to stop": (with_retry(statuses=("503", "410"), on_gone="stop"),
        "/retry/statuses/1", 'leave "410" out, or give retry.on_gone "fail".'),
    "statuses with at most once": (
        once_at_most(statuses=("503",)),
        "/retry/statuses",
        'With delivery "at_most_once" a request that was answered is never sent again: '
        'leave statuses out, or give delivery "at_least_once".',
    ),
    "final statuses with at most once": (once_at_most(final_statuses=("503",)), "/retry/final_statuses",
        "leave final_statuses out"),
}  # fmt: skip


def test_statuses_are_stored_once_each_and_in_lower_case() -> None:
    given = with_retry(statuses=("503", "4XX", "503", "4xx"), final_statuses=("404", "404"), on_gone="fail")
    stored = validate(given, NOON).retry
    assert (stored.statuses, stored.final_statuses) == (("503", "4xx"), ("404",))
    assert validate(DEFINITION, NOON).retry.statuses == RETRYABLE


def judging(method: str = "GET", **conditions: Any) -> Definition:
    action = replace(DEFINITION.action, method=method)
    return replace(DEFINITION, action=action, success=SuccessPolicy(**conditions))


def catching_up(mode: Any, overlap: Any = "allow", **rest: Any) -> Definition:
    return replace(DEFINITION, catch_up=CatchUp(mode=mode, **rest), overlap=Overlap(mode=overlap))


def overlapping(mode: Any, **rest: Any) -> Definition:
    return replace(DEFINITION, overlap=Overlap(mode=mode, **rest))


def pointing(pointer: str) -> Definition:
    return judging(json=JsonCondition(pointer=pointer, equals=1))


ADMITTED_POLICIES = {
    "statuses and classes as a success": judging(statuses=("200", "3xx", "404")),
    "text of a thousand characters": judging(body_contains="é" * 1_000),
    "text with a line break and a NUL": judging(body_contains="a\n\0"),
    "a condition where one of the statuses has a body": judging(statuses=("204", "200"), body_contains="OK"),
    "HEAD by its status": judging("HEAD", statuses=("200",)),
    "null as the value": judging(json=JsonCondition(pointer="/error", equals=None)),
    "the latest of a window": catching_up("latest", window_seconds=1),
    "the latest of a year": catching_up("latest", "skip", window_seconds=31_536_000),
    "nothing late": catching_up("skip", "cancel_running"),
    "all, of some, of a window": catching_up("all", "queue_all", window_seconds=60, max_runs=1_000),
    "all, side by side": catching_up("all", "allow", max_runs=1),
    "a hundred side by side": overlapping("skip", max_running=100),
    "a queue of one": overlapping("queue_one", max_running=1),
    "a queue of a thousand": overlapping("queue_all", max_running=2, max_queued=1_000),
    "a replaced run": overlapping("cancel_running", max_running=2),
    "no bound": overlapping("allow"),
    "a one-off as it was before there were policies": replace(ONCE, overlap=Overlap()),
    "a one-off that says nothing": replace(ONCE, overlap=Overlap(mode="skip")),
    "a one-off as it is shown": replace(ONCE, overlap=Overlap(mode="skip", max_running=1)),
    "a one-off that does not run late": replace(ONCE, catch_up=CatchUp(mode="skip")),
    "a one-off that runs late for an hour": replace(ONCE, catch_up=CatchUp(window_seconds=3_600)),
    "the first": replace(DEFINITION, priority=1),
    "the last": replace(DEFINITION, priority=9),
}


@pytest.mark.parametrize("pointer", ["", "/", "/a", "/a/0/~0/~1", "//", "/ é\n", "/" + "x" * 999])
def test_a_json_pointer_is_empty_or_a_path_from_the_root(pointer: str) -> None:
    assert complaints(pointing(pointer)) == {}


@pytest.mark.parametrize("pointer", ["a", "a/b", "#/a", "$.a", "/~", "/a~2b", "/a~", "~0", "/\ud800"])
def test_a_json_pointer_of_another_form_is_refused(pointer: str) -> None:
    said = complaint(pointing(pointer), "/success/json/pointer")
    assert (
        "is not a JSON pointer (RFC 6901): give one such as /data/state, with ~0 for ~ and ~1 for /" in said
    )


POLICIES_OUT_OF_RANGE = {
    "no status that is a success": (judging(statuses=()), "/success/statuses",
        "Nothing could ever succeed: give at least one status."),
    "a success that is no status": (judging(statuses=("200", "ok")), "/success/statuses/1", "100 to 599"),
    "too many statuses": (judging(statuses=("200",) * 51), "/success/statuses", "give at most 50"),
    "no text": (judging(body_contains=""), "/success/body_contains", "has 0 characters; give 1 to 1,000."),
    "too much text": (judging(body_contains="x" * 1_001), "/success/body_contains", "1001 characters"),
    "half a surrogate pair": (judging(body_contains="\ud800"), "/success/body_contains", "surrogate"),
    "a long pointer": (pointing("/" + "x" * 1_000), "/success/json/pointer", "has 1001 characters"),
    "no JSON as the value": (judging(json=JsonCondition(pointer="", equals=object())), "/success/json/equals",
        "compare with a simpler one"),
    "no window": (catching_up("latest", window_seconds=0), "/catch_up/window_seconds", "give 1 to 31536000."),
    "over a year": (catching_up("all", window_seconds=31_536_001), "/catch_up/window_seconds",
        "give 1 to 31536000."),
    "none of all": (catching_up("all", max_runs=0), "/catch_up/max_runs", "give 1 to 1000."),
    "too many of all": (catching_up("all", max_runs=1_001), "/catch_up/max_runs", "give 1 to 1000."),
    "none may run": (overlapping("skip", max_running=0), "/overlap/max_running", "give 1 to 100."),
    "too many may run": (overlapping("queue_one", max_running=101), "/overlap/max_running", "give 1 to 100."),
    "too many may run of a one-off": (replace(ONCE, overlap=Overlap(mode="skip", max_running=101)),
        "/overlap/max_running", "give 1 to 100."),
    "none may wait": (overlapping("queue_all", max_queued=0), "/overlap/max_queued", "give 1 to 1000."),
    "too many may wait": (overlapping("queue_all", max_queued=1_001), "/overlap/max_queued", "1 to 1000."),
    "before the first": (replace(DEFINITION, priority=0), "/priority", 'priority "0" is out of range'),
    "after the last": (replace(DEFINITION, priority=10), "/priority", "give 1 to 9."),
}  # fmt: skip


POLICY_CONTRADICTIONS = {
    "text in an answer to HEAD": (judging("head", body_contains="OK"), "/success/body_contains",
        "An answer to HEAD has no body: leave it out, or give another method."),
    "JSON in an answer to HEAD": (judging("HEAD", json=JsonCondition(pointer="", equals=1)), "/success/json",
        "An answer to HEAD has no body"),
    "text in an answer without content": (judging(statuses=("204", "304"), body_contains="OK"),
        "/success/body_contains",
        "Answers with status 204 or 304 have no body: leave it out, or admit other statuses."),
    "a bound of how many are caught up without all": (catching_up("latest", max_runs=5), "/catch_up/max_runs",
        'max_runs bounds the mode "all" only: leave it out, or give catch_up.mode "all".'),
    "a window of nothing": (catching_up("skip", window_seconds=60), "/catch_up/window_seconds",
        'With mode "skip" nothing late runs: leave window_seconds out, or give catch_up.mode "latest".'),
    "all of a one-off": (replace(ONCE, catch_up=CatchUp(mode="all")), "/catch_up/mode",
        'A one-off has one occurrence: give mode "latest" (it runs late), or "skip" (it does not).'),
    "a queue without queue_all": (overlapping("queue_one", max_queued=1), "/overlap/max_queued",
        'max_queued bounds the mode "queue_all" only: leave it out, or give overlap.mode "queue_all".'),
    "a queue with allow": (overlapping("allow", max_queued=1), "/overlap/max_queued", "leave it out"),
    "a bound with allow": (overlapping("allow", max_running=1), "/overlap/max_running",
        'The mode "allow" has no bound: leave max_running out, or give another mode.'),
    "a queue for a one-off": (replace(ONCE, overlap=Overlap(mode="queue_one")), "/overlap/mode",
        "A one-off has one occurrence, which overlaps none: leave overlap out."),
    "a one-off side by side": (replace(ONCE, overlap=Overlap(mode="skip", max_running=2)),
        "/overlap/max_running", "A one-off has one occurrence, which overlaps none: leave max_running out."),
}  # fmt: skip


NORMAL = [
    (Overlap(mode="skip"), Overlap(mode="skip", max_running=1)),
    (Overlap(mode="queue_one"), Overlap(mode="queue_one", max_running=1)),
    (Overlap(mode="queue_all"), Overlap(mode="queue_all", max_running=1, max_queued=100)),
    (Overlap(mode="cancel_running", max_running=3), Overlap(mode="cancel_running", max_running=3)),
    (Overlap(mode="allow"), Overlap(mode="allow")),
    (
        Overlap(mode="queue_all", max_running=2, max_queued=7),
        Overlap(mode="queue_all", max_running=2, max_queued=7),
    ),
]


@pytest.mark.parametrize(("given", "stored"), NORMAL)
def test_an_overlap_is_stored_with_the_bounds_of_its_mode(given: Overlap, stored: Overlap) -> None:
    assert validate(replace(DEFINITION, overlap=given), NOON).overlap == stored


def test_statuses_of_a_success_are_stored_once_each_and_in_lower_case() -> None:
    assert validate(judging(statuses=("2XX", "404", "2xx")), NOON).success.statuses == ("2xx", "404")


LEAST = {"max_attempts": 1, "initial_delay_seconds": 0, "multiplier": 1, "max_delay_seconds": 0}
MOST = {"max_attempts": 100, "initial_delay_seconds": 86_400, "multiplier": 10, "max_delay_seconds": 604_800}
ALL_ADMITTED = {
    **ADMITTED,
    **ADMITTED_POLICIES,
    "a name of one letter": replace(DEFINITION, name="x"),
    "a name of 255 letters": replace(DEFINITION, name="x" * 255),
    "a name in any script": replace(DEFINITION, name="Ärger 🕰 日本"),
    "a name with a joiner": replace(DEFINITION, name="a\u200db"),
    "the least of a retry policy": with_retry(**LEAST),
    "the most of a retry policy": with_retry(**MOST),
    "a start and an end at one instant": with_trigger(every(start_at=after(60), end_at=after(60))),
}


@pytest.mark.parametrize("definition", ALL_ADMITTED.values(), ids=ALL_ADMITTED)
def test_what_can_have_an_effect_is_admitted(definition: Definition) -> None:
    assert complaints(definition) == {}


NAMES_REFUSED = {
    "": "is blank; give 1 to 255 characters",
    " \t\u3000": "is blank",
    "x" * 256: "has 256 characters; give at most 255",
    "a\nb": r'contains the character "\n"; leave out control characters',
    "a\x00b": r'contains the character "\x00"',
    "a\ud800b": r'contains the character "\ud800"',
    "a\u2028b": r'contains the character "\u2028"',
}
NAN, INFINITE = float("nan"), float("inf")
RETRIES_REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"max_attempts": 0}, "max_attempts", 'max_attempts "0" is out of range; give 1 to 100.'),
    ({"max_attempts": 101}, "max_attempts", "give 1 to 100"),
    ({"initial_delay_seconds": -0.1}, "initial_delay_seconds", "give 0 to 86400"),
    ({"initial_delay_seconds": NAN}, "initial_delay_seconds", '"nan" is out of range'),
    ({"multiplier": 0.99}, "multiplier", "give 1 to 10"),
    ({"multiplier": INFINITE}, "multiplier", "give 1 to 10"),
    ({"max_delay_seconds": 604_801}, "max_delay_seconds", "give 0 to 604800"),
    ({"max_delay_seconds": -1}, "max_delay_seconds", "give 0 to 604800"),
    ({"initial_delay_seconds": 600.0}, "max_delay_seconds",
     'max_delay_seconds "300.0" is less than initial_delay_seconds; give at least 600.0.'),
    ({"initial_delay_seconds": 86_401, "max_delay_seconds": 1, "max_elapsed_seconds": 1},
     "initial_delay_seconds", "give 0 to 86400"),
    ({"max_elapsed_seconds": 0.5}, "max_elapsed_seconds", "give 1 to 31536000."),
    ({"max_elapsed_seconds": 31_536_001}, "max_elapsed_seconds", "give 1 to 31536000."),
    ({"max_elapsed_seconds": NAN}, "max_elapsed_seconds", '"nan" is out of range'),
    ({"initial_delay_seconds": 60, "max_elapsed_seconds": 59}, "max_elapsed_seconds",
     'max_elapsed_seconds "59" is less than initial_delay_seconds, so that no second attempt would ever '
     "begin; give at least 60, or max_attempts 1."),
    ({"max_retry_after_seconds": -1}, "max_retry_after_seconds", "give 0 to 86400."),
    ({"max_retry_after_seconds": 86_401}, "max_retry_after_seconds", "give 0 to 86400."),
    ({"disable_after_failures": 0}, "disable_after_failures",
     'disable_after_failures "0" is out of range; give 1 to 1000.'),
    ({"disable_after_failures": 1_001}, "disable_after_failures", "give 1 to 1000."),
    *(({"backoff": backoff, "multiplier": 3.0}, "multiplier",
      f'multiplier has no effect with backoff "{backoff}": leave it out, or give backoff "exponential".')
     for backoff in ("fixed", "linear")),
    *(({"backoff": backoff, "multiplier": 11.0}, "multiplier", "out of range")
      for backoff in ("fixed", "linear")),
    ({"statuses": ("503",) * 51}, "statuses",
     "There are 51 statuses; give at most 50, or classes such as 5xx."),
]  # fmt: skip
ONE_OFFS_REFUSED = {
    5: "A one-off has one occurrence, after which nothing is left to pause: leave it out.",
    0: "give 1 to 1000",
}
MOSTLY_SKIPPED = (
    'overlap.mode "{}" would skip or cut off most of what the mode "all" catches up: '
    'give overlap.mode "queue_all" or "allow".'
)
ALL_REFUSED: list[tuple[Definition, str, str]] = [
    *((replace(DEFINITION, name=name), "/name", said) for name, said in NAMES_REFUSED.items()),
    *((with_trigger(trigger), f"/trigger/{field}", said) for trigger, field, said in REFUSED.values()),
    (with_trigger(every(jitter_seconds=10**6)), "/trigger/jitter_seconds", "give 0 to 86400."),
    (with_trigger(Cron(cron="0 0 31 2 *")), "/trigger/cron", '"0 0 31 2 *" never fires'),
    *((with_retry(**retry), f"/retry/{name}", said) for retry, name, said in RETRIES_REFUSED),
    *((replace(ONCE, retry=RetryPolicy(disable_after_failures=failures)),
       "/retry/disable_after_failures", said)
      for failures, said in ONE_OFFS_REFUSED.items()),
    *CONTRADICTIONS.values(),
    *POLICIES_OUT_OF_RANGE.values(),
    *POLICY_CONTRADICTIONS.values(),
    *((catching_up("all", mode), "/catch_up/mode", MOSTLY_SKIPPED.format(mode))
      for mode in ("skip", "queue_one", "cancel_running")),
]  # fmt: skip


@pytest.mark.parametrize(("definition", "pointer", "said"), ALL_REFUSED)
def test_a_refusal_names_the_one_field_and_what_to_change(
    definition: Definition, pointer: str, said: str
) -> None:
    assert said in complaint(definition, pointer)
