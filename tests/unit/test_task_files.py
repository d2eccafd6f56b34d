"""Files of tasks: read to what was written, and what an import of one says, without a secret."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain import task as tasks
from domain.definition import Definition
from domain.errors import TaskNotFound, ValidationFailed
from domain.facts import TaskPaused
from domain.validation import validate
from interfaces.task_files.files import (
    NotYaml,
    TaskFileUnreadable,
    accomplished,
    dumped,
    file_of,
    parsed,
    read_json,
    read_yaml,
    summary,
    told,
)
from tests.support.declaring import declared, planned
from tests.support.given import TASK, after, definition, every
from tests.support.scheduler import REQUEST, World
from tests.unit.test_http_round_trip import POLICIES, mended
from tests.unit.test_schedule_properties import PATIENT
from tests.unit.test_validation import NOON
from tests.unit.test_validation_properties import TEXT

NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
STRANGE = st.sampled_from(
    [
        "yes",
        "no",
        "on",
        "null",
        "~",
        "1e3",
        "0x10",
        "010",
        "12:30:00",
        "2030-01-01",
        "- a",
        "#",
        "<<",
        "=",
        ".inf",
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | STRANGE | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(STRANGE | TEXT, inner, max_size=3),
    max_leaves=8,
)
ZONES = ["UTC", "Europe/Berlin"]
TASKS = """
timezone: Europe/Berlin
tasks:
  - name: a
    trigger: {type: cron, cron: 0 9 * * *}
    action: {method: GET, url: http://127.0.0.1/}
  - name: b
    trigger:
      type: cron
      cron: 0 9 * * *
      timezone: UTC
    action:
      method: GET
      url: http://127.0.0.1/
      headers: {X-Count: 1}
    paused: perhaps
"""


def state_of(stored: Definition, namespace: str = "default") -> tasks.Scheduled:
    """A task with a definition."""
    state = tasks.begin(UUID(int=1), tasks.create(namespace, stored, NOON))
    assert isinstance(state, tasks.Scheduled)
    return state


def wanted(declaration: Any) -> Definition:
    assert isinstance(declaration.wanted, Definition), declaration.wanted
    return declaration.wanted


@given(POLICIES.map(mended), JSON, st.sampled_from(ZONES))
@PATIENT
def test_what_is_written_is_read_as_it_was(stored: Definition, payload: Any, zone: str) -> None:
    try:
        stored = validate(replace(stored, action=replace(stored.action, payload=payload)), NOON)
    except ValidationFailed:
        return
    file = file_of([state_of(stored)], zone)
    for read in (read_yaml(dumped(file), "Asia/Tokyo"), read_json(json.dumps(file), "Asia/Tokyo")):
        [declaration] = read.declarations
        again = validate(wanted(declaration), NOON, current=stored.trigger)
        assert msgspec.json.encode(again) == msgspec.json.encode(stored)


def test_what_the_api_would_fill_in_is_left_out() -> None:
    usual = read_yaml(TASKS, "UTC").declarations[0]
    stored = validate(wanted(usual), NOON)
    assert file_of([state_of(stored)], "Europe/Berlin")["tasks"] == [
        {
            "name": "a",
            "trigger": {"type": "cron", "cron": "0 9 * * *"},
            "action": {"method": "GET", "url": "http://127.0.0.1/"},
        }
    ]


def test_what_a_task_of_before_policies_meant_is_written_out() -> None:
    [entry] = file_of([state_of(validate(definition(trigger=every(60)), NOON), "mine")], "UTC")["tasks"]
    assert entry["namespace"] == "mine"
    assert entry["overlap"] == {"mode": "allow"}
    assert entry["retry"] == {"max_retry_after_seconds": 0.0, "on_gone": "fail"}


def test_a_pause_is_written() -> None:
    state = state_of(validate(definition(), NOON))
    paused = tasks.evolve(state, TaskPaused(at=after(1)))
    assert isinstance(paused, tasks.Paused)
    assert file_of([paused], "UTC")["tasks"][0]["paused"] is True


def test_the_zone_of_the_file_is_that_of_tasks_that_name_none() -> None:
    first, _ = read_yaml(TASKS, "Asia/Tokyo").declarations
    assert wanted(first).trigger.timezone == "Europe/Berlin"
    [plain] = read_yaml(TASKS.replace("timezone: Europe", "# Europe").split("  - name: b")[0], "Asia/Tokyo")[
        0
    ]
    assert wanted(plain).trigger.timezone == "Asia/Tokyo"


def test_what_is_wrong_is_told_with_its_line_in_yaml_and_its_pointer_in_both() -> None:
    file = read_yaml(TASKS, "UTC")
    bad = file.declarations[1]
    assert (bad.place, bad.name) == ("tasks[1] (line 7)", "b")
    assert isinstance(bad.wanted, ValidationFailed)
    [error] = bad.wanted.errors
    assert file.where(bad, error.pointer) == "line 16, /paused"
    file = read_yaml(TASKS.replace("perhaps", "true"), "UTC")
    bad = file.declarations[1]
    assert isinstance(bad.wanted, ValidationFailed)
    assert [file.where(bad, error.pointer) for error in bad.wanted.errors] == [
        "line 15, /action/headers/X-Count"
    ]
    assert file.where(bad, "") == "line 7"
    assert file.where(bad, "/nowhere/at/all") == "line 7, /nowhere/at/all"
    as_json = read_json(json.dumps({"tasks": [{"name": "a"}, 7]}), "UTC")
    assert [one.place for one in as_json.declarations] == ["tasks[0]", "tasks[1]"]
    assert as_json.where(as_json.declarations[0], "/trigger") == "/trigger"
    assert all(isinstance(one.wanted, Exception) for one in as_json.declarations)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no list of tasks"),
        ("- a", "no list of tasks"),
        ("tasks: 1", "no list of tasks"),
        ("task: []", "no list of tasks"),
        ("tasks: []\nversion: 2", '"version" is not known here'),
        ("tasks: []\ntimezone: 7", 'timezone "7" is none'),
        ("tasks: [", "line 1"),
        ("tasks: []\ntasks: []", "line 2: the key 'tasks' is there twice"),
        ("tasks: !!python/object:os.system []", "!!python/object:os.system is not known here"),
        ("a: 1\n---\nb: 2", "line 2"),
        ("tasks: \x01", "not YAML"),
    ],
)
def test_a_file_that_holds_no_tasks_says_why(text: str, said: str) -> None:
    with pytest.raises(TaskFileUnreadable, match=said):
        read_yaml(text, "UTC")


def test_a_file_that_is_no_json_says_why() -> None:
    with pytest.raises(TaskFileUnreadable, match="this is not JSON"):
        read_json("{", "UTC")


@given(JSON)
def test_yaml_comes_back_as_it_was_and_means_the_same_to_other_readers(value: Any) -> None:
    text = dumped(value)
    assert json.dumps(parsed(text).value) == json.dumps(value)
    assert json.dumps(yaml.safe_load(text)) == json.dumps(value)


def test_unquoted_words_and_dates_are_strings() -> None:
    text = "[on, no, 2030-01-01, 12:30:00, 010, 0x1F, 1_000, 1e3, 1.5, -7, TRUE, ~]"
    assert parsed(text).value == [
        *("on", "no", "2030-01-01", "12:30:00", "010", "0x1F", "1_000"),
        *(1000.0, 1.5, -7, True, None),
    ]


def test_anchors_and_merges_save_typing() -> None:
    text = "base: &base {a: 1, b: 2}\nmine: {<<: *base, b: 3}"
    assert parsed(text).value["mine"] == {"a": 1, "b": 3}
    with pytest.raises(NotYaml, match="line 1"):
        parsed("a: *nowhere")


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("name: {{ x }}", "put what begins with a brace, such as {{ x }}, in quotes"),
        ("? [a]\n  : 1", "a key must be a word"),
        ("payload: !!binary aGk=", "!!binary is not known here: leave it out"),
        ("payload: !!set {a, b}", "!!set is not known here"),
        ("payload: !!timestamp 2030-01-01", "!!timestamp is not known here"),
        ("payload: !!timestamp soon", "!!timestamp is not known here"),
        ("payload: !!python/object:os.system x", "!!python/object:os.system is not known here"),
        ("payload: !mine x", "!mine is not known here"),
        ("payload: !!int x", "this is no !!int: leave the tag out"),
        ("payload: !!bool x", "this is no !!bool: leave the tag out"),
    ],
)
def test_what_only_yaml_has_is_refused_with_its_line(entry: str, said: str) -> None:
    with pytest.raises(TaskFileUnreadable) as refused:
        read_yaml(f"tasks:\n- {entry}\n", "UTC")
    assert str(refused.value).startswith("this is not YAML: line 2: ")
    assert said in str(refused.value)


FILE = read_yaml("tasks:\n- name: a\n  oops: 1\n- name: b\n", "UTC")


async def test_each_step_is_told_in_the_order_of_the_file_and_what_is_unchanged_is_counted() -> None:
    world = World()
    await world.create(name="changed", trigger=every(60), url="http://127.0.0.1/?old")
    await world.create(name="kept")
    ended = await world.create(name="gone")
    steps = await planned(
        world,
        declared(name="new"),
        declared(1, name="changed", trigger=every(90), url="http://127.0.0.1/?new", paused=True),
        declared(2, name="kept"),
        prune=True,
    )
    assert [line for step in steps for line in told(step, FILE)] == [
        "+ new",
        "~ changed",
        "    trigger.every_seconds: 60 -> 90",
        "    action.url differs",
        "    is paused",
        f"- gone ({ended}) is cancelled",
    ]
    assert summary(steps) == "1 to create, 1 to change, 1 to cancel, 1 unchanged"
    assert accomplished(steps) == "1 created, 1 changed, 1 cancelled"


async def test_headers_and_payloads_may_be_secret() -> None:
    world = World()
    stored = definition(name="a")
    old = replace(
        stored,
        action=replace(stored.action, payload={"token": "old"}, headers={"Authorization": "Basic old"}),
    )
    new = replace(stored, action=replace(stored.action, payload={"token": "new"}, headers={"X-Key": "new"}))
    await world.commands.create(old, REQUEST)
    assert summary(await planned(world, declared(wanted=old))) == "1 unchanged"
    [step] = await planned(world, declared(wanted=new))
    assert [*told(step, FILE)] == [
        "~ a",
        "    action.headers.Authorization differs",
        "    action.headers.X-Key differs",
        "    action.payload.token differs",
    ]


async def test_of_a_url_only_what_is_no_secret_is_told() -> None:
    world = World()
    await world.create(name="a", url="http://127.0.0.1/a?token=old")
    [step] = await planned(world, declared(name="a", url="http://127.0.0.1/b?token=new"))
    assert [*told(step, FILE)] == [
        "~ a",
        '    action.url: "http://127.0.0.1/a" -> "http://127.0.0.1/b"',
    ]


async def test_what_an_answer_has_to_hold_may_be_secret() -> None:
    world = World()
    stored = definition(name="a")
    await world.commands.create(stored, REQUEST)
    success = replace(stored.success, body_contains="s3cret")
    [step] = await planned(world, declared(wanted=replace(stored, success=success)))
    assert [*told(step, FILE)] == ["~ a", "    success.body_contains differs"]


async def test_what_is_wrong_is_told_with_all_its_places() -> None:
    steps = await planned(World(), *FILE.declarations)
    lines = [line for step in steps for line in told(step, FILE)]
    assert lines[0] == '! tasks[0] (line 2), "a":'
    assert any(line.startswith('    line 3, /oops: "oops" is not a field of a task') for line in lines)
    assert [line for line in lines if line.startswith("!")] == [lines[0], '! tasks[1] (line 4), "b":']
    assert summary(steps) == "2 wrong"
    [single] = await planned(World(), declared(wanted=TaskNotFound(TASK)))
    assert [*told(single, FILE)] == [f"! tasks[0]: There is no task {TASK}; check the id."]


async def test_what_is_there_on_one_side_only_is_told_as_nothing() -> None:
    world = World()
    await world.create(name="a")
    [step] = await planned(world, declared(name="a", trigger=every(60, end_at=after(1_000))))
    lines = [*told(step, FILE)]
    assert any(line.endswith("-> nothing") for line in lines)
    assert any("trigger.every_seconds: nothing -> 60" in line for line in lines)


def test_no_tasks_are_told_as_such() -> None:
    assert summary([]) == "no tasks"
