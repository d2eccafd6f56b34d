"""Running by hand, backfilling and cancelling executions over HTTP."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from application.ports import Group, Meta, NewFact
from domain.facts import (
    Answered,
    Attempt,
    AttemptFailed,
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionRequested,
    ExecutionStarted,
)
from domain.identity import Month
from tests.support.http_service import HttpService, assert_a_problem
from tests.support.views import RESULT_ID, result_view

MISSING = "01940f3e-8a00-7c3d-9b51-2f6a7c1d0e42"
DAY = {"start": "2026-01-01T00:00:00Z", "end": "2026-01-03T00:00:00Z"}


async def ask(service: HttpService, path: str, **options: Any) -> Any:
    return await service.client.post(f"/api/v1{path}", **options)


def requested(service: HttpService) -> list[ExecutionRequested]:
    return [fact for fact in service.log.facts() if isinstance(fact, ExecutionRequested)]


async def further(service: HttpService, run: str, *facts: Any) -> None:
    """What a scheduler has done with an execution."""
    version = len(service.log.facts(UUID(run)))
    new = tuple(NewFact(UUID(run), version + place, fact) for place, fact in enumerate(facts, 1))
    meta = Meta(actor="scheduler", correlation_id="", command_id=UUID(int=0))
    assert await service.log.append(Group(facts=new, meta=meta)) is not None


async def test_a_triggered_task_is_answered_with_its_execution(service: HttpService) -> None:
    task = await service.create()
    answer = await ask(service, f"/tasks/{task['id']}/trigger")
    run = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/api/v1/executions/{run['id']}"
    assert answer.headers["x-event-position"] == "2"
    assert (run["status"], run["kind"], run["task_id"]) == ("pending", "manual", task["id"])
    assert (run["success"], run["attempts"], run["attempt_log"]) == (None, 0, [])
    assert len(requested(service)) == 1


async def test_a_triggered_task_is_answered_from_the_lists_once_they_show_it(service: HttpService) -> None:
    task = await service.create()
    headers = {"Idempotency-Key": "once"}
    run = (await ask(service, f"/tasks/{task['id']}/trigger", headers=headers)).json()["id"]
    service.queries.results_known.append(result_view(id=UUID(run)))
    again = await ask(service, f"/tasks/{task['id']}/trigger", headers=headers)
    assert (again.json()["id"], again.json()["status"]) == (run, "succeeded")
    hurried = await ask(
        service, f"/tasks/{task['id']}/trigger", headers=headers | {"Prefer": "respond-async"}
    )
    assert (hurried.json()["status"], hurried.headers["preference-applied"]) == ("pending", "respond-async")
    service.queries.away = True
    assert (await ask(service, f"/tasks/{task['id']}/trigger", headers=headers)).json()["status"] == "pending"
    service.visibility.reached = False
    assert (await ask(service, f"/tasks/{task['id']}/trigger", headers=headers)).json()["status"] == "pending"
    assert len(requested(service)) == 1


async def test_a_key_of_another_task_is_refused(service: HttpService) -> None:
    first, second = await service.create(), await service.create()
    headers = {"Idempotency-Key": "once"}
    await ask(service, f"/tasks/{first['id']}/trigger", headers=headers)
    refused = await ask(service, f"/tasks/{second['id']}/trigger", headers=headers)
    assert (refused.status_code, refused.json()["type"]) == (422, "/problems/idempotency-key-reused")


async def test_a_backfill_lists_what_will_run_and_is_safe_to_repeat(service: HttpService) -> None:
    task = await service.create()
    answer = await ask(service, f"/tasks/{task['id']}/backfill", json=DAY)
    body = answer.json()
    assert (answer.status_code, answer.headers["x-event-position"]) == (202, "3")
    assert [one["due_at"] for one in body["executions"]] == ["2026-01-01T09:00:00Z", "2026-01-02T09:00:00Z"]
    assert (body["already_run"], body["next_start"]) == (0, None)
    again = await ask(service, f"/tasks/{task['id']}/backfill", json=DAY)
    assert again.json() == {"executions": [], "already_run": 2, "next_start": None}
    assert "x-event-position" not in again.headers


async def test_a_backfill_waits_for_the_lists_unless_it_is_in_a_hurry(service: HttpService) -> None:
    task = await service.create()
    path = f"/tasks/{task['id']}/backfill"
    await ask(service, path, json=DAY | {"limit": 1})
    assert service.visibility.asked[-1][0] == 2
    hurried = await ask(service, path, json=DAY, headers={"Prefer": "respond-async"})
    assert hurried.headers["preference-applied"] == "respond-async"
    assert service.visibility.asked[-1][0] == 2


async def test_a_backfill_is_answered_when_the_wait_for_the_lists_fails(service: HttpService) -> None:
    task = await service.create()
    service.visibility.failing = True
    answer = await ask(service, f"/tasks/{task['id']}/backfill", json=DAY)
    assert (answer.status_code, len(answer.json()["executions"])) == (202, 2)


async def test_a_backfill_into_an_archived_month_says_where_to_begin(service: HttpService) -> None:
    task = await service.create()
    service.archived.known = {Month(2026, 1)}
    answer = await ask(service, f"/tasks/{task['id']}/backfill", json=DAY)
    assert_a_problem(answer)
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/month-archived")
    assert "begin with 2026-02" in answer.json()["detail"]
    assert not requested(service)


async def test_a_backfill_that_is_cut_off_says_where_to_go_on(service: HttpService) -> None:
    task = await service.create()
    body = (await ask(service, f"/tasks/{task['id']}/backfill", json=DAY | {"limit": 1})).json()
    assert (len(body["executions"]), body["next_start"]) == (1, "2026-01-02T09:00:00Z")


@pytest.mark.parametrize(
    ("body", "pointer", "says"),
    [
        (DAY | {"start": DAY["end"]}, "/start", "is not before `end`"),
        (DAY | {"start": "0001-01-01T00:00:00+01:01"}, "/start", "is before 1970"),
    ],
)
async def test_a_wrong_period_is_refused_with_its_place(
    service: HttpService, body: dict[str, Any], pointer: str, says: str
) -> None:
    task = await service.create()
    answer = await ask(service, f"/tasks/{task['id']}/backfill", json=body)
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert error["pointer"] == pointer
    assert says in error["detail"]
    assert requested(service) == []


async def test_a_backfill_of_the_future_is_refused(service: HttpService) -> None:
    task = await service.create()
    ahead = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    answer = await ask(service, f"/tasks/{task['id']}/backfill", json=DAY | {"end": ahead})
    [error] = answer.json()["errors"]
    assert (answer.status_code, error["pointer"]) == (422, "/end")
    assert "is in the future" in error["detail"]


async def test_a_backfill_needs_a_body(service: HttpService) -> None:
    task = await service.create()
    answer = await ask(service, f"/tasks/{task['id']}/backfill")
    assert answer.status_code in {400, 415}


async def test_an_execution_is_read_under_its_id(service: HttpService) -> None:
    service.queries.results_known.append(result_view())
    answer = await service.client.get(f"/api/v1/executions/{RESULT_ID}")
    assert answer.json() == (await service.client.get(f"/api/v1/results/{RESULT_ID}")).json()
    missing = await service.client.get(f"/api/v1/executions/{MISSING}")
    assert (missing.status_code, missing.json()["type"]) == (404, "/problems/execution-not-found")


async def test_an_execution_is_cancelled(service: HttpService) -> None:
    task = await service.create()
    run = (await ask(service, f"/tasks/{task['id']}/trigger")).json()["id"]
    answer = await ask(service, f"/executions/{run}/cancel", json={"note": "it hangs"})
    assert (answer.status_code, answer.headers["x-event-position"]) == (200, "3")
    assert (answer.json()["status"], answer.json()["reason"]) == (
        "cancelled",
        "cancelled by a user: it hangs",
    )
    again = await ask(service, f"/executions/{run}/cancel")
    assert again.json() == answer.json()
    assert sum(isinstance(fact, ExecutionCancelled) for fact in service.log.facts()) == 1
    assert (await service.client.get(f"/api/v1/tasks/{task['id']}")).json()["status"] == "scheduled"


async def test_what_cannot_be_cancelled_is_told_apart(service: HttpService) -> None:
    missing = await ask(service, f"/executions/{MISSING}/cancel")
    assert (missing.status_code, missing.json()["type"]) == (404, "/problems/execution-not-found")
    task = await service.create()
    headers = {"Idempotency-Key": "once", "Prefer": "respond-async"}
    run = (await ask(service, f"/tasks/{task['id']}/trigger", headers=headers)).json()["id"]
    now = datetime.now(UTC)
    attempt = Attempt(number=1, started_at=now, duration_ms=1, answer=Answered(status_code=503))
    occurrence = requested(service)[0].occurrence
    started = ExecutionStarted(
        at=now, occurrence=occurrence, node="node-1", lease_until=now, next_run_at=None
    )
    await further(service, run, started)
    shown = (await ask(service, f"/tasks/{task['id']}/trigger", headers=headers)).json()
    assert (shown["status"], shown["node"]) == ("running", "node-1")
    await further(
        service, run, AttemptFailed(at=now, task_id=UUID(task["id"]), attempt=attempt, retry_at=now)
    )
    shown = (await ask(service, f"/tasks/{task['id']}/trigger", headers=headers)).json()
    assert (shown["status"], shown["node"]) == ("running", None)
    assert shown["retry_at"] is not None
    failed = ExecutionFailed(at=now, task_id=UUID(task["id"]), attempt=None, reason="enough")
    await further(service, run, failed)
    shown = (await ask(service, f"/tasks/{task['id']}/trigger", headers=headers)).json()
    assert (shown["status"], shown["success"]) == ("failed", False)
    over = await ask(service, f"/executions/{run}/cancel")
    assert_a_problem(over)
    assert (over.status_code, over.json()["type"]) == (409, "/problems/execution-already-over")
