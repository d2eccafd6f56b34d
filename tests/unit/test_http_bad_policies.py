"""Policies of the wrong shape: refused where they are wrong, with what to change."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.http_service import HttpService, assert_a_problem, http_service, task_json


@pytest.fixture
async def service() -> AsyncIterator[HttpService]:
    async with http_service() as running:
        yield running


def action(**changes: Any) -> dict[str, Any]:
    return {"action": {"method": "GET", "url": "http://localhost/"} | changes}


WRONG_SHAPES: dict[str, tuple[dict[str, Any], str, str]] = {
    "a mode alone": ({"overlap": "skip"}, "/overlap", 'give an object, such as {"mode": "skip"}.'),
    "an unknown mode": (
        {"overlap": {"mode": "SKIP"}},
        "/overlap/mode",
        '"SKIP" is none of the choices: give "allow", "skip", "queue_one", "queue_all" or "cancel_running".',
    ),
    "no mode": (
        {"catch_up": {"mode": None}},
        "/catch_up/mode",
        '"null" is none of the choices: give "skip",',
    ),
    "a mode in a list": (
        {"catch_up": {"mode": ["all"]}},
        "/catch_up/mode",
        '"["all"]" is none of the choices',
    ),
    "an unknown backoff": (
        {"retry": {"backoff": "quadratic"}},
        "/retry/backoff",
        'give "fixed", "linear" or "exponential".',
    ),
    "a jitter in numbers": ({"retry": {"jitter": 0.1}}, "/retry/jitter", 'give "none", "slight" or "full".'),
    "an unknown end": ({"retry": {"on_gone": "pause"}}, "/retry/on_gone", 'give "fail" or "stop".'),
    "exactly once": (
        {"delivery": "exactly_once"},
        "/delivery",
        'give "at_least_once" or "at_most_once".',
    ),
    "a bound in words": ({"overlap": {"max_running": "1"}}, "/overlap/max_running", "give a whole number"),
    "half a run": ({"overlap": {"max_running": 1.5}}, "/overlap/max_running", "a whole number, such as 1."),
    "a span in words": ({"catch_up": {"window_seconds": "1h"}}, "/catch_up/window_seconds", "such as 3600."),
    "a limit in words": (
        {"retry": {"max_elapsed_seconds": "10m"}},
        "/retry/max_elapsed_seconds",
        "give a number, such as 600.",
    ),
    "a priority in words": ({"priority": "high"}, "/priority", "give a whole number, such as 5."),
    "one status": ({"success": {"statuses": 200}}, "/success/statuses", "give an array, such as ["),
    "a status and a half": (
        {"success": {"statuses": [200, 200.5]}},
        "/success/statuses/1",
        '"200.5" is not a status: give one such as 503, or a class such as 5xx.',
    ),
    "a list of lists": ({"retry": {"statuses": [[503]]}}, "/retry/statuses/0", '"[503]" is not a status'),
    "true as a status": ({"retry": {"final_statuses": [True]}}, "/retry/final_statuses/0", '"true" is not'),
    "no such status": (
        {"retry": {"statuses": [503, 99]}},
        "/retry/statuses/1",
        "give 100 to 599, or a class",
    ),
    "a pointer alone": ({"success": {"json": "/a"}}, "/success/json", 'such as {"pointer": "/state",'),
    "no value to compare with": (
        {"success": {"json": {"pointer": "/a"}}},
        "/success/json/equals",
        'This field is missing: add it, such as "done".',
    ),
    "a path of another language": (
        {"success": {"json": {"pointer": "$.state", "equals": 1}}},
        "/success/json/pointer",
        '"$.state" is not a JSON pointer (RFC 6901)',
    ),
    "a member that is misspelt": (
        {"success": {"json": {"pointr": "/a", "equals": 1}}},
        "/success/json/pointr",
        '"pointr" is not a field of success.json: did you mean "pointer"? Known are pointer, equals.',
    ),
    "a policy that is misspelt": ({"catchup": {}}, "/catchup", 'did you mean "catch_up"?'),
    "text that is no text": ({"success": {"body_contains": 5}}, "/success/body_contains", "give a string"),
    "null where there is no null": (action(max_redirects=None), "/action/max_redirects", "a whole number"),
    "eleven redirects": (action(max_redirects=11), "/action/max_redirects", "give 0 to 10."),
    "a connection that takes longer than the call": (
        action(connect_timeout_seconds=31),
        "/action/connect_timeout_seconds",
        "give at most timeout_seconds (30), or leave it out.",
    ),
    "a number beyond all bounds": (
        {"overlap": {"max_running": 10**30}},
        "/overlap/max_running",
        "give 1 to 100.",
    ),
}


@pytest.mark.parametrize(("changes", "pointer", "told"), WRONG_SHAPES.values(), ids=WRONG_SHAPES)
async def test_a_policy_of_the_wrong_shape_is_refused_where_it_is_wrong(
    service: HttpService, changes: dict[str, Any], pointer: str, told: str
) -> None:
    answer = await service.client.post("/api/v1/tasks", json=task_json(**changes))
    assert answer.status_code == 422, answer.text
    assert told in {error["pointer"]: error["detail"] for error in answer.json()["errors"]}[pointer]
    assert_a_problem(answer)
    assert service.log.facts() == []


async def test_everything_that_is_wrong_with_policies_is_told_at_once(service: HttpService) -> None:
    answer = await service.client.post(
        "/api/v1/tasks",
        json=task_json(
            retry={"max_attempts": 0, "statuses": [600]},
            success={"statuses": [], "body_contains": ""},
            catch_up={"mode": "skip", "window_seconds": 5},
            overlap={"mode": "allow", "max_running": 1, "max_queued": 1},
            priority=0,
        ),
    )
    assert [error["pointer"] for error in answer.json()["errors"]] == [
        "/retry/max_attempts",
        "/retry/statuses/0",
        "/success/statuses",
        "/success/body_contains",
        "/catch_up/window_seconds",
        "/overlap/max_running",
        "/overlap/max_queued",
        "/priority",
    ]
