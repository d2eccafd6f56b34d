"""The schema of a task says what validation says: each refuses what the other does, but for what follows."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import jsonschema_rs
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.errors import ValidationFailed
from domain.validation import validate
from interfaces.http.bodies import TaskDefinition
from interfaces.http.body_errors import read_task
from tests.support.http_service import task_json

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ROOT = msgspec.json.schema(TaskDefinition)
TASK = ROOT["$defs"]["TaskDefinition"]
SCHEMA = jsonschema_rs.validator_for(ROOT, validate_formats=True)

BEYOND_A_SCHEMA = re.compile(
    "|".join(
        (
            # Time, and what a calendar knows.
            r"is in the past; give one",
            r"is out of reach; give one",
            r"end_at is before start_at",
            r"start_at is after the datetime|end_at is before the datetime",
            r"No occurrence lies between",
            r"The time zone .* is unknown",
            r"never fires",
            # The grammar of a cron, the names of hosts, and what belongs to a connection.
            r"The (second|minute|hour|day-of-month|month|day-of-week) .* is not accepted",
            r"is not an alias|accepted: |has \d+ fields; give",
            r"The URL's host .* is not valid|The URL .* cannot be read|does not start with http",
            r"The URL holds a user or password",
            r"belongs to the connection and is set",
            r"is given more than once, in different case",
            r"more than 32,768 characters together",
            # What two members have to do with each other.
            r"The jitter is longer than the interval",
            r"A payload that is not a string is sent as JSON, but Content-Type says otherwise",
            r"connect_timeout_seconds .* is longer than the whole call",
            r"is less than initial_delay_seconds",
            r"multiplier has no effect with backoff",
            r"A one-off has one occurrence",
            r"max_runs bounds the mode|nothing late runs|would skip or cut off most",
            r"The mode \"allow\" has no bound|max_queued bounds the mode",
            r"With delivery \"at_most_once\"",
            r"is a success \(.* is not tried again|A 410 is not tried again while|is never tried again, but",
            r"is not tried again anyway",
            r"An answer to HEAD has no body|have no body: leave it out",
        )
    )
)


def of(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that fit a schema."""
    if "$ref" in schema:
        return of(ROOT["$defs"][schema["$ref"].rpartition("/")[2]])
    if "anyOf" in schema:
        around = {name: value for name, value in schema.items() if name != "anyOf"}
        return st.one_of([of(around | choice) for choice in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema.get("type"):
        case "object" if "properties" in schema:
            members = {name: of(member) for name, member in schema["properties"].items()}
            needed = {name: members.pop(name) for name in schema["required"]}
            return st.fixed_dictionaries(needed, optional=members)
        case "object":
            names = st.from_regex(schema["propertyNames"]["pattern"])
            return st.dictionaries(names, of(schema["additionalProperties"]), max_size=3)
        case "array":
            return st.lists(of(schema["items"]), min_size=schema.get("minItems", 0), max_size=4)
        case "integer":
            return st.integers(schema["minimum"], schema["maximum"])
        case "number":
            return st.floats(schema.get("minimum", 0.001), schema["maximum"])
        case "string":
            return texts(schema)
        case "null":
            return st.none()
        case _:  # any JSON
            return st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.integers(), max_size=2)


def texts(schema: dict[str, Any]) -> st.SearchStrategy[str]:
    if schema.get("format") == "date-time":
        late = datetime(2100, 1, 1)  # noqa: DTZ001 - zones are added below
        return st.datetimes(datetime(1900, 1, 1), late, timezones=st.just(UTC)).map(datetime.isoformat)  # noqa: DTZ001
    if examples := schema.get("examples"):  # few other crons, zones and URLs are right by chance
        usual = st.sampled_from(examples)
        return usual | st.from_regex(schema["pattern"]) if "pattern" in schema else usual
    return st.from_regex(schema["pattern"]) if "pattern" in schema else st.text()


@given(of(ROOT))
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_fits_the_schema_is_refused_only_for_what_a_schema_cannot_say(body: Any) -> None:
    if not SCHEMA.is_valid(body):
        return  # Python's `$` lets a line end follow
    definition = read_task(msgspec.json.encode(body)).to_domain("UTC")
    try:
        validate(definition, NOW)
    except ValidationFailed as refusal:
        for error in refusal.errors:
            assert BEYOND_A_SCHEMA.search(error.detail), error


def members(schema: dict[str, Any], *names: str) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    for name, member in schema.get("properties", {}).items():
        yield (*names, name), member
        for choice in (member, *member.get("anyOf", ())):
            if "$ref" in choice:
                yield from members(ROOT["$defs"][choice["$ref"].rpartition("/")[2]], *names, name)


def wrong_values(schema: dict[str, Any]) -> Iterator[Any]:
    """Values right beyond each bound."""
    if "minimum" in schema:
        yield schema["minimum"] - 1
    if "exclusiveMinimum" in schema:
        yield schema["exclusiveMinimum"]
    if "maximum" in schema:
        yield schema["maximum"] + 1
    if schema.get("minLength"):
        yield ""
    if "maxLength" in schema:
        yield "/" + "a" * schema["maxLength"]
    if "minItems" in schema:
        yield []
    if "maxItems" in schema:
        yield ["200"] * (schema["maxItems"] + 1)
        yield from (["600"], [99], ["6xx"], [""])
    if "maxProperties" in schema:
        yield {f"X-{number}": "" for number in range(schema["maxProperties"] + 1)}
        yield from (
            {"a b": ""},
            {"": ""},
            {"X-A": "a\nb"},
            {"X-A": "a\x80"},
            {"X-A": "€"},
            {"X-A": "a" * 8_193},
        )


WRONG = [(names, value) for names, member in members(TASK) for value in wrong_values(member)] + [
    (("name",), " "),
    (("name",), "a\x00b"),
    (("name",), ""),
    (("action", "method"), "CONNECT"),
    (("action", "url"), "ftp://localhost/"),
    (("action", "url"), "http://localhost/ä"),
    (("action", "url"), "http://localhost/a b"),
    (("action", "url"), "http://localhost/%zz"),
    (("action", "url"), "http://localhost/#part"),
    (("success", "json", "pointer"), "$.state"),
    (("success", "json", "pointer"), "/a~2"),
    (("trigger", "cron"), "* * * *"),
    (("trigger", "cron"), "* * * * * * *"),
]
TRIGGERS: dict[str, dict[str, Any]] = {
    "one-off": {"type": "one-off", "datetime": (NOW + timedelta(days=1)).isoformat()},
    "cron": {"type": "cron", "cron": "0 9 * * *"},
    "interval": {"type": "interval", "every_seconds": 90},
}


@pytest.mark.parametrize(("names", "value"), WRONG)
def test_what_does_not_fit_the_schema_is_refused_there(names: tuple[str, ...], value: Any) -> None:
    body = task_json(success={"json": {"pointer": "", "equals": 1}}, overlap={"mode": "queue_all"})
    body["catch_up"] = {"mode": "all"}
    refuse(body, names, value)


TRIGGER_WRONG = [
    (kind, name, value)
    for kind, reference in TASK["properties"]["trigger"]["discriminator"]["mapping"].items()
    for name, member in ROOT["$defs"][reference.rpartition("/")[2]]["properties"].items()
    for value in wrong_values(member)
]


@pytest.mark.parametrize(("kind", "name", "value"), TRIGGER_WRONG)
def test_what_does_not_fit_the_schema_of_a_trigger_is_refused_there(kind: str, name: str, value: Any) -> None:
    refuse(task_json(trigger=TRIGGERS[kind].copy()), ("trigger", name), value)


def refuse(body: dict[str, Any], names: tuple[str, ...], value: Any) -> None:
    assert SCHEMA.is_valid(body)
    inner = body
    for name in names[:-1]:
        inner = inner.setdefault(name, {})
    inner[names[-1]] = value
    assert not SCHEMA.is_valid(body)
    with pytest.raises(ValidationFailed) as refusal:
        validate(read_task(msgspec.json.encode(body)).to_domain("UTC"), NOW)
    assert any(error.pointer.startswith("/" + "/".join(names)) for error in refusal.value.errors)
