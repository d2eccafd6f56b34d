"""Redacting tasks over HTTP: what is answered, what is shown afterwards, and every refusal."""

from typing import Any
from uuid import uuid4

import jsonschema_rs
import pytest

from interfaces.http.openapi import openapi_document
from tests.support.http_service import HttpService, assert_a_problem

SECRET = "Anna-4711"
ACTION = {
    "method": "POST",
    "url": f"https://api.example.com/mail?to={SECRET}",
    "headers": {"Authorization": f"Bearer {SECRET}"},
    "payload": {"to": SECRET},
}
MARKED = {
    "method": "POST",
    "url": "https://api.example.com/mail?redacted",
    "headers": {"Authorization": "[redacted]"},
    "payload": "[redacted]",
}


async def over(service: HttpService) -> str:
    """The path of a task that is cancelled."""
    task = await service.create(action=ACTION)
    path = f"/api/v1/tasks/{task['id']}"
    reason = {"X-Change-Reason": f"{SECRET} has left"}
    assert (await service.client.delete(path, headers=reason)).status_code == 200
    return path


async def refused(service: HttpService, path: str, status: int, slug: str, **headers: str) -> str:
    answer = await service.client.post(f"{path}/redact", headers=headers)
    assert_a_problem(answer)
    assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{slug}")
    detail: str = answer.json()["detail"]
    return detail


async def test_a_redacted_task_shows_since_when_and_what_is_left(service: HttpService) -> None:
    path = await over(service)
    answer = await service.client.post(f"{path}/redact")
    task = answer.json()
    assert answer.status_code == 200, task
    reference = {"$ref": "#/components/schemas/Task", "components": openapi_document()["components"]}
    jsonschema_rs.validate(reference, task)
    assert task["redacted_at"] == task["updated_at"]
    assert {name: task["action"][name] for name in MARKED} == MARKED
    assert (task["status"], task["version"], answer.headers["etag"]) == ("cancelled", 3, '"3"')
    assert answer.headers["x-event-position"] == "4"
    assert (await service.client.get(path)).json() == task


async def test_who_does_not_wait_is_shown_nothing_erased_either(service: HttpService) -> None:
    path = await over(service)
    answer = await service.client.post(f"{path}/redact", headers={"Prefer": "respond-async"})
    assert answer.headers["preference-applied"] == "respond-async"
    assert SECRET not in answer.text
    assert answer.json()["redacted_at"]


@pytest.mark.parametrize("page", ["", "/revisions", "/revisions/1", "/events", "/explain", "/diff"])
async def test_nothing_erased_is_shown_anywhere(service: HttpService, page: str) -> None:
    path = await over(service)
    await service.client.post(f"{path}/redact")
    answer = await service.client.get(path + page)
    assert answer.status_code == 200, answer.text
    assert SECRET not in answer.text


async def test_events_tell_which_of_them_are_redacted(service: HttpService) -> None:
    path = await over(service)
    await service.client.post(f"{path}/redact", headers={"X-Change-Reason": "as asked"})
    events: list[dict[str, Any]] = (await service.client.get("/api/v1/events")).json()["items"]
    assert [(event["topic"], event["redacted"], event["reason"]) for event in events] == [
        ("task.created.v1", True, None),
        ("task.cancelled.v1", True, "[redacted]"),
        ("events.redacted.v1", False, "as asked"),
        ("task.redacted.v1", False, "as asked"),
    ]
    assert [rewritten[0] for rewritten in events[2]["data"]["rewritten"]] == [1, 2]


async def test_twice_is_no_error_and_neither_is_a_repeat_with_the_same_key(service: HttpService) -> None:
    path = await over(service)
    key = {"Idempotency-Key": "erase"}
    first = await service.client.post(f"{path}/redact", headers=key)
    for headers in (key, {}, {"If-Match": '"3"'}):
        again = await service.client.post(f"{path}/redact", headers=headers)
        assert (again.status_code, again.json()) == (200, first.json())
    await refused(service, await over(service), 422, "idempotency-key-reused", **key)


async def test_a_task_that_goes_on_is_to_be_cancelled_first(service: HttpService) -> None:
    task = await service.create()
    detail = await refused(service, f"/api/v1/tasks/{task['id']}", 409, "task-not-over")
    assert detail.endswith("only a task that is over can be redacted; cancel it first.")


async def test_executions_that_go_on_are_to_be_waited_for(service: HttpService) -> None:
    task = await service.create()
    path = f"/api/v1/tasks/{task['id']}"
    run = (await service.client.post(f"{path}/trigger", headers={"Prefer": "respond-async"})).json()
    await service.client.delete(path)
    assert f"Execution {run['id']} of task" in await refused(service, path, 409, "executions-not-over")


async def test_read_models_that_are_behind_are_to_be_waited_for(service: HttpService) -> None:
    path = await over(service)
    service.visibility.reached = False
    await refused(service, path, 425, "not-yet-visible")
    assert service.visibility.asked[-1] == (2, 2.0)


async def test_a_task_that_is_unknown_or_was_changed_is_not_redacted(service: HttpService) -> None:
    await refused(service, f"/api/v1/tasks/{uuid4()}", 404, "task-not-found")
    await refused(service, await over(service), 412, "version-mismatch", **{"If-Match": '"1"'})


async def test_nothing_is_rolled_back_to_what_was_erased(service: HttpService) -> None:
    path = await over(service)
    await service.client.post(f"{path}/redact")
    answer = await service.client.post(f"{path}/rollback", json={"to": 1})
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/revision-redacted")
    assert "is erased and cannot come back" in answer.json()["detail"]
