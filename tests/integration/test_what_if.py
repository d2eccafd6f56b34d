"""Simulations over a real ledger and a real log."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx

from tests.support.running_api import running_api

if TYPE_CHECKING:
    from pathlib import Path

HOURLY = {
    "name": "report",
    "trigger": {"type": "interval", "every_seconds": 3600},
    "action": {"method": "GET", "url": "http://127.0.0.1/"},
}


def test_what_is_recorded_of_a_task_is_read_and_its_future_is_told(database: str, tmp_path: Path) -> None:
    start = (datetime.now(UTC) - timedelta(minutes=5)).isoformat()
    end = (datetime.now(UTC) + timedelta(hours=5.5)).isoformat()
    with (
        running_api(database, tmp_path) as url,
        httpx.Client(base_url=f"{url}/api/v1", timeout=30) as client,
    ):
        task: dict[str, Any] = client.post("/tasks", json=HOURLY).json()
        run = client.post(f"/tasks/{task['id']}/trigger").json()
        client.post(f"/executions/{run['id']}/cancel")
        events = client.get("/events").json()["items"]
        answer = client.post(
            "/simulate",
            json={
                "task_id": task["id"],
                "change": {"trigger": {"every_seconds": 1800}},
                "past": {"from": start},
                "future": {"to": end},
            },
        )
        assert client.get("/events").json()["items"] == events
    assert answer.status_code == 200, answer.text
    past, future = answer.json()["past"], answer.json()["future"]
    assert (past["before"]["manual"], past["before"]["cancelled"]) == (1, 1)
    assert (past["after"], past["differences"]) == (past["before"], [])
    assert (future["before"]["occurrences"], future["after"]["occurrences"]) in {(5, 10), (5, 11)}
