"""The API on its real parts: commands, event log, projector and read models in Postgres, over a socket."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest

from infrastructure.event_store.mapper import encode
from tests.support.groups import meta, started
from tests.support.http_service import task_json
from tests.support.running_api import running_api


@pytest.fixture
def base_url(database: str, tmp_path: Path) -> Iterator[str]:
    with running_api(database, tmp_path, MAX_REQUEST_BODY_BYTES="65536") as url:
        yield url


@pytest.fixture
def client(base_url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=base_url, timeout=60) as open_client:
        yield open_client


SHORT = {
    "trigger": {"type": "cron", "cron": "0 9 * * *"},
    "action": {"method": "GET", "url": "https://api.example.com/"},
}


def create(client: httpx.Client, **changes: Any) -> dict[str, Any]:
    answer = client.post("/api/v1/tasks", json=task_json(**changes))
    assert answer.status_code == 201, answer.text
    created: dict[str, Any] = answer.json()
    return created


def test_what_was_written_is_in_every_list_at_once(client: httpx.Client) -> None:
    for number in range(20):
        task = create(client, name=f"Task {number}")
        listed = client.get("/api/v1/tasks", params={"name": f"task {number}", "limit": 200}).json()
        assert task in listed["items"]
        assert client.get(f"/api/v1/tasks/{task['id']}").json() == task


def test_many_tasks_are_in_every_list_at_once_and_created_once(client: httpx.Client, database: str) -> None:
    tasks = [{"name": f"Task {number}", **SHORT} for number in range(300)]
    body = {"tasks": [*tasks[:299], {"name": ""}, tasks[299]]}

    def send(_: int) -> httpx.Response:
        return client.post("/api/v1/tasks/bulk", json=body, headers={"Idempotency-Key": "import"})

    with ThreadPoolExecutor(4) as senders:
        answers = list(senders.map(send, range(8)))
    assert {answer.status_code for answer in answers} == {207}
    ids = [[item["id"] for item in answer.json()["items"]] for answer in answers]
    assert all(each == ids[0] for each in ids)
    assert ids[0].index(None) == 299
    listed = client.get("/api/v1/tasks", params={"limit": 200}).json()
    assert listed["total"] == 300
    newest = [task["id"] for task in listed["items"]]
    assert newest == [each for each in reversed(ids[0]) if each is not None][:200]
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM events").fetchone() == (301,)


def test_a_task_lives_through_its_life(client: httpx.Client) -> None:
    task = create(client)
    path = f"/api/v1/tasks/{task['id']}"
    renamed = client.put(path, json=task_json(name="Renamed"), headers={"If-Match": '"1"'})
    stale = client.put(path, json=task_json(name="Lost update"), headers={"If-Match": '"1"'})
    cancelled = client.delete(path, headers={"If-Match": renamed.headers["etag"]})
    late = client.put(path, json=task_json(name="Too late"))
    assert [renamed.status_code, stale.status_code, cancelled.status_code, late.status_code] == [
        200,
        412,
        200,
        409,
    ]
    assert client.get(path).json() == cancelled.json()
    assert client.get("/api/v1/tasks?status=cancelled").json()["items"] == [cancelled.json()]
    assert client.get("/api/v1/tasks?status=scheduled").json()["total"] == 0


def test_what_json_can_hold_comes_back_as_it_was(client: httpx.Client) -> None:
    payload = {"nul": "a\u0000b", "big": 2**80, "small": 1e-300, "text": "\U0001f600é\n", "deep": [[[]]]}
    task = create(client, action={"method": "POST", "url": "http://localhost/", "payload": payload})
    assert task["action"]["payload"] == payload
    assert client.get(f"/api/v1/tasks/{task['id']}").json() == task


def test_the_policies_of_a_task_are_stored_listed_and_replaced(client: httpx.Client) -> None:
    policies: dict[str, Any] = {
        "retry": {"backoff": "linear", "statuses": ["404", "5xx"], "disable_after_failures": 5},
        "success": {"statuses": ["200"], "json": {"pointer": "/a~1b/0", "equals": {"nul": "\u0000é"}}},
        "catch_up": {"mode": "all", "window_seconds": 3600, "max_runs": 3},
        "overlap": {"mode": "queue_all", "max_running": 2, "max_queued": 7},
        "delivery": "at_least_once",
        "priority": 9,
    }
    task = create(client, **policies)
    path = f"/api/v1/tasks/{task['id']}"
    assert task["retry"] | policies["retry"] == task["retry"]
    assert {name: task[name] for name in policies if name != "retry"} == {
        "success": {"body_contains": None, **policies["success"]},
        **{name: policies[name] for name in ("catch_up", "overlap", "delivery", "priority")},
    }
    assert client.get("/api/v1/tasks").json()["items"] == [client.get(path).json()] == [task]
    definition = {name: task[name] for name in ("name", "trigger", "action", *policies)}
    assert client.put(path, json=definition).headers["etag"] == '"1"'
    assert client.put(path, json=task_json()).json()["overlap"]["mode"] == "skip"


def test_a_row_of_before_there_were_policies_is_shown_as_it_behaves(
    client: httpx.Client, database: str
) -> None:
    task = create(client, overlap={"mode": "queue_one"})
    old = {name: task[name] for name in ("name", "trigger", "action")} | {"retry": {"max_attempts": 5}}
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("UPDATE task_definitions SET definition = %s::json", (json.dumps(old),))
    [shown] = client.get("/api/v1/tasks").json()["items"]
    assert shown["overlap"] == {"mode": "allow", "max_running": None, "max_queued": None}
    assert shown["retry"] == task["retry"] | {
        "max_attempts": 5,
        "max_retry_after_seconds": 0.0,
        "on_gone": "fail",
    }


def test_pages_and_cursors_visit_every_task_once(client: httpx.Client) -> None:
    created = {create(client, name=f"Task {number}")["id"] for number in range(7)}
    paged = [client.get(f"/api/v1/tasks?limit=3&page={page}").json() for page in (1, 2, 3)]
    followed: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        params = {"limit": "3", "sort": "name"} | ({} if cursor is None else {"cursor": cursor})
        page = client.get("/api/v1/tasks", params=params).json()
        followed += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert {page["total"] for page in paged} == {7}
    assert {task["id"] for page in paged for task in page["items"]} == created
    assert [task["name"] for task in followed] == [f"Task {number}" for number in range(7)]


@pytest.mark.race
def test_one_key_creates_one_task_however_often_it_is_sent_at_once(client: httpx.Client) -> None:
    def send(_: int) -> httpx.Response:
        return client.post("/api/v1/tasks", json=task_json(), headers={"Idempotency-Key": "order-17"})

    with ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(send, range(36)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert client.get("/api/v1/tasks").json()["total"] == 1


@pytest.mark.race
def test_of_changes_to_the_same_version_one_is_made(client: httpx.Client) -> None:
    task = create(client)

    def send(number: int) -> httpx.Response:
        return client.put(
            f"/api/v1/tasks/{task['id']}",
            json=task_json(name=f"Writer {number}"),
            headers={"If-Match": '"1"'},
        )

    with ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(send, range(24)))
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 23
    [made] = [answer for answer in answers if answer.status_code == 200]
    assert client.get(f"/api/v1/tasks/{task['id']}").json() == made.json()


def test_respond_async_and_its_position_are_read_your_own_write(client: httpx.Client) -> None:
    hurried = client.post("/api/v1/tasks", json=task_json(), headers={"Prefer": "respond-async"})
    position = hurried.headers["x-event-position"]
    listed = client.get("/api/v1/tasks", params={"min_position": position}).json()
    assert listed["items"] == [hurried.json()]


def test_a_position_that_the_log_never_had_is_not_waited_for_without_end(client: httpx.Client) -> None:
    answer = client.get("/api/v1/tasks?min_position=1000000")
    assert answer.status_code == 425
    assert answer.json()["type"] == "/problems/not-yet-visible"
    assert answer.headers["retry-after"] == "1"


def test_results_are_read_by_task_by_filter_and_by_id(client: httpx.Client, database: str) -> None:
    task = create(client)
    execution = uuid4()
    fact = started(UUID(task["id"]))
    with psycopg.connect(database, autocommit=True) as connection:
        row = connection.execute(
            "INSERT INTO events (originator_id, originator_version, topic, state)"
            " VALUES (%s, 1, %s, %s) RETURNING notification_id",
            (execution, type(fact).topic, encode(fact, meta())),
        ).fetchone()
    assert row
    at = {"min_position": row[0]}
    by_task = client.get(f"/api/v1/tasks/{task['id']}/results", params=at).json()
    by_filter = client.get("/api/v1/results", params=at | {"status": "running"}).json()
    by_id = client.get(f"/api/v1/results/{execution}", params=at).json()
    assert by_task["items"] == by_filter["items"] == [by_id]
    assert by_id["success"] is None
    assert client.get("/api/v1/results", params=at | {"success": "false"}).json()["total"] == 0


def test_prometheus_and_the_json_figures_tell_of_the_same_tasks(client: httpx.Client) -> None:
    create(client)
    text = client.get("/metrics").text
    assert 'chronoledger_tasks{status="scheduled"} 1.0' in text
    assert client.get("/api/v1/metrics").json()["active_tasks"] == 1
    assert 'route="/api/v1/tasks"' in client.get("/metrics").text
