"""Occurrences and explanations over a real log and a real ledger, and on the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx
import msgspec
import psycopg
import pytest

from domain.facts import (
    Answered,
    AnyFact,
    Attempt,
    ExecutionQueued,
    ExecutionStarted,
    ExecutionSucceeded,
    Occurrence,
    TaskFailuresCounted,
    TaskPaused,
)
from domain.identity import execution_id
from infrastructure.event_store.mapper import encode
from tests.support.groups import meta
from tests.support.http_service import task_json
from tests.support.running_api import running_api

if TYPE_CHECKING:
    from collections.abc import Iterator

    from application.ports import Meta

PROGRAM = Path(sys.executable).parent / "chronoledger"
MINUTE = timedelta(minutes=1)


@pytest.fixture
def client(database: str, tmp_path: Path) -> Iterator[httpx.Client]:
    with running_api(database, tmp_path) as url, httpx.Client(base_url=url, timeout=60) as open_client:
        yield open_client


def happened(database: str, stream: UUID, version: int, fact: AnyFact, of: Meta | None = None) -> int:
    """Append a fact as a scheduler would, alone or as a part `of` a group; its position."""
    with psycopg.connect(database, autocommit=True) as connection:
        row = connection.execute(
            "INSERT INTO events (originator_id, originator_version, topic, state)"
            " VALUES (%s, %s, %s, %s) RETURNING notification_id",
            (stream, version, type(fact).topic, encode(fact, of or meta())),
        ).fetchone()
    assert row
    return int(row[0])


def claim_of(task_id: UUID, due_at: datetime) -> ExecutionStarted:
    """The claim of an occurrence at its instant."""
    occurrence = Occurrence(
        task_id=task_id, task_version=1, task_name="Daily Report", namespace="default", due_at=due_at
    )
    return ExecutionStarted(
        at=due_at,
        occurrence=occurrence,
        node="node-1",
        lease_until=due_at + MINUTE,
        next_run_at=due_at + MINUTE,
    )


def ran(database: str, task_id: UUID, due_at: datetime) -> tuple[UUID, int]:
    """An occurrence was executed; its id and the position of its end."""
    run = execution_id(task_id, due_at, "scheduled")
    attempt = Attempt(number=1, started_at=due_at, duration_ms=5, answer=Answered(status_code=200))
    happened(database, run, 1, claim_of(task_id, due_at))
    end = ExecutionSucceeded(at=due_at, task_id=task_id, attempt=attempt)
    return run, happened(database, run, 2, end)


def command(database: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": os.environ["PATH"], "DATABASE_URL": database}
    places = {"LOG_DIR": str(folder), "DATA_DIR": str(folder)}
    return subprocess.run(
        [PROGRAM, *arguments],
        env=environ | places,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def get(client: httpx.Client, path: str, **parameters: Any) -> dict[str, Any]:
    answer = client.get(f"/api/v1{path}", params=parameters)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_an_occurrence_is_listed_and_explained_the_same_everywhere(
    client: httpx.Client, database: str, tmp_path: Path
) -> None:
    created = client.post("/api/v1/tasks", json=task_json(trigger={"type": "cron", "cron": "* * * * *"}))
    task = created.json()
    due_at = datetime.fromisoformat(task["next_run"])
    run, position = ran(database, UUID(task["id"]), due_at)

    window = get(client, f"/tasks/{task['id']}/occurrences", min_position=position, limit=2)
    assert [(item["execution_id"], item["outcome"]) for item in window["items"]] == [
        (str(run), "succeeded"),
        (str(execution_id(UUID(task["id"]), due_at + MINUTE, "scheduled")), "expected"),
    ]
    assert datetime.fromisoformat(window["next_from"]) == due_at + 2 * MINUTE

    by_instant = get(client, f"/tasks/{task['id']}/explain", at=due_at.isoformat())
    by_id = get(client, f"/executions/{run}/explain")
    printed = command(database, tmp_path, "explain", "--execution", str(run), "--json")
    assert by_instant == by_id == msgspec.json.decode(printed.stdout), printed.stderr
    assert (by_id["verdict"], by_id["lateness_ms"]) == ("succeeded", 0)
    assert by_id["statements"][-1]["events"][0]["position"] == position

    text = command(database, tmp_path, "explain", task["id"], "--at", due_at.isoformat())
    assert (text.returncode, text.stdout.splitlines()[0]) == (0, by_id["summary"])
    standing = command(database, tmp_path, "explain", task["id"])
    assert standing.stdout.startswith("The task is scheduled: it is due next at ")


def test_policies_are_explained_over_http_and_on_the_command_line(
    client: httpx.Client, database: str, tmp_path: Path
) -> None:
    policies = {"overlap": {"mode": "queue_one"}, "retry": {"disable_after_failures": 1}}
    every_minute = {"type": "cron", "cron": "* * * * *"}
    task = client.post("/api/v1/tasks", json=task_json(trigger=every_minute, **policies)).json()
    first, task_id = datetime.fromisoformat(task["next_run"]), UUID(task["id"])
    run, waiting = (execution_id(task_id, due_at, "scheduled") for due_at in (first, first + MINUTE))
    started = happened(database, run, 1, claim_of(task_id, first))
    of = claim_of(task_id, first + MINUTE).occurrence
    queued = happened(
        database,
        waiting,
        1,
        ExecutionQueued(at=first + MINUTE, occurrence=of, behind=run, next_run_at=first + 2 * MINUTE),
    )
    told = get(client, f"/executions/{waiting}/explain")
    [statement] = told["statements"]
    assert (told["verdict"], statement["code"], statement["rule"]["name"]) == ("pending", "queued", "overlap")
    assert statement["rule"]["text"].startswith("overlap is queue_one with max_running 1: ")
    assert [event["position"] for event in statement["events"]] == [queued, started]

    counted = TaskFailuresCounted(at=first, failures=1, execution_id=run)
    group = meta()
    positions = [
        happened(database, task_id, 2, counted, group),
        happened(database, task_id, 3, TaskPaused(at=first, note="1 execution has failed"), group),
    ]
    standing = get(client, f"/tasks/{task_id}/explain")
    paused = next(each for each in standing["statements"] if each["code"] == "task_paused")
    assert paused["rule"]["name"] == "disable_after_failures"
    assert [event["position"] for event in paused["events"]] == positions
    printed = command(database, tmp_path, "explain", str(task_id)).stdout
    assert f"- {paused['text']}\n  rule: {paused['rule']['text']}\n" in printed


def test_a_busy_schedule_is_read_page_by_page(client: httpx.Client, database: str) -> None:
    created = client.post("/api/v1/tasks", json=task_json(trigger={"type": "cron", "cron": "* * * * *"}))
    task = created.json()
    first = datetime.fromisoformat(task["next_run"])
    position = 0
    for number in range(250):
        _, position = ran(database, UUID(task["id"]), first + number * MINUTE)
    seen: list[dict[str, Any]] = []
    start: str | None = first.isoformat()
    while start is not None:
        end = (first + 260 * MINUTE).isoformat()
        path = f"/tasks/{task['id']}/occurrences"
        page = get(client, path, min_position=position, limit=200, to=end, **{"from": start})
        seen += page["items"]
        start = page["next_from"]
    assert [item["outcome"] for item in seen] == ["succeeded"] * 250 + ["expected"] * 10
    assert [datetime.fromisoformat(item["due_at"]) for item in seen] == [
        first + number * MINUTE for number in range(260)
    ]


def test_what_cannot_be_explained_ends_with_a_sentence(
    client: httpx.Client, database: str, tmp_path: Path
) -> None:
    nobody = "01940f3e-8a00-7c3d-9b51-2f6a7c1d0e42"
    unknown = command(database, tmp_path, "explain", nobody)
    assert unknown.returncode == 1
    assert unknown.stderr == f"There is no task {nobody}; check the id.\n"
    nothing = command(database, tmp_path, "explain", "--at", datetime.now(UTC).isoformat())
    assert nothing.returncode == 2
    assert "Give the id of a task, or --execution" in nothing.stderr
