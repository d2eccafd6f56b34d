"""Bodies: whatever is sent is read or refused, and every fault is told with its place and what to change."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from domain.errors import InvalidBody, ValidationFailed
from interfaces.http.bodies import Backfilling, Pausing, RollingBack, TaskDefinition
from interfaces.http.body_errors import DEEPEST_NESTING, MOST_TOLD, digest, read, read_task
from interfaces.http.bulk import UnreadTasks
from interfaces.http.problems import MalformedBody
from interfaces.http.simulation import SimulationRequest
from tests.support.http_service import HttpService, assert_a_problem, http_service, task_json

DAY = {"start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z"}
INSTANT = 'an instant by ISO 8601, with its offset, such as "20'


def cron(**more: Any) -> dict[str, Any]:
    return task_json(trigger={"type": "cron", "cron": "* * * * *", **more})


def interval(**more: Any) -> dict[str, Any]:
    return task_json(trigger={"type": "interval", "every_seconds": 60, **more})


def action(**changes: Any) -> dict[str, Any]:
    return task_json(action={"method": "GET", "url": "http://localhost/"} | changes)


FAULTS: list[tuple[type[Struct], Any, dict[str, str]]] = [
    (TaskDefinition, [], {"": "This is an array: give an object with name, trigger, action,"}),
    (TaskDefinition, None, {"": "This is null: give an object"}),
    (
        TaskDefinition,
        {},
        {
            "/name": 'add it, such as "Website Health Check"',
            "/trigger": 'add it, such as {"type": "cron", "cron": "0 9 * * *"}',
            "/action": 'add it, such as {"method": "GET", "url": ',
        },
    ),
    (
        TaskDefinition,
        {"name": "x", "trigger": {}, "action": {}, "retry": {}, "success": {"json": {}}, "overlap": {}},
        {
            "/trigger/type": 'This field is missing: give "one-off", "cron" or "interval".',
            "/action/method": "missing",
            "/action/url": 'such as "https',
            "/success/json/pointer": "missing",
            "/success/json/equals": 'add it, such as "done".',
        },
    ),
    (
        TaskDefinition,
        {
            "nam": 7,
            "trigger": {"type": "cron", "crom": 1},
            "action": {"method": 5, "url": "", "header": {}, "timeout_seconds": 0},
        },
        {
            "/name": "missing",
            "/nam": 'is not a field of a task: did you mean "name"? Known are name, trigger,',
            "/trigger/cron": "missing",
            "/trigger/crom": 'is not a field of a cron trigger: did you mean "cron"?',
            "/action/method": "This is a whole number: give a string, such as",
            "/action/url": "will not do. Absolute, http or https, at most 2,048 characters.",
            "/action/timeout_seconds": "0 is out of range: give more than 0 and at most 3,600.",
            "/action/header": 'is not a field of action: did you mean "headers"?',
        },
    ),
    (
        TaskDefinition,
        task_json(id="7", version=3),
        {"/id": "is set by the service: leave it out.", "/version": "is set by the service"},
    ),
    (TaskDefinition, task_json(trigger="daily"), {"/trigger": "This is a string: give an object, such as"}),
    (
        TaskDefinition,
        task_json(trigger={"type": "daily"}),
        {"/trigger/type": '"daily" is not a kind of trigger: give "one-off", "cron" or "interval".'},
    ),
    (TaskDefinition, task_json(trigger={"type": {}}), {"/trigger/type": "{} is not a kind of trigger"}),
    (TaskDefinition, interval(cron="x"), {"/trigger/cron": "is not a field of an interval trigger"}),
    (
        TaskDefinition,
        interval(every_seconds=0.5),
        {"/trigger/every_seconds": "a number: give a whole number"},
    ),
    (TaskDefinition, interval(every_seconds=None), {"/trigger/every_seconds": "This is null: give a whole"}),
    (TaskDefinition, interval(max_runs=1.5), {"/trigger/max_runs": "give a whole number, such as 10."}),
    (TaskDefinition, interval(anchor="noon"), {"/trigger/anchor": f'"noon" is not {INSTANT}'}),
    (TaskDefinition, cron(start_at=5), {"/trigger/start_at": f"This is a whole number: give {INSTANT}"}),
    (TaskDefinition, action(headers={"A": "x", "X~Y": 1}), {"/action/headers/X~0Y": "give a string."}),
    (TaskDefinition, action(max_redirects=None), {"/action/max_redirects": "This is null: give a whole"}),
    (TaskDefinition, task_json(priority="high"), {"/priority": "give a whole number, such as 5."}),
    (TaskDefinition, task_json(priority=True), {"/priority": "This is true or false: give a whole number"}),
    (
        TaskDefinition,
        task_json(
            retry={"max_attempts": "3", "backoff": "quadratic", "statuses": [[503], True, 200.5, "5xx"]},
            success={"statuses": 200, "body_contains": 5, "json": "/a"},
            catch_up={"mode": ["all"], "window_seconds": "1h"},
            overlap="skip",
            delivery="exactly_once",
        ),
        {
            "/retry/max_attempts": "This is a string: give a whole number",
            "/retry/backoff": '"quadratic" is none of the choices: give "exponential", "fixed" or "linear".',
            "/retry/statuses/0": "[503] will not do. A status is one such as 503, or a class such as 5xx.",
            "/retry/statuses/1": "true will not do.",
            "/retry/statuses/2": "200.5 will not do.",
            "/success/statuses": 'This is a whole number: give an array, such as ["200", "202"].',
            "/success/body_contains": 'give a string, such as "OK".',
            "/success/json": 'give an object, such as {"pointer": "/state", "equals": "done"}.',
            "/catch_up/mode": '["all"] is none of the choices',
            "/catch_up/window_seconds": "give a whole number, such as 3600.",
            "/overlap": "This is a string: give an object with mode, max_running, max_queued.",
            "/delivery": '"exactly_once" is none of the choices: give "at_least_once" or "at_most_once".',
        },
    ),
    (Pausing, ["x"], {"": "This is an array: give an object with note."}),
    (Pausing, {"note": 5, "nota": "x"}, {"/note": "a string", "/nota": "is not a field here"}),
    (
        Pausing,
        {"note": "x" * 1_001},
        {"/note": "will not do. Why, for whoever looks at it later: at most 1,000"},
    ),
    (
        RollingBack,
        {"revision": 1, "to": "1"},
        {"/revision": "Known are to.", "/to": "a whole number, such as 1"},
    ),
    (RollingBack, {"to": 0}, {"/to": "0 is out of range: give 1 to 1,000,000,000."}),
    (Backfilling, {"start": "yesterday"}, {"/start": f"is not {INSTANT}", "/end": "add it, such as"}),
    (Backfilling, DAY | {"start": "2026-01-01T00:00:00"}, {"/start": f"is not {INSTANT}"}),
    (
        Backfilling,
        DAY | {"limit": 501, "until": 1},
        {"/limit": "give 1 to 500.", "/until": "Known are start, end"},
    ),
    (UnreadTasks, {"tasks": []}, {"/tasks": "[] will not do. Give 1 to 1,000 tasks."}),
    (UnreadTasks, {"tasks": "[]"}, {"/tasks": "give an array"}),
    (SimulationRequest, [], {"": "This is an array: give an object with task_id, filter, definition"}),
    (
        SimulationRequest,
        {"windows": 1, "task_id": "7", "past": {}, "future": 7, "filter": {"nam": "x", "status": "x"}},
        {
            "/windows": "Known are task_id, filter, definition",
            "/task_id": '"7" is not a UUID.',
            "/past/from": 'add it, such as "2026',
            "/future": "This is a whole number: give an object with from, to.",
            "/filter/nam": 'is not a field of filter: did you mean "name"?',
            "/filter/status": "give ",
        },
    ),
    (
        SimulationRequest,
        {"definition": {"name": 7}, "limit": 1_001, "duration_ms": -1, "past": {"from": "now"}},
        {
            "/definition/name": "give a string",
            "/definition/trigger": "missing",
            "/definition/action": "missing",
            "/limit": "1001 is out of range: give 0 to 1,000.",
            "/duration_ms": "give 0 to 86,400,000.",
            "/past/from": f'"now" is not {INSTANT}',
        },
    ),
]


@pytest.mark.parametrize(("shape", "document", "told"), FAULTS)
def test_every_fault_is_told_at_once_with_its_place_and_what_to_change(
    shape: type[Struct], document: Any, told: dict[str, str]
) -> None:
    with pytest.raises(ValidationFailed) as refusal:
        read(json.dumps(document).encode(), shape)
    assert isinstance(refusal.value, InvalidBody) == (shape is not TaskDefinition)
    details = {error.pointer: error.detail for error in refusal.value.errors}
    assert details.keys() == told.keys()
    assert len(details) == len(refusal.value.errors)
    for pointer, detail in told.items():
        assert detail in details[pointer]


def test_a_whole_number_may_be_written_as_a_fraction_as_json_schema_has_it() -> None:
    body = json.dumps(task_json(priority=3, success={"statuses": [200]}))
    task = read_task(body.replace(": 3", ": 3.0").replace("200", "200.0").encode())
    assert (task.priority, task.to_domain("UTC").success.statuses) == (3, ("200",))


def test_a_member_that_is_given_twice_is_told_of() -> None:
    body = json.dumps(task_json())[:-1].encode() + b', "retry": {"statuses": [true]}, "retry": {}}'
    with pytest.raises(ValidationFailed, match=r"at `\$\.retry\.statuses.*give each member once"):
        read_task(body)


LARGE = "This number is too large to be read: give a smaller one, or a string."


@pytest.mark.parametrize("number", ["1e999", "9" * 5_000, "-1e999"])
def test_a_number_that_cannot_be_read_is_told_beside_the_other_faults(number: str) -> None:
    body = json.dumps(task_json(nam="x", action={"method": "GET", "payload": [0, {"a": "?"}]}))
    with pytest.raises(ValidationFailed) as refusal:
        read_task(body.replace('"?"', number).encode())
    details = {error.pointer: error.detail for error in refusal.value.errors}
    assert details.keys() == {"/action/payload/1/a", "/action/url", "/nam"}
    assert details["/action/payload/1/a"] == LARGE


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"{", "not JSON"),
        (b'{"name": 7', "not JSON"),
        (b'{"nam": 1e999, "x": NaN}', "not JSON"),
        (b'{"nam": 1e999, "x": "\\ud800"}', "not JSON"),
        (b'{"name": "\\ud800"}', "not JSON"),
        (b'{"name": "\xff"}', "byte 10 is not UTF-8"),
        (b'{"nam": 1e999, "x": "\xff"}', "byte 21 is not UTF-8"),
        (b"\xef\xbb\xbf{}", "byte order mark; leave that out"),
        (b'{"name": ' + b"[" * 50_000, "nested too deeply: flatten it."),
        (b'{"nam": 1e999, "x": ' + b"[" * 50_000, "nested too deeply: flatten it."),
    ],
)
def test_what_is_no_json_is_told_as_such(body: bytes, told: str) -> None:
    with pytest.raises(MalformedBody, match=told):
        read_task(body)


@pytest.mark.parametrize(
    "document",
    [
        {f"field {number}": 0 for number in range(50_000)},
        {"retry": {"statuses": [[] for _ in range(300_000)]}},
        {"action": {"headers": {str(number): 1 for number in range(50_000)}}},
        {"trigger": [[]] * 300_000, "name": "x" * 100_000},
    ],
    ids=["members", "statuses", "headers", "a long trigger"],
)
@pytest.mark.timeout(60)  # to check all of them takes long
def test_of_very_many_faults_some_are_told(document: Any) -> None:
    body = json.dumps(document).encode()
    with pytest.raises(ValidationFailed) as refusal:
        read_task(body)
    assert len(refusal.value.errors) <= MOST_TOLD


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = [*TaskDefinition.__struct_fields__, "type", "cron", "datetime", "url", "headers", "statuses", "json"]
nearly = st.recursive(
    scalars | st.sampled_from(["cron", "one-off", "2030-01-01T12:00:00Z", "skip", "5xx"]),
    lambda inner: st.dictionaries(st.sampled_from(NAMES), inner, max_size=5) | st.lists(inner, max_size=3),
    max_leaves=12,
)


def outcome(body: bytes) -> TaskDefinition | ValidationFailed | MalformedBody:
    try:
        return read_task(body)
    except (ValidationFailed, MalformedBody) as refusal:
        return refusal


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    outcome(body)


@given(anything | nearly)
def test_a_refusal_of_json_points_into_it(value: Any) -> None:
    refusal = outcome(json.dumps(value).encode())
    assert isinstance(refusal, ValidationFailed)
    assert refusal.errors
    for error in refusal.errors:
        parent, slash, _ = error.pointer.rpartition("/")
        assert not slash or isinstance(found(value, parent), dict | list)


@given(changes=st.dictionaries(st.sampled_from(TaskDefinition.__struct_fields__), nearly, min_size=1))
@settings(max_examples=200)
def test_a_refusal_of_a_spoilt_task_points_at_what_was_spoilt(changes: dict[str, Any]) -> None:
    refusal = outcome(json.dumps({**task_json(), **changes}).encode())
    if isinstance(refusal, ValidationFailed):
        assert {error.pointer.split("/")[1] for error in refusal.errors} <= set(changes)


def found(document: Any, pointer: str) -> Any:
    for step in pointer.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        document = document[int(name)] if isinstance(document, list) else document[name]
    return document


@given(anything)
def test_the_digest_does_not_depend_on_spacing_or_order(value: Any) -> None:
    compact = json.dumps(value, separators=(",", ":"), sort_keys=True).encode()
    spacious = json.dumps(value, indent=4).encode()
    assert digest(compact) == digest(spacious)


def test_other_json_has_another_digest() -> None:
    bodies = [b'{"a":1,"b":2}', b'{"a":2,"b":1}', b'{"a":1}', b'{"a":"1"}', b'{"a":[1]}', b"{}", b"1e999"]
    assert len({digest(body) for body in bodies}) == len(bodies)


def nested(levels: int) -> Any:
    value: Any = "innermost"
    for level in range(levels):
        value = [value] if level % 2 else {"in": value}
    return value


@pytest.mark.parametrize(("levels", "accepted"), [(DEEPEST_NESTING, True), (DEEPEST_NESTING + 1, False)])
@pytest.mark.parametrize("place", ["", "/definition"])
def test_json_that_is_passed_on_may_be_nested_so_deeply_and_no_deeper(
    levels: int, place: str, *, accepted: bool
) -> None:
    task = action(payload=nested(levels)) | {"success": {"json": {"pointer": "/a", "equals": nested(levels)}}}
    body = json.dumps({"definition": task} if place else task).encode()
    shape: type[Struct] = SimulationRequest if place else TaskDefinition
    if accepted:
        assert isinstance(read(body, shape), shape)
        return
    with pytest.raises(ValidationFailed, match="flatten it") as refusal:
        read(body, shape)
    pointers = [error.pointer for error in refusal.value.errors]
    assert pointers == [f"{place}/action/payload", f"{place}/success/json/equals"]


@pytest.fixture
async def service() -> AsyncIterator[HttpService]:
    async with http_service(max_body_bytes=100_000) as running:
        yield running


JSON = {"Content-Type": "application/json"}
VALID = json.dumps(task_json()).encode()
REFUSED: dict[str, tuple[bytes, dict[str, str], int, str, str]] = {
    "no JSON": (b"{", JSON, 400, "malformed-json", "not JSON"),
    "no body": (b"", JSON, 400, "malformed-json", "has no body"),
    "payload nested without end": (
        VALID.replace(b'"daily"', b"[" * 40_000 + b"]" * 40_000),
        *(JSON, 400, "malformed-json", "flatten"),
    ),
    "another shape": (b"[]", JSON, 422, "invalid-task", "This is an array: give an object"),
    "a broken rule": (
        VALID.replace(b"0 9", b"61 9"),
        JSON,
        422,
        "invalid-task",
        '/trigger/cron: The minute "61"',
    ),
    "a number too large": (VALID.replace(b'"daily"', b"1e999"), JSON, 422, "invalid-task", "too large"),
    "over the limit": (b" " * 100_001, JSON, 413, "body-too-large", "100000 bytes"),
    "undeclared": (VALID, {}, 415, "unsupported-media-type", "Send Content-Type: application/json"),
    "text": (VALID, {"Content-Type": "text/plain"}, 415, "unsupported-media-type", "application/json"),
    "another charset": (
        *(VALID, {"Content-Type": "application/json; charset=utf-16"}),
        *(415, "unsupported-media-type", "UTF-8"),
    ),
    "compressed": (
        *(VALID, JSON | {"Content-Encoding": "gzip"}),
        *(415, "unsupported-media-type", "Content-Encoding"),
    ),
}


@pytest.mark.parametrize(("body", "headers", "status", "slug", "told"), REFUSED.values(), ids=REFUSED)
async def test_a_wrong_body_is_refused_and_changes_nothing(
    service: HttpService, body: bytes, headers: dict[str, str], status: int, slug: str, told: str
) -> None:
    task = await service.create()
    for method, path in (("POST", "/api/v1/tasks"), ("PUT", f"/api/v1/tasks/{task['id']}")):
        answer = await service.client.request(method, path, content=body, headers=headers)
        assert answer.status_code == status, answer.text
        assert answer.json()["type"] == f"/problems/{slug}"
        assert told in answer.json()["detail"]
        assert_a_problem(answer)
    assert len(service.log.facts()) == 1


async def test_everything_that_breaks_a_rule_is_told_at_once(service: HttpService) -> None:
    answer = await service.client.post(
        "/api/v1/tasks",
        json=task_json(
            name=" ",
            retry={"max_attempts": 0, "statuses": [600]},
            success={"statuses": [], "body_contains": ""},
            catch_up={"mode": "skip", "window_seconds": 5},
            overlap={"mode": "allow", "max_running": 1, "max_queued": 1},
            priority=0,
        ),
    )
    assert [error["pointer"] for error in answer.json()["errors"]] == [
        "/name",
        "/retry/max_attempts",
        "/retry/statuses/0",
        "/success/statuses",
        "/success/body_contains",
        "/catch_up/window_seconds",
        "/overlap/max_running",
        "/overlap/max_queued",
        "/priority",
    ]


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/JSON; charset=UTF-8",
        "application/json;charset=utf8",
        "application/x+json",
    ],
)
async def test_every_name_of_json_is_understood(service: HttpService, content_type: str) -> None:
    answer = await service.client.post("/api/v1/tasks", content=VALID, headers={"Content-Type": content_type})
    assert answer.status_code == 201, answer.text


COMMANDS = {"pause": "note", "backfill": "start", "rollback": "to"}


@pytest.mark.parametrize(("command", "member"), COMMANDS.items())
async def test_a_wrong_body_of_a_command_is_refused(service: HttpService, command: str, member: str) -> None:
    path = f"/api/v1/tasks/{(await service.create())['id']}/{command}"
    wrong = await service.client.post(path, json={member: []})
    assert (wrong.status_code, wrong.json()["type"]) == (422, "/problems/invalid-body")
    assert f"/{member}" in [error["pointer"] for error in wrong.json()["errors"]]
    assert_a_problem(wrong)
    broken = await service.client.post(path, content=b"{", headers=JSON)
    assert (broken.status_code, broken.json()["type"]) == (400, "/problems/malformed-json")
    assert (await service.client.post(path, content=b"note=x")).status_code == 415
    assert len(service.log.facts()) == 1
