"""Bad bodies: the right status, a problem that says what to change, and nothing stored."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.http_service import HttpService, assert_a_problem, http_service, task_json

JSON = {"Content-Type": "application/json"}
DEEP = "[" * 5_000 + "]" * 5_000


@pytest.fixture
async def service() -> AsyncIterator[HttpService]:
    async with http_service(max_body_bytes=100_000) as running:
        yield running


def action(**changes: Any) -> dict[str, Any]:
    return {"action": {"method": "GET", "url": "http://localhost/"} | changes}


def interval(every_seconds: object, **rest: object) -> dict[str, Any]:
    return {"trigger": {"type": "interval", "every_seconds": every_seconds, **rest}}


def cron(expression: str, **more: object) -> dict[str, Any]:
    return {"trigger": {"type": "cron", "cron": expression, **more}}


def one_off(instant: object, **more: str) -> dict[str, Any]:
    return {"trigger": {"type": "one-off", "datetime": instant, **more}}


WRONG_DEFINITIONS = {
    "unknown field": ({"nam": "x"}, "/nam", 'did you mean "name"'),
    "unknown field of a trigger": (cron("* * * * *", datetime="x"), "/trigger/datetime", "of a cron trigger"),
    "unknown field of an interval": (interval(60, cron="x"), "/trigger/cron", "of an interval trigger"),
    "unknown field of an action": (action(header={}), "/action/header", 'did you mean "headers"'),
    "unknown field of retries": ({"retry": {"attempts": 1}}, "/retry/attempts", "max_attempts"),
    "read-only field": ({"version": 3}, "/version", "leave it out"),
    "missing name": ({"name": None}, "/name", "missing"),
    "missing url": ({"action": {"method": "GET"}}, "/action/url", "such as"),
    "missing type": ({"trigger": {"cron": "* * * * *"}}, "/trigger/type", '"one-off", "cron"'),
    "wrong type": ({"name": 7}, "/name", "This is a whole number: give a string"),
    "number as a string": ({"retry": {"max_attempts": "3"}}, "/retry/max_attempts", "give a whole number"),
    "trigger of another type": ({"trigger": "daily"}, "/trigger", "give an object"),
    "unknown kind of trigger": ({"trigger": {"type": "daily"}}, "/trigger/type", '"one-off", "cron"'),
    "header that is no string": (action(headers={"A": "x", "X/Y": 1}), "/action/headers/X~1Y", "a string"),
    "no instant": (one_off("tomorrow"), "/trigger/datetime", "2030-01-01T12:00:00Z"),
    "number as an instant": (one_off(1893456000), "/trigger/datetime", "give an instant"),
    "instant before years": (one_off("0001-01-01T00:00:00+14:00"), "/trigger/datetime", "year 9998"),
    "one-off long ago": (one_off("2020-01-01T12:00:00Z"), "/trigger/datetime", "in the past"),
    "bad cron": (cron("61 * * * *"), "/trigger/cron", 'The minute "61"'),
    "cron that never fires": (cron("0 0 31 2 *"), "/trigger/cron", "never"),
    "cron of seven fields": (cron("0 0 * * * * 2030"), "/trigger/cron", "5 fields"),
    "interval of nothing": (interval(0), "/trigger/every_seconds", "give 1 to"),
    "interval of half a second": (interval(0.5), "/trigger/every_seconds", "give a whole number, such as 90"),
    "interval that is left out": (interval(None), "/trigger/every_seconds", "give a whole number"),
    "anchor that is no instant": (interval(60, anchor="noon"), "/trigger/anchor", "2030-01-01T12:00:00Z"),
    "start that is no instant": (interval(60, start_at="noon"), "/trigger/start_at", "is not an instant"),
    "no run at all": (interval(60, max_runs=0), "/trigger/max_runs", "give 1 to"),
    "half a run": (interval(60, max_runs=1.5), "/trigger/max_runs", "such as 10"),
    "jitter of a week": (cron("0 0 * * 0", jitter_seconds=604800), "/trigger/jitter_seconds", "0 to 86400"),
    "jitter beyond the interval": (interval(60, jitter_seconds=61), "/trigger/jitter_seconds", "at most 60"),
    "end before the start": (
        interval(60, start_at="2031-01-01T00:00:00Z", end_at="2030-01-01T00:00:00Z"),
        "/trigger/end_at",
        "give 2031-01-01T00:00:00+00:00 or later",
    ),
    "end in the past": (interval(60, end_at="2020-01-01T00:00:00Z"), "/trigger/end_at", "later end_at"),
    "unknown time zone": (cron("* * * * *", timezone="Europe/Berlinn"), "/trigger/timezone", "Europe/Berlin"),
    "empty time zone": (cron("* * * * *", timezone=""), "/trigger/timezone", "IANA name"),
    "path as a time zone": (cron("* * * * *", timezone="../etc/passwd"), "/trigger/timezone", "IANA name"),
    "url that is not http": (action(url="ftp://localhost/"), "/action/url", "http:// or https://"),
    "line break in a header": (
        action(headers={"X-A": "b\r\nc: d"}),
        "/action/headers/X-A",
        "control character",
    ),
    "name over 255": ({"name": "x" * 256}, "/name", "255"),
    "blank name": ({"name": "   "}, "/name", "blank"),
    "NUL in a name": ({"name": "a\u0000b"}, "/name", "control characters"),
    "CONNECT": (action(method="CONNECT"), "/action/method", "give one of GET"),
    "timeout of 0": (action(timeout_seconds=0), "/action/timeout_seconds", "at most 3600"),
    "no attempts": ({"retry": {"max_attempts": 0}}, "/retry/max_attempts", "give 1 to 100"),
    "payload nested without end": (
        action(payload=json.loads("[" * 200 + "]" * 200)),
        "/action/payload",
        "flatten",
    ),
}


@pytest.mark.parametrize(("changes", "pointer", "told"), WRONG_DEFINITIONS.values(), ids=WRONG_DEFINITIONS)
async def test_a_wrong_definition_is_refused_naming_the_field(
    service: HttpService, changes: dict[str, Any], pointer: str, told: str
) -> None:
    answer = await service.client.post("/api/v1/tasks", json=task_json(**changes))
    problem = answer.json()
    assert answer.status_code == 422, problem
    assert problem["type"] == "/problems/invalid-task"
    assert pointer in [error["pointer"] for error in problem["errors"]]
    assert told in problem["detail"]
    assert_a_problem(answer)
    assert service.log.facts() == []


@pytest.mark.parametrize(("changes", "pointer", "told"), WRONG_DEFINITIONS.values(), ids=WRONG_DEFINITIONS)
async def test_a_wrong_replacement_changes_nothing(
    service: HttpService, changes: dict[str, Any], pointer: str, told: str
) -> None:
    task = await service.create()
    answer = await service.client.put(f"/api/v1/tasks/{task['id']}", json=task_json(**changes))
    assert answer.status_code == 422
    assert pointer in [error["pointer"] for error in answer.json()["errors"]]
    assert told in answer.json()["detail"]
    assert len(service.log.facts()) == 1


VALID = json.dumps(task_json()).encode()
WRONG_BODIES = {
    "no JSON": (b"{", JSON, 400, "malformed-json", "not JSON"),
    "no body": (b"", JSON, 400, "malformed-json", "has no body"),
    "not UTF-8": (b'{"name": "\xff"}', JSON, 400, "malformed-json", "byte 10 is not UTF-8"),
    "a byte order mark": (b"\xef\xbb\xbf" + VALID, JSON, 400, "malformed-json", "leave that out"),
    "half a surrogate pair": (b'{"name": "\\ud800"}', JSON, 400, "malformed-json", "not JSON"),
    "NaN": (VALID.replace(b'"daily"', b"NaN"), JSON, 400, "malformed-json", "not JSON"),
    "nested without end": (DEEP.encode(), JSON, 422, "invalid-task", "give an object"),
    "payload nested without end": (
        VALID.replace(b'"daily"', b"[" * 40_000 + b"]" * 40_000),
        JSON,
        400,
        "malformed-json",
        "flatten",
    ),
    "an array": (b"[]", JSON, 422, "invalid-task", "This is an array: give an object"),
    "null": (b"null", JSON, 422, "invalid-task", "This is null: give an object"),
    "a number too long": (VALID.replace(b'"daily"', b"9" * 5_000), JSON, 422, "invalid-task", "too large"),
    "a number too large": (VALID.replace(b'"daily"', b"1e999"), JSON, 422, "invalid-task", "too large"),
    "over the limit": (b" " * 100_001, JSON, 413, "body-too-large", "100000 bytes"),
    "a form": (
        VALID,
        {"Content-Type": "application/x-www-form-urlencoded"},
        415,
        "unsupported-media-type",
        "Send Content-Type: application/json",
    ),
    "undeclared": (VALID, {}, 415, "unsupported-media-type", "Send Content-Type: application/json"),
    "text": (VALID, {"Content-Type": "text/plain"}, 415, "unsupported-media-type", "application/json"),
    "another charset": (
        VALID,
        {"Content-Type": "application/json; charset=utf-16"},
        415,
        "unsupported-media-type",
        "UTF-8",
    ),
    "compressed": (
        VALID,
        JSON | {"Content-Encoding": "gzip"},
        415,
        "unsupported-media-type",
        "Content-Encoding",
    ),
}


@pytest.mark.parametrize(
    ("body", "headers", "status", "slug", "told"), WRONG_BODIES.values(), ids=WRONG_BODIES
)
async def test_a_wrong_body_is_refused(
    service: HttpService, body: bytes, headers: dict[str, str], status: int, slug: str, told: str
) -> None:
    answer = await service.client.post("/api/v1/tasks", content=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.json()["type"] == f"/problems/{slug}"
    assert told in answer.json()["detail"]
    assert_a_problem(answer)
    assert service.log.facts() == []


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/JSON; charset=UTF-8",
        "application/json;charset=utf8",
        "application/vnd.task+json",
    ],
)
async def test_every_name_of_json_is_understood(service: HttpService, content_type: str) -> None:
    answer = await service.client.post("/api/v1/tasks", content=VALID, headers={"Content-Type": content_type})
    assert answer.status_code == 201, answer.text
