"""Pausing and resuming over HTTP, and what all commands about a task mind."""

from typing import Any

import pytest

from domain.facts import (
    TaskPaused,
)
from tests.support.http_service import HttpService, task_json

MISSING = "01940f3e-8a00-7c3d-9b51-2f6a7c1d0e42"


async def ask(service: HttpService, path: str, **options: Any) -> Any:
    return await service.client.post(f"/api/v1{path}", **options)


async def test_a_task_is_paused_with_a_note_and_resumed(service: HttpService) -> None:
    task = await service.create()
    answer = await ask(service, f"/tasks/{task['id']}/pause", json={"note": "moving house"})
    paused = answer.json()
    assert answer.status_code == 200
    assert (answer.headers["etag"], answer.headers["x-event-position"]) == ('"2"', "2")
    assert (paused["status"], paused["pause_note"], paused["version"]) == ("paused", "moving house", 2)
    assert paused["paused_at"] == paused["updated_at"]
    assert paused["next_run"] == task["next_run"]
    assert (await service.client.get(f"/api/v1/tasks/{task['id']}")).json() == paused
    resumed = (await ask(service, f"/tasks/{task['id']}/resume")).json()
    assert (resumed["status"], resumed["pause_note"], resumed["paused_at"]) == ("scheduled", None, None)


async def test_a_hurried_answer_about_a_pause_says_the_same(service: HttpService) -> None:
    task = await service.create()
    hurried = await ask(
        service, f"/tasks/{task['id']}/pause", json={"note": "x"}, headers={"Prefer": "respond-async"}
    )
    assert hurried.headers["preference-applied"] == "respond-async"
    assert hurried.json() == (await service.client.get(f"/api/v1/tasks/{task['id']}")).json()


@pytest.mark.parametrize("options", [{}, {"json": {}}, {"json": {"note": None}}])
async def test_a_pause_needs_no_note(service: HttpService, options: dict[str, Any]) -> None:
    task = await service.create()
    answer = await ask(service, f"/tasks/{task['id']}/pause", **options)
    assert (answer.status_code, answer.json()["pause_note"]) == (200, None)


async def test_pausing_or_resuming_twice_is_no_error(service: HttpService) -> None:
    task = await service.create()
    for _ in range(2):
        assert (await ask(service, f"/tasks/{task['id']}/pause")).status_code == 200
    assert sum(isinstance(fact, TaskPaused) for fact in service.log.facts()) == 1
    for _ in range(2):
        assert (await ask(service, f"/tasks/{task['id']}/resume")).json()["version"] == 3


async def test_a_paused_task_can_be_replaced_and_cancelled(service: HttpService) -> None:
    task = await service.create()
    path = f"/api/v1/tasks/{task['id']}"
    await ask(service, f"/tasks/{task['id']}/pause")
    replaced = (await service.client.put(path, json=task_json(name="other"))).json()
    assert (replaced["name"], replaced["status"]) == ("other", "paused")
    assert (await service.client.delete(path)).json()["status"] == "cancelled"


async def test_paused_tasks_can_be_listed(service: HttpService) -> None:
    task = await service.create()
    await service.create()
    await ask(service, f"/tasks/{task['id']}/pause")
    listed = (await service.client.get("/api/v1/tasks?status=paused")).json()["items"]
    assert [item["id"] for item in listed] == [task["id"]]


@pytest.mark.parametrize("command", ["pause", "resume", "trigger"])
async def test_commands_mind_the_version_the_end_and_the_id(service: HttpService, command: str) -> None:
    task = await service.create()
    stale = await ask(service, f"/tasks/{task['id']}/{command}", headers={"If-Match": '"9"'})
    assert (stale.status_code, stale.json()["type"]) == (412, "/problems/version-mismatch")
    await service.client.delete(f"/api/v1/tasks/{task['id']}")
    over = await ask(service, f"/tasks/{task['id']}/{command}")
    assert (over.status_code, over.json()["type"]) == (409, "/problems/task-already-over")
    missing = await ask(service, f"/tasks/{MISSING}/{command}")
    assert (missing.status_code, missing.json()["type"]) == (404, "/problems/task-not-found")
