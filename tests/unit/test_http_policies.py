"""Policies over the API: their defaults, how they are shown, and that a task can be sent back as read."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from application.ports import Group, Meta, NewFact
from domain.definition import Action, Cron, Definition, Interval, OneOff, RetryPolicy, Trigger
from domain.facts import TaskCreated
from tests.support.http_service import HttpService, task_json

DOCS = Path(__file__).parents[2] / "docs"
TASK = UUID("01940f3e-8a00-7c3d-9b51-2f6a7c1d0e42")
TOMORROW = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)

DEFAULTS: dict[str, Any] = {
    "retry": {
        "max_attempts": 3,
        "initial_delay_seconds": 1.0,
        "multiplier": 2.0,
        "max_delay_seconds": 300.0,
        "backoff": "exponential",
        "jitter": "slight",
        "max_elapsed_seconds": None,
        "statuses": ["408", "425", "429", "5xx"],
        "final_statuses": [],
        "max_retry_after_seconds": 3600.0,
        "on_gone": "stop",
        "disable_after_failures": None,
    },
    "success": {"statuses": ["2xx"], "body_contains": None, "json": None},
    "catch_up": {"mode": "latest", "window_seconds": None, "max_runs": None},
    "overlap": {"mode": "skip", "max_running": 1, "max_queued": None},
    "delivery": "at_least_once",
    "priority": 5,
}
WHOLE: dict[str, Any] = {
    "retry": {
        "max_attempts": 9,
        "initial_delay_seconds": 0.5,
        "multiplier": 2.0,
        "max_delay_seconds": 60.0,
        "backoff": "linear",
        "jitter": "full",
        "max_elapsed_seconds": 600.0,
        "statuses": ["404", "5xx"],
        "final_statuses": ["501"],
        "max_retry_after_seconds": 0.0,
        "on_gone": "fail",
        "disable_after_failures": 5,
    },
    "success": {
        "statuses": ["200", "202"],
        "body_contains": "é\n",
        "json": {"pointer": "/state~1/0", "equals": {"done": [True, None, 1.5]}},
    },
    "catch_up": {"mode": "all", "window_seconds": 86400, "max_runs": 12},
    "overlap": {"mode": "queue_all", "max_running": 2, "max_queued": 20},
    "delivery": "at_least_once",
    "priority": 1,
}
SET_BY_THE_SERVICE = {
    *("id", "namespace", "status", "next_run", "created_at", "updated_at", "version"),
    *("paused_at", "pause_note", "redacted_at"),
}


def policies(task: dict[str, Any]) -> dict[str, Any]:
    return {name: task[name] for name in DEFAULTS}


async def assert_a_put_of_it_changes_nothing(service: HttpService, path: str) -> None:
    shown = (await service.client.get(path)).json()
    body = {name: value for name, value in shown.items() if name not in SET_BY_THE_SERVICE}
    answer = await service.client.put(path, json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json() == shown
    assert len(service.log.facts()) == 1


async def test_policies_that_are_left_out_get_their_defaults(service: HttpService) -> None:
    assert policies(await service.create()) == DEFAULTS


async def test_empty_policies_get_the_same_defaults(service: HttpService) -> None:
    assert policies(await service.create(retry={}, success={}, catch_up={}, overlap={})) == DEFAULTS


async def test_whole_policies_come_back_as_they_were_sent_by_every_way(service: HttpService) -> None:
    task = await service.create(**WHOLE)
    assert policies(task) == WHOLE
    assert policies((await service.client.get(f"/api/v1/tasks/{task['id']}")).json()) == WHOLE
    assert policies((await service.client.get("/api/v1/tasks")).json()["items"][0]) == WHOLE
    hurried = await service.client.post(
        "/api/v1/tasks", json=task_json(**WHOLE), headers={"Prefer": "respond-async"}
    )
    assert policies(hurried.json()) == WHOLE


async def test_statuses_may_be_numbers_and_are_shown_once_as_text(service: HttpService) -> None:
    task = await service.create(
        retry={"statuses": [503, "503", "4XX", 429, "4xx"], "final_statuses": [404]},
        success={"statuses": [200, "3xx"]},
    )
    assert task["retry"]["statuses"] == ["503", "4xx", "429"]
    assert task["retry"]["final_statuses"] == ["404"]
    assert task["success"]["statuses"] == ["200", "3xx"]


async def stored(service: HttpService, trigger: Trigger) -> str:
    """The path of a task whose definition was stored before there were policies."""
    old = Definition(
        name="Old",
        trigger=trigger,
        action=Action(method="POST", url="http://localhost/"),
        retry=RetryPolicy(max_attempts=5),
    )
    fact = TaskCreated(at=TOMORROW, namespace="default", definition=old, next_run_at=TOMORROW)
    meta = Meta(actor="api", correlation_id="test", command_id=UUID(int=7))
    await service.log.append(Group(facts=(NewFact(TASK, 1, fact),), meta=meta))
    return f"/api/v1/tasks/{TASK}"


BEFORE_POLICIES: dict[str, Trigger] = {
    "cron": Cron(cron="* * * * *"),
    "interval": Interval(every_seconds=60, anchor=TOMORROW),
    "one-off": OneOff(datetime=TOMORROW),
}


@pytest.mark.parametrize("trigger", BEFORE_POLICIES.values(), ids=BEFORE_POLICIES)
async def test_a_task_of_before_there_were_policies_is_shown_as_it_behaves_and_can_be_sent_back(
    service: HttpService, trigger: Trigger
) -> None:
    path = await stored(service, trigger)
    task = (await service.client.get(path)).json()
    assert task["overlap"] == {"mode": "allow", "max_running": None, "max_queued": None}
    assert (task["retry"]["on_gone"], task["retry"]["max_retry_after_seconds"]) == ("fail", 0.0)
    await assert_a_put_of_it_changes_nothing(service, path)


async def test_a_put_that_leaves_policies_out_gives_an_old_task_the_defaults_of_today(
    service: HttpService,
) -> None:
    path = await stored(service, Cron(cron="0 9 * * *"))
    answer = await service.client.put(path, json=task_json())
    assert policies(answer.json()) == DEFAULTS


async def test_a_key_that_is_left_out_is_not_a_key_that_is_null(service: HttpService) -> None:
    for name in DEFAULTS:
        body = json.dumps({**task_json(), name: None})
        answer = await service.client.post(
            "/api/v1/tasks", content=body, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == 422, name
        assert answer.json()["errors"][0]["pointer"] == f"/{name}"


EXAMPLES = re.findall(
    r"^```json\n(.*?)^```$", (DOCS / "policies.md").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
)


@pytest.mark.parametrize("example", EXAMPLES)
async def test_every_task_of_the_guide_is_accepted(service: HttpService, example: str) -> None:
    answer = await service.client.post("/api/v1/tasks", json=json.loads(example))
    assert answer.status_code == 201, answer.text
    await assert_a_put_of_it_changes_nothing(service, answer.headers["location"])


def test_the_guide_has_a_task_for_every_policy() -> None:
    told = [json.loads(example) for example in EXAMPLES]
    assert set(DEFAULTS) <= {name for task in told for name in task}
    for policy in ("retry", "success", "catch_up", "overlap"):
        assert set(DEFAULTS[policy]) <= {name for task in told for name in task.get(policy, ())}, policy


def refusals() -> list[tuple[str, dict[str, Any], str]]:
    """The table of the guide's wrong combinations: what is sent, where it points, what is said."""
    guide = (DOCS / "policies.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\{.*\})` \| `(/.*)` \| (.*) \|$", guide, re.MULTILINE)
    return [(pointer, json.loads(sent), said) for sent, pointer, said in rows]


def test_the_guide_tells_the_wrong_combinations_of_every_policy() -> None:
    assert {pointer.split("/")[1] for pointer, _, _ in refusals()} == {"action", *DEFAULTS} - {"delivery"}
    assert len(refusals()) > 20


@pytest.mark.parametrize(("pointer", "sent", "said"), refusals())
async def test_every_wrong_combination_of_the_guide_is_refused_in_its_words(
    service: HttpService, pointer: str, sent: dict[str, Any], said: str
) -> None:
    answer = await service.client.post("/api/v1/tasks", json=task_json(**sent))
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"] == [{"pointer": pointer, "detail": said}]
    assert service.log.facts() == []
