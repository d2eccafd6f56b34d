"""What holds for the admission of every definition, however odd."""

from __future__ import annotations

from datetime import datetime

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from domain.definition import (
    Action,
    CatchUp,
    Cron,
    Definition,
    JsonCondition,
    OneOff,
    Overlap,
    RetryPolicy,
    SuccessPolicy,
)
from domain.timezones import known_zones
from domain.validation import validate
from tests.unit.test_schedule_properties import EXPRESSIONS, PATIENT
from tests.unit.test_validation import NOON, complaints

local = datetime.fromisoformat

TEXT = st.text(max_size=20) | st.text(st.characters(), max_size=20)
NUMBERS = st.integers(-10, 10**6) | st.floats()
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
ZONE_NAMES = st.sampled_from(["UTC", "Europe/Berlin", "Pacific/Apia"]) | TEXT
DATETIMES = st.datetimes(timezones=st.none() | st.timezones()) | st.datetimes(
    local("2026-06-02"), local("2030-01-01")
)
STATUSES = st.lists(st.sampled_from(["200", "410", "503", "5xx", "4XX", "2xx"]) | TEXT, max_size=4).map(tuple)
COUNTS = st.none() | st.integers(-1, 2_000)
CATCH_UPS = st.builds(
    CatchUp, mode=st.sampled_from(["skip", "latest", "all"]), window_seconds=COUNTS, max_runs=COUNTS
)
OVERLAPS = st.builds(
    Overlap,
    mode=st.sampled_from(["allow", "skip", "queue_one", "queue_all", "cancel_running"]),
    max_running=COUNTS,
    max_queued=COUNTS,
)
CRONS = EXPRESSIONS | TEXT | st.text("0123456789*/-, ", max_size=20)
ANY_DEFINITION = st.builds(
    Definition,
    name=TEXT,
    trigger=st.builds(OneOff, datetime=DATETIMES, timezone=ZONE_NAMES)
    | st.builds(Cron, cron=CRONS, timezone=ZONE_NAMES),
    action=st.builds(
        Action,
        method=st.sampled_from(["get", "POST"]) | TEXT,
        url=st.sampled_from(["http://localhost:8080/a?b=c"]) | TEXT | TEXT.map("http://".__add__),
        headers=st.dictionaries(st.from_regex(r"\A[A-Za-z-]{1,8}\Z") | TEXT, TEXT, max_size=3),
        payload=JSON,
        timeout_seconds=NUMBERS,
        connect_timeout_seconds=st.none() | NUMBERS,
        max_redirects=st.integers(),
    ),
    retry=st.builds(
        RetryPolicy,
        max_attempts=st.integers(),
        initial_delay_seconds=NUMBERS,
        multiplier=NUMBERS,
        max_delay_seconds=NUMBERS,
        backoff=st.sampled_from(["fixed", "linear", "exponential"]),
        max_elapsed_seconds=st.none() | NUMBERS,
        statuses=STATUSES,
        final_statuses=STATUSES,
        max_retry_after_seconds=NUMBERS,
        on_gone=st.sampled_from(["fail", "stop"]),
        disable_after_failures=COUNTS,
    ),
    success=st.builds(
        SuccessPolicy,
        statuses=STATUSES,
        body_contains=st.none() | TEXT,
        json=st.none() | st.builds(JsonCondition, pointer=TEXT | TEXT.map("/".__add__), equals=JSON),
    ),
    catch_up=CATCH_UPS,
    overlap=OVERLAPS,
    delivery=st.sampled_from(["at_least_once", "at_most_once"]),
    priority=st.integers(),
)


@given(ANY_DEFINITION)
@PATIENT
def test_every_definition_is_admitted_or_refused_in_words(definition: Definition) -> None:
    said = complaints(definition)
    assert all(where.startswith("/") for where in said)
    assert all(sentence.endswith((".", "?")) and sentence.isprintable() for sentence in said.values())
    msgspec.json.encode(said)


ADMISSIBLE = st.builds(
    Definition,
    name=st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=20),
    trigger=st.builds(
        OneOff,
        datetime=st.datetimes(local("2026-06-02"), local("2999-01-01")),
        timezone=st.sampled_from(sorted(known_zones())),
    )
    | st.builds(
        Cron, cron=EXPRESSIONS.map(lambda text: f" {text} "), timezone=st.sampled_from(sorted(known_zones()))
    ),
    action=st.builds(
        Action,
        method=st.sampled_from(["get", "Post", "PATCH"]),
        url=st.just("https://example.com/"),
        headers=st.just({"X-Key": " secret\t"}),
        payload=st.none() | st.dictionaries(st.text("ab"), st.integers()),
    ),
    retry=st.builds(RetryPolicy, statuses=st.lists(st.sampled_from(["408", "5XX", "503", "5xx"])).map(tuple)),
    success=st.builds(SuccessPolicy, statuses=st.sampled_from([("2XX",), ("200", "200", "3xx")])),
    overlap=OVERLAPS.map(lambda overlap: Overlap(mode="allow" if overlap.mode == "allow" else "skip")),
)


@given(ADMISSIBLE)
@PATIENT
def test_admitting_twice_is_admitting_once(definition: Definition) -> None:
    once = validate(definition, NOON)
    assert validate(once, NOON) == once
