"""Answers from the past over HTTP: what was answered then, and what cannot be asked."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

import psycopg
import pytest

from application.ports import NewFact
from domain.facts import TaskUpdated
from infrastructure.past import reader as reading
from tests.support.entries import definition
from tests.support.projecting import connect
from tests.support.running_api import client_of
from tests.support.stored import append

if TYPE_CHECKING:
    from pathlib import Path


CRON = {
    "name": "report",
    "trigger": {"type": "cron", "cron": "0 9 * * *"},
    "action": {"method": "GET", "url": "http://127.0.0.1/"},
}


def test_what_was_answered_then_is_answered_again(database: str, tmp_path: Path) -> None:
    with client_of(database, tmp_path) as client:
        created = client.post("/tasks", json=CRON)
        task = f"/tasks/{created.json()['id']}"
        answers = [
            created,
            client.put(task, json={**CRON, "name": "renamed"}),
            client.post(f"{task}/pause", json={"note": "holidays"}),
            client.post(f"{task}/resume"),
            client.delete(task),
        ]
        client.post("/tasks", json=CRON)
        for answer in answers:
            position = answer.headers["X-Event-Position"]
            then = client.get(task, params={"as_of_position": position})
            assert then.json() == answer.json()
            assert then.headers["X-Event-Position"] == position
            assert then.headers["ETag"] == answer.headers["ETag"]
            page = client.get("/tasks", params={"as_of_position": position}).json()
            assert (page["items"], page["total"]) == ([answer.json()], 1)
        assert client.get("/tasks").json()["total"] == 2


def test_lists_of_the_past_take_the_filters_sorts_and_pages_of_the_present(
    database: str, tmp_path: Path
) -> None:
    with client_of(database, tmp_path) as client:
        names = ["Alpha", "beta", "Gamma", "delta"]
        tasks = [client.post("/tasks", json={**CRON, "name": name}) for name in names]
        position = tasks[-1].headers["X-Event-Position"]
        listings = {
            "sorted": {"sort": "name"},
            "named": {"name": "TA", "sort": "-name"},
            "created": {"created_from": tasks[1].json()["created_at"], "sort": "created_at"},
            "ever created": {"created_from": "0001-01-01T00:00:00Z"},
            "paged": {"limit": "3", "sort": "name"},
            "none": {"status": "paused"},
        }
        present = {name: client.get("/tasks", params=listing).json() for name, listing in listings.items()}
        for answer in tasks:
            client.delete(f"/tasks/{answer.json()['id']}")
        for name, params in listings.items():
            past = {**params, "as_of_position": position}
            assert client.get("/tasks", params=past).json() == present[name], name
        rest = {"cursor": present["paged"]["next_cursor"], "limit": "3", "as_of_position": position}
        assert len(client.get("/tasks", params=rest).json()["items"]) == 1
        assert client.get("/tasks", params={"status": "cancelled"}).json()["total"] == 4


@pytest.mark.parametrize(
    ("params", "parameter", "advice"),
    [
        ({"as_of": "2026-01-01T00:00:00Z", "as_of_position": "1"}, "as_of_position", "not both"),
        ({"as_of": "yesterday"}, "as_of", "is not an instant"),
        ({"as_of": "2026-01-01T00:00:00"}, "as_of", "is not an instant"),
        ({"as_of": "0001-01-01T00:00:00Z"}, "as_of", "give one from 1970"),
        ({"as_of": "9000-01-01T00:00:00Z"}, "as_of", "Z now, by the database's clock: give"),
        ({"as_of_position": "7"}, "as_of_position", "the log ends at position 0: give an earlier one"),
        ({"as_of_position": "-1"}, "as_of_position", "will not do"),
        ({"as_of_position": "x"}, "as_of_position", "will not do"),
        ({"as_of_position": "0", "sort": "-next_run"}, "sort", "cannot be sorted by next_run"),
    ],
)
def test_a_moment_that_cannot_be_looked_at_is_refused_with_what_to_change(
    database: str, tmp_path: Path, params: dict[str, str], parameter: str, advice: str
) -> None:
    with client_of(database, tmp_path) as client:
        answer = client.get("/tasks", params=params)
        assert answer.status_code == 400, answer.text
        [error] = answer.json()["errors"]
        assert error["parameter"] == parameter
        assert advice in error["detail"]


def test_a_cursor_of_a_list_by_next_run_does_not_lead_into_the_past(database: str, tmp_path: Path) -> None:
    with client_of(database, tmp_path) as client:
        for _ in range(2):
            last = client.post("/tasks", json=CRON)
        cursor = client.get("/tasks", params={"sort": "next_run", "limit": "1"}).json()["next_cursor"]
        params = {"cursor": cursor, "as_of_position": last.headers["X-Event-Position"]}
        answer = client.get("/tasks", params=params)
        assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (400, "cursor")


def test_before_the_first_event_there_was_nothing(database: str, tmp_path: Path) -> None:
    with client_of(database, tmp_path) as client:
        created = client.post("/tasks", json=CRON).json()
        for params in ({"as_of_position": "0"}, {"as_of": "2020-01-01T00:00:00Z"}):
            assert client.get("/tasks", params=params).json()["total"] == 0
            assert client.get("/metrics", params=params).json()["active_tasks"] == 0
            missing = client.get(f"/tasks/{created['id']}", params=params)
            assert (missing.status_code, missing.json()["type"]) == (404, "/problems/task-not-found")
            window = client.get(f"/tasks/{created['id']}/occurrences", params=params)
            assert window.status_code == 404
            assert window.json()["detail"] == missing.json()["detail"]
            since = missing.json()["detail"].partition("it is there since ")[2].partition(",")[0]
            assert client.get(f"/tasks/{created['id']}", params={"as_of": since}).json() == created


def test_what_was_committed_right_before_is_seen_at_once(database: str, tmp_path: Path) -> None:
    with client_of(database, tmp_path) as client:
        for number in range(1, 20):
            client.post("/tasks", json=CRON, headers={"Prefer": "respond-async"})
            with psycopg.connect(database) as connection:
                [(now,)] = connection.execute("SELECT clock_timestamp()").fetchall()
            answer = client.get("/tasks", params={"as_of": now.isoformat()})
            assert (answer.headers["X-Event-Position"], answer.json()["total"]) == (str(number), number)


def test_more_history_than_an_answer_is_worth_is_refused(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MOST_TASK_EVENTS", 3)
    monkeypatch.setattr(reading, "MOST_EVENTS", 4)
    with client_of(database, tmp_path) as client:
        for _ in range(5):
            task = client.post("/tasks", json=CRON)
        position = {"as_of_position": task.headers["X-Event-Position"]}
        for path, advice in (("/tasks", "narrow `created_from`"), ("/metrics", "ask for an earlier instant")):
            answer = client.get(path, params=position)
            assert answer.status_code == 422, answer.text
            assert answer.json()["type"] == "/problems/too-much-history"
            assert advice in answer.json()["detail"]
        single = client.get(f"/tasks/{task.json()['id']}", params=position)
        assert single.json() == task.json()
        long_ago = {"created_to": "2020-01-01T00:00:00Z", **position}
        assert client.get("/tasks", params=long_ago).json()["total"] == 0


async def test_positions_are_in_the_order_in_which_they_were_recorded(database: str, tmp_path: Path) -> None:
    with client_of(database, tmp_path) as client:
        for _ in range(30):
            client.post("/tasks/bulk", json={"tasks": [CRON] * 3})
    with psycopg.connect(database) as connection:
        rows = connection.execute("SELECT recorded_at FROM events ORDER BY notification_id").fetchall()
    assert len(rows) == 90
    assert rows == sorted(rows)


async def test_an_event_that_no_read_model_can_hold_ends_the_list_of_the_past(
    database: str, tmp_path: Path
) -> None:
    with client_of(database, tmp_path) as client:
        task = client.post("/tasks", json=CRON).json()
        fact = TaskUpdated(at=datetime.now(UTC), definition=definition("n" * 256), next_run_at=None)
        async with await connect(database) as connection:
            await append(connection, [NewFact(UUID(task["id"]), 2, fact)])
        assert client.get("/tasks", params={"as_of_position": "1"}).json()["items"] == [task]
        assert client.get("/tasks", params={"as_of_position": "2"}).status_code == 503


def test_an_event_that_this_release_cannot_read_is_no_reason_to_guess(database: str, tmp_path: Path) -> None:
    with client_of(database, tmp_path) as client:
        task = client.post("/tasks", json=CRON).json()
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute(
                "INSERT INTO events (originator_id, originator_version, topic, state) "
                "VALUES (%s, 2, 'task.x.v1', '{}')",
                (task["id"],),
            )
        for path in (f"/tasks/{task['id']}", "/tasks", "/metrics"):
            assert client.get(path, params={"as_of_position": "2"}).status_code == 503
            assert client.get(path, params={"as_of_position": "1"}).status_code == 200
