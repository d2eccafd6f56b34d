"""Creating, reading, replacing and cancelling tasks: what a well-meant request gets."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from domain.facts import IdempotencyKeyUsed, TaskCancelled, TaskCreated, TaskUpdated
from tests.support.http_service import HttpService, http_service, task_json

RETRY = {"max_attempts": 5, "initial_delay_seconds": 2.0, "multiplier": 3.0, "max_delay_seconds": 60.0}


@pytest.fixture
async def service() -> AsyncIterator[HttpService]:
    async with http_service(default_timezone="Europe/Berlin") as running:
        yield running


async def test_a_created_task_is_answered_with_its_place_and_its_version(service: HttpService) -> None:
    answer = await service.client.post("/api/v1/tasks", json=task_json())
    task = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/api/v1/tasks/{task['id']}"
    assert answer.headers["etag"] == '"1"'
    assert answer.headers["x-event-position"] == "1"
    assert task["status"] == "scheduled"
    assert task["namespace"] == "default"
    assert task["version"] == 1
    assert (await service.client.get(answer.headers["location"])).json() == task


UNLIMITED = {"start_at": None, "end_at": None, "max_runs": None, "jitter_seconds": 0}


async def test_what_is_left_out_gets_its_default(service: HttpService) -> None:
    task = await service.create(action={"method": "GET", "url": "http://localhost/"})
    given = {"type": "cron", "cron": "0 9 * * *", "timezone": "Europe/Berlin"}
    assert task["trigger"] == given | UNLIMITED
    assert task["action"] == {
        "method": "GET",
        "url": "http://localhost/",
        "headers": {},
        "payload": None,
        "timeout_seconds": 30.0,
        "connect_timeout_seconds": None,
        "max_redirects": 0,
    }


async def test_a_whole_definition_comes_back_as_it_was_sent(service: HttpService) -> None:
    due = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)
    instant = due.isoformat().replace("+00:00", "Z")
    sent = {
        "name": "Everything",
        "trigger": {
            "type": "one-off",
            "datetime": instant,
            "timezone": "Asia/Tokyo",
            "start_at": "2020-01-01T00:00:00Z",
            "end_at": "2130-01-01T00:00:00Z",
            "max_runs": 1,
            "jitter_seconds": 2.5,
        },
        "action": {
            "method": "PUT",
            "url": "https://api.example.com/x?y=1",
            "headers": {"Authorization": "Bearer secret", "X-Trace": "a"},
            "payload": {"nested": [1, 2.5, None, True, "é\u0000"]},
            "timeout_seconds": 2.5,
            "connect_timeout_seconds": 1.0,
            "max_redirects": 2,
        },
        "retry": RETRY,
    }
    answer = await service.client.post("/api/v1/tasks", json=sent)
    task = answer.json()
    retry, action = task.pop("retry"), task.pop("action")
    assert {name: retry[name] for name in RETRY} == sent.pop("retry")
    assert action == sent.pop("action")
    assert {name: task[name] for name in sent} == sent
    assert task["next_run"] == instant


async def test_an_interval_is_shown_with_the_anchor_that_it_got_and_a_put_of_it_changes_nothing(
    service: HttpService,
) -> None:
    start = "2130-01-01T00:00:00Z"
    task = await service.create(trigger={"type": "interval", "every_seconds": 90, "start_at": start})
    assert task["trigger"] == {
        "type": "interval",
        "every_seconds": 90,
        "anchor": start,
        "timezone": "Europe/Berlin",  # the default of this service
        **UNLIMITED,
        "start_at": start,
    }
    assert task["next_run"] == start
    definition = task_json(name=task["name"], trigger=task["trigger"])
    answer = await service.client.put(f"/api/v1/tasks/{task['id']}", json=definition)
    assert answer.headers["etag"] == '"1"'


async def test_a_put_replaces_the_whole_definition(service: HttpService) -> None:
    task = await service.create(retry=RETRY)
    answer = await service.client.put(f"/api/v1/tasks/{task['id']}", json=task_json(name="Renamed"))
    assert answer.status_code == 200
    assert answer.headers["etag"] == '"2"'
    assert answer.json()["name"] == "Renamed"
    assert answer.json()["retry"]["max_attempts"] == 3
    assert [type(fact) for fact in service.log.facts()] == [TaskCreated, TaskUpdated]


async def test_a_delete_cancels_and_the_task_stays_readable(service: HttpService) -> None:
    task = await service.create()
    path = f"/api/v1/tasks/{task['id']}"
    answer = await service.client.delete(path)
    assert answer.status_code == 200
    assert answer.json()["status"] == "cancelled"
    assert answer.json()["next_run"] is None
    assert (await service.client.get(path)).json()["status"] == "cancelled"


async def test_cancelling_twice_changes_nothing_more(service: HttpService) -> None:
    task = await service.create()
    path = f"/api/v1/tasks/{task['id']}"
    first, second = await service.client.delete(path), await service.client.delete(path)
    assert second.status_code == 200
    assert second.json() == first.json()
    assert [type(fact) for fact in service.log.facts()] == [TaskCreated, TaskCancelled]


@pytest.mark.parametrize("if_match", ['"1"', "*"])
async def test_a_change_of_the_right_version_is_made(service: HttpService, if_match: str) -> None:
    task = await service.create()
    answer = await service.client.delete(f"/api/v1/tasks/{task['id']}", headers={"If-Match": if_match})
    assert answer.status_code == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_a_change_of_another_version_is_refused(service: HttpService, method: str) -> None:
    task = await service.create()
    body = task_json(name="Lost update") if method == "PUT" else None
    answer = await service.client.request(
        method, f"/api/v1/tasks/{task['id']}", json=body, headers={"If-Match": '"7"'}
    )
    assert answer.status_code == 412
    assert answer.json()["type"] == "/problems/version-mismatch"
    assert "version 1, not 7" in answer.json()["detail"]
    assert len(service.log.facts()) == 1


async def test_the_same_key_and_json_create_one_task(service: HttpService) -> None:
    headers = {"Idempotency-Key": "order-17", "Content-Type": "application/json"}
    first = await service.client.post("/api/v1/tasks", json=task_json(), headers=headers)
    respaced = first.request.content.replace(b'":', b'" : ')
    again = await service.client.post("/api/v1/tasks", content=respaced, headers=headers)
    assert again.status_code == 201
    assert again.json()["id"] == first.json()["id"]
    assert again.headers["location"] == first.headers["location"]
    assert [type(fact) for fact in service.log.facts()] == [TaskCreated, IdempotencyKeyUsed]


async def test_the_same_key_with_other_json_is_refused(service: HttpService) -> None:
    headers = {"Idempotency-Key": "order-17"}
    await service.client.post("/api/v1/tasks", json=task_json(), headers=headers)
    answer = await service.client.post("/api/v1/tasks", json=task_json(name="Another"), headers=headers)
    assert answer.status_code == 422
    assert answer.json()["type"] == "/problems/idempotency-key-reused"
    assert len(service.log.facts()) == 2


async def test_a_write_waits_until_lists_show_it(service: HttpService) -> None:
    await service.create()
    assert service.visibility.asked == [(1, 2.0)]


async def test_a_write_is_answered_from_the_log_when_lists_are_late(service: HttpService) -> None:
    service.visibility.reached = False
    late = await service.client.post("/api/v1/tasks", json=task_json())
    service.visibility.reached = True
    shown = await service.client.get(late.headers["location"])
    assert late.status_code == 201
    assert late.json() == shown.json()


async def test_a_stored_write_is_confirmed_although_it_cannot_be_read_back(service: HttpService) -> None:
    service.queries.away = True
    created = await service.client.post("/api/v1/tasks", json=task_json())
    path = created.headers["location"]
    changed = await service.client.put(path, json=task_json(name="Renamed"))
    assert (created.status_code, created.json()["name"]) == (201, "Daily Report")
    assert (changed.status_code, changed.json()["name"]) == (200, "Renamed")


async def test_a_creation_is_confirmed_when_the_wait_for_the_lists_fails(service: HttpService) -> None:
    service.visibility.failing = True
    answer = await service.client.post("/api/v1/tasks", json=task_json())
    assert (answer.status_code, answer.headers["etag"]) == (201, '"1"')


async def test_respond_async_does_not_wait(service: HttpService) -> None:
    hurried = {"Prefer": "wait=5, respond-async"}
    created = await service.client.post("/api/v1/tasks", json=task_json(), headers=hurried)
    path = created.headers["location"]
    changed = await service.client.put(path, json=task_json(name="Renamed"), headers=hurried)
    cancelled = await service.client.delete(path, headers=hurried)
    assert [answer.status_code for answer in (created, changed, cancelled)] == [201, 200, 200]
    assert {answer.headers["preference-applied"] for answer in (created, changed, cancelled)} == {
        "respond-async"
    }
    assert service.visibility.asked == []
    assert cancelled.json() == (await service.client.get(path)).json()


async def test_the_next_run_of_an_unread_one_off_is_its_instant(service: HttpService) -> None:
    due = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    answer = await service.client.post(
        "/api/v1/tasks",
        json=task_json(trigger={"type": "one-off", "datetime": due}),
        headers={"Prefer": "respond-async"},
    )
    assert answer.json()["next_run"] == due


async def test_the_next_run_of_an_unread_cron_task_is_after_its_change(service: HttpService) -> None:
    task = await service.create(trigger={"type": "cron", "cron": "* * * * *"})
    service.clock.ahead = timedelta(hours=5)
    answer = await service.client.put(
        f"/api/v1/tasks/{task['id']}",
        json=task_json(name="Renamed", trigger={"type": "cron", "cron": "* * * * *"}),
        headers={"Prefer": "respond-async"},
    )
    assert answer.json()["next_run"] > answer.json()["updated_at"] > task["next_run"]


async def test_events_carry_the_id_of_the_request(service: HttpService) -> None:
    await service.client.post("/api/v1/tasks", json=task_json(), headers={"X-Request-ID": "trace-7"})
    [event] = service.log.recorded
    assert event.meta.correlation_id == "trace-7"
    assert event.meta.actor == "anonymous"
