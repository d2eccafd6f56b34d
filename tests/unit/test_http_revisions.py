"""Revisions of a task's definition over HTTP."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import jsonschema_rs
import pytest

from interfaces.http.openapi import openapi_document
from tests.support.http_service import HttpService, assert_a_problem, task_json

UNKNOWN = str(UUID(int=404))


async def get(service: HttpService, path: str, schema: str) -> dict[str, Any]:
    answer = await service.client.get(f"/api/v1/tasks/{path}")
    found: dict[str, Any] = answer.json()
    assert answer.status_code == 200, found
    reference = {"$ref": f"#/components/schemas/{schema}", "components": openapi_document()["components"]}
    jsonschema_rs.validate(reference, found)
    return found


async def put(service: HttpService, task: dict[str, Any], **changes: Any) -> dict[str, Any]:
    answer = await service.client.put(f"/api/v1/tasks/{task['id']}", json=task_json(**changes))
    changed: dict[str, Any] = answer.json()
    assert answer.status_code == 200, changed
    return changed


async def changed_twice(service: HttpService) -> dict[str, Any]:
    task = await service.create()
    await put(service, task, trigger={"type": "cron", "cron": "30 9 * * *"})
    await put(service, task, name="Renamed", priority=1)
    return task


async def test_revisions_are_listed_the_latest_first(service: HttpService) -> None:
    task = await changed_twice(service)
    found = await get(service, f"{task['id']}/revisions", "RevisionPage")
    assert (found["total"], found["next_before"]) == (3, None)
    assert [(one["number"], one["version"], one["kind"], one["changed"]) for one in found["items"]] == [
        (3, 3, "updated", ["name", "trigger", "priority"]),
        (2, 2, "updated", ["trigger"]),
        (1, 1, "created", []),
    ]
    assert found["items"][2]["at"] == task["created_at"]
    assert "definition" not in found["items"][0]


async def test_revisions_are_read_page_by_page(service: HttpService) -> None:
    task = await changed_twice(service)
    first = await get(service, f"{task['id']}/revisions?limit=2", "RevisionPage")
    assert ([one["number"] for one in first["items"]], first["next_before"]) == ([3, 2], 2)
    last = await get(service, f"{task['id']}/revisions?limit=2&before=2", "RevisionPage")
    assert ([one["number"] for one in last["items"]], last["next_before"]) == ([1], None)
    beyond = await get(service, f"{task['id']}/revisions?limit=1&before=99", "RevisionPage")
    assert ([one["number"] for one in beyond["items"]], beyond["next_before"]) == ([3], 3)
    assert (await get(service, f"{task['id']}/revisions?before=1", "RevisionPage"))["items"] == []


async def test_a_revision_holds_the_whole_definition_as_put_takes_it(service: HttpService) -> None:
    task = await changed_twice(service)
    found = await get(service, f"{task['id']}/revisions/1", "Revision")
    assert found["definition"] == {name: task[name] for name in found["definition"]}
    answer = await service.client.put(f"/api/v1/tasks/{task['id']}", json=found["definition"])
    assert answer.status_code == 200, answer.text
    again = await get(service, f"{task['id']}/revisions/4", "Revision")
    assert again["definition"] == found["definition"]


async def test_two_revisions_are_compared_member_by_member(service: HttpService) -> None:
    task = await changed_twice(service)
    found = await get(service, f"{task['id']}/diff?from=1&to=2", "Diff")
    assert found == {
        "from": 1,
        "to": 2,
        "changes": [{"pointer": "/trigger/cron", "old": "0 9 * * *", "new": "30 9 * * *"}],
    }
    latest = await get(service, f"{task['id']}/diff", "Diff")
    assert (latest["from"], latest["to"]) == (2, 3)
    assert [change["pointer"] for change in latest["changes"]] == ["/name", "/trigger/cron", "/priority"]


async def test_a_member_that_is_not_there_is_left_out(service: HttpService) -> None:
    task = await service.create()
    await put(service, task, action={"method": "POST", "url": "https://api.example.com/", "payload": {}})
    found = await get(service, f"{task['id']}/diff", "Diff")
    assert {"pointer": "/action/payload/kind", "old": "daily"} in found["changes"]


@pytest.mark.parametrize(
    ("path", "slug"),
    [
        (f"{UNKNOWN}/revisions", "task-not-found"),
        (f"{UNKNOWN}/revisions/1", "task-not-found"),
        (f"{UNKNOWN}/diff", "task-not-found"),
        ("{id}/revisions/2", "revision-not-found"),
        ("{id}/diff?from=1&to=2", "revision-not-found"),
    ],
)
async def test_what_is_not_there_is_not_found(service: HttpService, path: str, slug: str) -> None:
    task = await service.create()
    answer = await service.client.get(f"/api/v1/tasks/{path.format(id=task['id'])}")
    assert (answer.status_code, answer.json()["type"]) == (404, f"/problems/{slug}")
    assert_a_problem(answer)


@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("{id}/revisions/0", "number"),
        ("{id}/revisions/latest", "number"),
        ("7/revisions/1", "id"),
        ("{id}/revisions?before=0", "before"),
        ("{id}/diff?from=x", "from"),
        ("{id}/diff?to=0", "to"),
    ],
)
async def test_a_wrong_number_is_refused_by_its_name(service: HttpService, path: str, parameter: str) -> None:
    task = await service.create()
    answer = await service.client.get(f"/api/v1/tasks/{path.format(id=task['id'])}")
    assert answer.status_code == 400
    assert [error["parameter"] for error in answer.json()["errors"]] == [parameter]


async def roll_back(service: HttpService, task: dict[str, Any], to: Any, **headers: str) -> httpx.Response:
    path = f"/api/v1/tasks/{task['id']}/rollback"
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return await service.client.post(path, json={"to": to}, headers=sent)


async def test_a_rollback_answers_with_the_task_as_it_was_defined(service: HttpService) -> None:
    task = await changed_twice(service)
    answer = await roll_back(service, task, 2, If_Match='"3"')
    assert answer.status_code == 200, answer.text
    assert (answer.headers["etag"], answer.headers["x-event-position"]) == ('"4"', "4")
    assert (answer.json()["name"], answer.json()["trigger"]["cron"]) == (task["name"], "30 9 * * *")
    found = await get(service, f"{task['id']}/revisions?limit=1", "RevisionPage")
    assert (found["items"][0]["kind"], found["items"][0]["rolled_back_to"]) == ("rolled_back", 2)
    assert (await get(service, f"{task['id']}/diff?from=2&to=4", "Diff"))["changes"] == []
    [event] = (await service.client.get(f"/api/v1/tasks/{task['id']}/events?after=3")).json()["items"]
    assert event["data"]["rolled_back_to"] == 2


async def test_a_repeated_rollback_is_refused_unless_it_has_a_key(service: HttpService) -> None:
    task = await changed_twice(service)
    for _ in range(2):
        answer = await roll_back(service, task, 1, Idempotency_Key="back-1", If_Match='"3"')
        assert (answer.status_code, answer.json()["version"]) == (200, 4)
    reused = await roll_back(service, task, 2, Idempotency_Key="back-1")
    assert reused.json()["type"] == "/problems/idempotency-key-reused"
    again = await roll_back(service, task, 1)
    assert (again.status_code, again.json()["type"]) == (409, "/problems/revision-is-current")
    assert_a_problem(again)


async def test_a_rollback_that_cannot_be_says_why_and_changes_nothing(service: HttpService) -> None:
    soon = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
    task = await service.create(trigger={"type": "one-off", "datetime": soon})
    await put(service, task)
    service.clock.ahead = timedelta(minutes=10)
    past = await roll_back(service, task, 1)
    assert (past.status_code, past.json()["type"]) == (409, "/problems/revision-inadmissible")
    assert [error["pointer"] for error in past.json()["errors"]] == ["/trigger/datetime"]
    unknown = await roll_back(service, task, 3)
    assert (unknown.status_code, unknown.json()["type"]) == (404, "/problems/revision-not-found")
    moved = await roll_back(service, task, 1, If_Match='"1"')
    assert moved.status_code == 412
    await service.client.delete(f"/api/v1/tasks/{task['id']}")
    over = await roll_back(service, task, 1)
    assert (over.status_code, over.json()["type"]) == (409, "/problems/task-already-over")
    for answer in (past, unknown, moved, over):
        assert_a_problem(answer)
    assert len(service.log.facts(UUID(task["id"]))) == 3
