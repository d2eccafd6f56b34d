"""A service as its users meet it: tasks fire, and everything they did can be looked up afterwards."""

from __future__ import annotations

import json
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.e2e.callee import executions
from tests.e2e.client import one_off, soon
from tests.support.service import until

if TYPE_CHECKING:
    from tests.e2e.callee import Callee
    from tests.e2e.client import Client, Json
    from tests.support.service import Service

LOG_KEYS = [
    *("timestamp", "level", "task_id", "task_name", "execution_time"),
    *("duration_ms", "status_code", "success"),
]
MINUTE = timedelta(minutes=1)


def test_a_one_off_is_called_on_time_with_all_that_it_was_given(client: Client, callee: Callee) -> None:
    due_at = soon(1.5)
    task = client.create(
        one_off(
            callee.url("/ok?tour"),
            due_at,
            name="Tour",
            method="POST",
            headers={"X-Tour": "first stop"},
            payload={"stops": [1, 2, None], "text": "é"},
        )
    )
    [call] = callee.wait_for("/ok?tour")
    assert client.until_over(task)["status"] == "completed"
    [result] = client.results(task)
    assert (call.method, call.headers["x-tour"]) == ("POST", "first stop")
    assert call.headers["content-type"] == "application/json"
    assert json.loads(call.body) == {"stops": [1, 2, None], "text": "é"}
    assert call.headers["idempotency-key"] == result["id"]
    assert timedelta() <= _instant(call.at) - due_at.replace(microsecond=due_at.microsecond // 1000 * 1000)
    assert _instant(call.at) - due_at < timedelta(seconds=5)


def test_a_result_tells_what_came_back(client: Client, callee: Callee) -> None:
    task = client.create(one_off(callee.url("/slow/0.2?result"), soon(0.5)))
    client.until_over(task)
    [result] = client.results(task)
    assert client.get("/results", task_id=task["id"])["items"] == [result]
    assert (result["status"], result["success"], result["status_code"]) == ("succeeded", True, 200)
    assert result["response_headers"]["content-type"] == "application/json"
    assert (result["response_body"], result["response_truncated"]) == ('{"ok":true}', False)
    assert 200 <= result["duration_ms"] < 5_000
    assert (result["attempts"], result["error_message"]) == (1, None)


def test_the_task_log_has_one_line_an_execution_with_the_specified_keys(
    client: Client, callee: Callee, shared_service: Service
) -> None:
    secret = {"X-Secret": "opensesame"}
    task = client.create(
        one_off(callee.url("/status/404?log"), soon(0.5), name="To be logged", headers=secret)
    )
    client.until_over(task)
    log = shared_service.folder / "logs/tasks.log"
    line = until(lambda: _line_of(task, log.read_text()), "the execution is in the log")
    assert list(line) == LOG_KEYS
    assert (line["task_name"], line["level"]) == ("To be logged", "ERROR")
    assert (line["status_code"], line["success"]) == (404, False)
    assert "opensesame" not in log.read_text() + shared_service.log.read_text()


@pytest.mark.alone
def test_two_hundred_one_offs_of_five_seconds_are_called_once_each_and_on_time(
    client: Client, callee: Callee, record_property: Any
) -> None:
    start = soon(3)
    due = {
        str(number): start + timedelta(seconds=number * 5 / 200)
        for number in range(200)
    }  # fmt: skip
    tasks = client.create_all(
        one_off(callee.url(f"/ok?punctual={number}"), at, name=number) for number, at in due.items()
    )
    calls = callee.wait_for("/ok?punctual=", 200)
    assert set(client.until_all_over(tasks).values()) == {"completed"}
    calls = callee.calls("/ok?punctual=")
    assert len(calls) == 200
    assert len(executions(calls)) == 200
    late = sorted(call.at - due[call.path.partition("=")[2]].timestamp() for call in calls)
    record_property("lateness", f"p50 {late[100] * 1000:.1f} ms, p99 {late[197] * 1000:.1f} ms")
    assert late[0] > -0.001  # instants are cut to milliseconds
    assert late[197] < 1
    results = [result for task in tasks for result in client.results(task)]
    assert len(results) == 200
    for result in results:
        assert (result["success"], result["status_code"]) == (True, 200)
        assert result["response_body"] == '{"ok":true}'
        assert result["response_headers"]["content-type"] == "application/json"
        assert result["duration_ms"] >= 0


def test_a_rescheduled_one_off_is_called_at_its_new_time_only(client: Client, callee: Callee) -> None:
    task = client.create(one_off(callee.url("/ok?moved"), soon(4)))
    later = soon(5.5)
    _put(client, task, one_off(callee.url("/ok?moved"), later))
    assert client.until_over(task)["status"] == "completed"
    [call] = callee.calls("/ok?moved")
    assert _instant(call.at) >= later - timedelta(milliseconds=1)


def test_a_one_off_is_called_as_its_last_update_says(client: Client, callee: Callee) -> None:
    at = soon(4)
    task = client.create(one_off(callee.url("/ok?before-update"), at))
    _put(client, task, one_off(callee.url("/ok?after-update"), at, method="PUT", payload=[1]))
    client.until_over(task)
    assert [(call.method, call.body) for call in callee.calls("/ok?after-update")] == [("PUT", "[1]")]
    assert not callee.calls("/ok?before-update")


def test_a_definition_that_was_brought_back_is_what_is_called_and_its_history_tells_why(
    client: Client, callee: Callee
) -> None:
    at = soon(4)
    task = client.create(one_off(callee.url("/ok?brought-back"), at))
    _put(client, task, one_off(callee.url("/ok?mistaken"), at))
    path, reason = f"/tasks/{task['id']}", {"X-Change-Reason": "the wrong target"}
    answer = client.http.post(f"/api/v1{path}/rollback", json={"to": 1}, headers=reason)
    assert answer.status_code == 200, answer.text
    assert client.until_over(task)["status"] == "completed"
    assert len(callee.calls("/ok?brought-back")) == 1
    assert not callee.calls("/ok?mistaken")

    [result] = client.results(task)
    changes = client.get(f"{path}/events")["items"]
    steps = client.get(f"/executions/{result['id']}/events")["items"]
    assert [event["topic"] for event in changes] == [
        *("task.created.v1", "task.updated.v1", "task.updated.v1", "task.completed.v1")
    ]
    assert [event["topic"] for event in steps] == ["execution.started.v1", "execution.succeeded.v1"]
    rollback, end = changes[2:]
    assert (rollback["actor"], rollback["address"]) == ("anonymous", "127.0.0.1")
    assert rollback["reason"] == "the wrong target"
    assert (end["actor"], end["address"], end["reason"]) == (steps[1]["actor"], None, None)
    everything = client.get("/events", task_id=task["id"])["items"]
    assert everything == sorted(changes + steps, key=lambda event: event["position"])
    assert [one["kind"] for one in client.get(f"{path}/revisions")["items"]] == [
        *("rolled_back", "updated", "created")
    ]


def test_a_cancelled_task_is_never_called(client: Client, callee: Callee) -> None:
    at = soon(4)
    task = client.create(one_off(callee.url("/ok?cancelled"), at))
    answer = client.http.delete(f"/api/v1/tasks/{task['id']}")
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    sentinel = client.create(one_off(callee.url("/ok?sentinel"), at + timedelta(seconds=0.5)))
    assert client.until_over(sentinel)["status"] == "completed"
    assert client.task(task)["status"] == "cancelled"
    assert not callee.calls("/ok?cancelled")
    assert not client.results(task)


def test_the_json_metrics_agree_with_the_table_of_results(client: Client, shared_service: Service) -> None:
    with psycopg.connect(shared_service.dsn(), autocommit=True) as connection:
        shown = until(lambda: _agreeing(client, connection), "metrics and results agree")
    assert shown["failed_tasks"] >= 1
    assert shown["successful_tasks"] >= 1
    assert shown["tasks_per_minute"] > 0


def test_prometheus_reads_the_metrics_and_they_count_the_same(
    client: Client, shared_service: Service
) -> None:
    text = client.http.get("/metrics").text
    succeeded = _sample(text, 'chronoledger_executions_total{outcome="succeeded"}')
    assert succeeded >= 1
    assert _sample(text, 'chronoledger_tasks{status="scheduled"}') >= 1
    # A backfill is due in the past, and not late.
    with psycopg.connect(shared_service.dsn(), autocommit=True) as connection:
        row = connection.execute(
            "SELECT count(*) FROM task_results WHERE kind = 'backfill' AND status = 'succeeded'"
        ).fetchone()
    assert row is not None
    assert _sample(text, "chronoledger_execution_lateness_seconds_count") >= succeeded - row[0]
    for name in (
        "chronoledger_claims_total",
        "chronoledger_event_appends_total",
        "chronoledger_http_requests",
    ):
        assert name in text
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_a_cron_task_is_called_at_the_minute(client: Client, callee: Callee, every_minute: Json) -> None:
    call = callee.wait_for("/ok?every-minute", seconds=75)[0]
    results = until(lambda: client.results(every_minute), "the occurrence is in the ledger")
    due_at = datetime.fromisoformat(results[-1]["due_at"])
    created_at = datetime.fromisoformat(every_minute["created_at"])
    assert due_at == created_at.replace(second=0, microsecond=0) + MINUTE
    assert timedelta() <= _instant(call.at) - due_at < timedelta(seconds=5)
    assert datetime.fromisoformat(client.task(every_minute)["next_run"]) > due_at
    assert set(executions(callee.calls("/ok?every-minute")).values()) == {1}


def _instant(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def _put(client: Client, task: Json, definition: Json) -> None:
    answer = client.http.put(f"/api/v1/tasks/{task['id']}", json=definition)
    assert answer.status_code == 200, answer.text


def _line_of(task: Json, log: str) -> Json:
    lines = [json.loads(line) for line in log.splitlines()]
    return next((line for line in lines if line["task_id"] == task["id"]), {})


def _agreeing(client: Client, connection: psycopg.Connection[Any]) -> Json:
    """The metrics, if they are what the rows say: a minute's call may come between the two looks."""
    row = connection.execute(
        "SELECT count(*) FILTER (WHERE status IN ('succeeded', 'failed')), count(*) FILTER (WHERE success),"
        " count(*) FILTER (WHERE NOT success), avg(duration_ms)::float8 FROM task_results"
    ).fetchone()
    active = connection.execute("SELECT count(*) FROM tasks WHERE status = 'scheduled'").fetchone()
    assert row is not None
    assert active is not None
    total, succeeded, failed, average = row
    shown = client.get("/metrics")
    expected = {
        "total_tasks_executed": total,
        "successful_tasks": succeeded,
        "failed_tasks": failed,
        "success_rate_percent": round(100 * succeeded / total, 2),
        "average_execution_ms": round(average, 2),
        "active_tasks": active[0],
    }
    return shown if {name: shown[name] for name in expected} == expected else {}


def _sample(text: str, name: str) -> float:
    [value] = [line.split()[-1] for line in text.splitlines() if line.startswith(f"{name} ")]
    return float(value)
