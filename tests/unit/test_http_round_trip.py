"""What the API shows of a task means, when it is sent, the same task."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain import task as tasks
from domain.definition import Definition, JsonCondition, OneOff, RetryPolicy, SuccessPolicy
from domain.errors import ValidationFailed
from domain.validation import validate
from interfaces.http.answers import Task
from interfaces.http.json_body import read_task
from tests.unit.test_schedule_properties import PATIENT
from tests.unit.test_validation import DEFINITION, NOON
from tests.unit.test_validation_properties import CATCH_UPS, JSON, OVERLAPS

ONCE = OneOff(datetime=NOON + timedelta(hours=1))
STATUSES = st.lists(st.sampled_from(["200", "404", "410", "501", "5xx", "4XX"]), max_size=3).map(tuple)
POLICIES = st.builds(
    Definition,
    name=st.just("report"),
    trigger=st.sampled_from([DEFINITION.trigger, ONCE]),
    action=st.builds(
        replace,
        st.just(DEFINITION.action),
        connect_timeout_seconds=st.none() | st.floats(0.1, 30),
        max_redirects=st.integers(0, 10),
    ),
    retry=st.builds(
        RetryPolicy,
        max_attempts=st.integers(1, 5),
        backoff=st.sampled_from(["fixed", "linear", "exponential"]),
        jitter=st.sampled_from(["none", "slight", "full"]),
        max_elapsed_seconds=st.none() | st.floats(1, 1e6),
        statuses=STATUSES | st.just(RetryPolicy().statuses),
        final_statuses=STATUSES | st.just(()),
        max_retry_after_seconds=st.floats(0, 86_400),
        on_gone=st.sampled_from(["fail", "stop"]),
        disable_after_failures=st.none() | st.integers(1, 9),
    ),
    success=st.builds(
        SuccessPolicy,
        statuses=STATUSES | st.just(("2xx",)),
        body_contains=st.none() | st.just("é\0"),
        json=st.none() | st.builds(JsonCondition, pointer=st.sampled_from(["", "/a~1"]), equals=JSON),
    ),
    catch_up=CATCH_UPS,
    overlap=OVERLAPS,
    delivery=st.sampled_from(["at_least_once", "at_most_once"]),
    priority=st.integers(1, 9),
)


def mended(definition: Definition) -> Definition:
    """As it is stored, with the usual policies in place of those that are refused."""
    try:
        return validate(definition, NOON)
    except ValidationFailed as refusal:
        wrong = {error.pointer.split("/")[1] for error in refusal.errors}
        return mended(replace(definition, **{name: getattr(DEFINITION, name) for name in wrong}))


@given(POLICIES.map(mended))
@PATIENT
def test_a_task_that_is_sent_as_it_is_shown_is_the_same_task(stored: Definition) -> None:
    state = tasks.begin(UUID(int=1), tasks.create("default", stored, NOON))
    shown = msgspec.to_builtins(Task.of_state(state))
    sent = {name: shown[name] for name in Definition.__struct_fields__}
    again = read_task(msgspec.json.encode(sent)).to_domain("UTC")
    kept = validate(again, datetime.now(UTC), current=stored.trigger)
    assert msgspec.json.encode(kept) == msgspec.json.encode(stored)


@given(POLICIES.map(mended))
@PATIENT
def test_what_is_shown_has_every_member_that_is_documented_and_no_other(stored: Definition) -> None:
    state = tasks.begin(UUID(int=1), tasks.create("default", stored, NOON))
    encoded = msgspec.json.encode(Task.of_state(state))
    shown = msgspec.json.decode(encoded, type=Task)
    # Read into the documented shapes, which refuse unknown members and would write defaults for missing ones.
    assert msgspec.json.decode(msgspec.json.encode(shown)) == msgspec.json.decode(encoded)
