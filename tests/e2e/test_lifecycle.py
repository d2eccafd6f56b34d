"""Pausing, resuming, running by hand, backfilling and cancelling, on the real service."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from tests.e2e.client import Client, cron, soon
from tests.support.service import until

if TYPE_CHECKING:
    from tests.e2e.callee import Callee
    from tests.e2e.client import Json

NEVER = "0 0 1 1 *"


def command(client: Client, path: str, **body: Any) -> Json:
    answer = client.http.post(f"/api/v1{path}", json=body or None)
    assert answer.status_code in {200, 202}, answer.text
    found: Json = answer.json()
    return found


def until_status(client: Client, run: str, status: str) -> Json:
    def probe() -> Json | None:
        now = client.get(f"/executions/{run}")
        return now if now["status"] == status else None

    found = until(probe, f"execution {run} is {status}", seconds=30)
    assert found is not None
    return found


def test_a_run_by_hand_is_made_at_once_also_of_a_paused_task(client: Client, callee: Callee) -> None:
    task = client.create(cron(callee.url("/ok?by-hand"), NEVER))
    assert command(client, f"/tasks/{task['id']}/pause", note="moving")["status"] == "paused"
    run = command(client, f"/tasks/{task['id']}/trigger")
    over = until_status(client, run["id"], "succeeded")
    assert (over["kind"], over["attempts"]) == ("manual", 1)
    assert len(callee.calls("/ok?by-hand")) == 1
    assert client.task(task)["status"] == "paused"


def test_a_paused_task_is_silent_and_catches_up_when_resumed(client: Client, callee: Callee) -> None:
    trigger = {"type": "interval", "every_seconds": 1, "start_at": soon(5).isoformat()}
    action = {"method": "GET", "url": callee.url("/ok?paused")}
    task = client.create({"name": "Paused", "trigger": trigger, "action": action})
    command(client, f"/tasks/{task['id']}/pause")
    due = datetime.fromisoformat(task["next_run"])
    until(lambda: soon(0) > due, "it was due", seconds=30)
    assert callee.calls("/ok?paused") == []
    command(client, f"/tasks/{task['id']}/resume")
    callee.wait_for("/ok?paused", 2)
    client.http.delete(f"/api/v1/tasks/{task['id']}")


def test_a_backfill_runs_the_past_once(client: Client, callee: Callee) -> None:
    task = client.create(cron(callee.url("/ok?past"), "0 0 1 1 *"))
    period = {"start": "2020-01-01T00:00:00Z", "end": "2023-01-01T00:00:00Z"}
    done = command(client, f"/tasks/{task['id']}/backfill", **period)
    assert [one["due_at"][:4] for one in done["executions"]] == ["2020", "2021", "2022"]
    for one in done["executions"]:
        until_status(client, one["id"], "succeeded")
    assert command(client, f"/tasks/{task['id']}/backfill", **period)["already_run"] == 3
    assert len(callee.calls("/ok?past")) == 3


def test_a_call_in_flight_is_broken_off(client: Client, callee: Callee) -> None:
    task = client.create(cron(callee.url("/slow/60?cancelled"), NEVER))
    run = command(client, f"/tasks/{task['id']}/trigger")["id"]
    callee.wait_for("/slow/60?cancelled")
    cancelled = command(client, f"/executions/{run}/cancel", note="it hangs")
    assert (cancelled["status"], cancelled["reason"]) == ("cancelled", "cancelled by a user: it hangs")
    assert "outcome unknown" in cancelled["attempt_log"][0]["error_message"]
    assert client.task(task)["status"] == "scheduled"
    assert len(callee.calls("/slow/60?cancelled")) == 1
