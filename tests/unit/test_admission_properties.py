"""What holds for the admission of every definition, however odd."""

from __future__ import annotations

from datetime import datetime

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from domain.admission import admit
from domain.definition import Action, Cron, Definition, OneOff, RetryPolicy
from domain.local_time import known_zones
from tests.unit.test_admission import NOON, complaints
from tests.unit.test_schedule_properties import EXPRESSIONS, PATIENT

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
    ),
    retry=st.builds(
        RetryPolicy,
        max_attempts=st.integers(),
        initial_delay_seconds=NUMBERS,
        multiplier=NUMBERS,
        max_delay_seconds=NUMBERS,
    ),
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
)


@given(ADMISSIBLE)
@PATIENT
def test_admitting_twice_is_admitting_once(definition: Definition) -> None:
    once = admit(definition, NOON)
    assert admit(once, NOON) == once
