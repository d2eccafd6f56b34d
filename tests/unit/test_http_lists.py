"""Reading lists and results."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from msgspec.structs import replace

from domain import task as tasks
from interfaces.http.answers import Attempt, Result, Task, TaskPage
from projections.views import AttemptView, Listing, ResultView, TaskView
from tests.support.given import created
from tests.support.http_service import HttpService
from tests.support.views import NOON, RESULT_ID, result_view, task_view


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/tasks",
        "/api/v1/results",
        f"/api/v1/results/{RESULT_ID}",
        "/api/v1/metrics",
        "/api/v1/tasks/{id}",
        "/api/v1/tasks/{id}/results",
    ],
)
async def test_a_read_waits_for_the_position_asked_for(service: HttpService, path: str) -> None:
    task = await service.create()
    service.queries.results_known.append(result_view())
    service.visibility.asked.clear()
    path = path.replace("{id}", task["id"])
    assert (await service.client.get(path, params={"min_position": 1})).status_code == 200
    assert service.visibility.asked == [(1, 2.0)]
    service.visibility.reached = False
    late = await service.client.get(path, params={"min_position": 99})
    assert late.status_code == 425
    assert late.json()["type"] == "/problems/not-yet-visible"
    assert late.headers["retry-after"] == "1"


async def test_lists_pass_on_every_filter(service: HttpService) -> None:
    answer = await service.client.get(
        "/api/v1/tasks?status=scheduled&trigger_type=cron&name=a%25b&created_from=2026-01-01T00:00:00Z"
        "&created_to=2026-02-01T00:00:00%2B02:00&limit=20&page=3&sort=-next_run"
    )
    assert answer.status_code == 200
    [(query, paging)] = service.queries.asked_tasks
    assert (query.status, query.trigger_type, query.name) == ("scheduled", "cron", "a%b")
    assert query.created_from == datetime(2026, 1, 1, tzinfo=UTC)
    assert query.created_to == datetime(2026, 1, 31, 22, tzinfo=UTC)
    assert (paging.limit, paging.page, paging.sort, paging.cursor) == (20, 3, "-next_run", None)


async def test_a_name_may_contain_null(service: HttpService) -> None:
    await service.create(name="Not null")
    await service.create(name="Another")
    answer = await service.client.get("/api/v1/tasks?name=null")
    assert [task["name"] for task in answer.json()["items"]] == ["Not null"]


async def test_lists_of_results_pass_on_every_filter(service: HttpService) -> None:
    task_id = uuid4()
    answer = await service.client.get(
        f"/api/v1/results?success=false&status=failed&task_id={task_id}&status_code=503"
        "&from=2026-01-01T00:00:00+02:00&to=2026-02-01T00:00:00Z&sort=duration_ms"
    )
    assert answer.status_code == 200
    [(query, paging)] = service.queries.asked_results
    assert (query.success, query.status, query.task_id, query.status_code) == (False, "failed", task_id, 503)
    assert query.due_from == datetime(2025, 12, 31, 22, tzinfo=UTC)
    assert query.due_to == datetime(2026, 2, 1, tzinfo=UTC)
    assert paging.sort == "duration_ms"


async def test_a_page_tells_how_many_there_are(service: HttpService) -> None:
    for number in range(3):
        await service.create(name=f"Task {number}")
    answer = await service.client.get("/api/v1/tasks?limit=2&page=2")
    page = answer.json()
    assert [task["name"] for task in page.pop("items")] == ["Task 2"]
    assert page == {"total": 3, "page": 2, "limit": 2, "next_cursor": None}


async def test_results_of_a_task_are_asked_for_by_its_id(service: HttpService) -> None:
    task = await service.create()
    await service.client.get(f"/api/v1/tasks/{task['id']}/results")
    [(query, _)] = service.queries.asked_results
    assert str(query.task_id) == task["id"]


async def test_results_of_an_unknown_task_are_not_found(service: HttpService) -> None:
    answer = await service.client.get(f"/api/v1/tasks/{uuid4()}/results")
    assert answer.status_code == 404
    assert answer.json()["type"] == "/problems/task-not-found"


async def test_a_result_tells_the_whole_story(service: HttpService) -> None:
    service.queries.results_known.append(result_view(response_headers={"x-a": "1"}, attempts=1))
    answer = await service.client.get(f"/api/v1/results/{RESULT_ID}")
    result: dict[str, Any] = answer.json()
    assert result["id"] == str(RESULT_ID)
    assert (result["status"], result["success"], result["status_code"]) == ("succeeded", True, 200)
    assert result["response_headers"] == {"x-a": "1"}
    assert result["attempt_log"] == [
        {
            "number": 1,
            "started_at": "2030-01-01T12:00:00Z",
            "duration_ms": 12,
            "status_code": 200,
            "error_message": None,
        }
    ]


def test_rows_of_the_read_models_have_the_members_that_the_api_documents() -> None:
    assert TaskView.__struct_fields__ == Task.__struct_fields__
    assert ResultView.__struct_fields__ == Result.__struct_fields__
    assert AttemptView.__struct_fields__ == Attempt.__struct_fields__


async def test_lists_show_what_a_read_of_each_shows(service: HttpService) -> None:
    for name in ("running", "paused", "resumed", "over"):
        task = await service.create(name=name)
        path = f"/api/v1/tasks/{task['id']}"
        for step in {"paused": ["pause"], "resumed": ["pause", "resume"]}.get(name, []):
            await service.client.post(f"{path}/{step}")
        if name == "over":
            await service.client.delete(path)
    service.queries.results_known += [result_view(), result_view(id=uuid4(), attempt_log=[], success=None)]
    for path in ("/api/v1/tasks", "/api/v1/results"):
        items = (await service.client.get(path)).json()["items"]
        assert items == [(await service.client.get(f"{path}/{item['id']}")).json() for item in items]


def test_a_list_tells_nothing_of_a_pause_that_is_over() -> None:
    state = tasks.begin(uuid4(), created())
    resumed = replace(task_view(state), paused_at=NOON, pause_note="moved")
    listing = Listing(items=[resumed, replace(resumed, status="paused")], total=2, page=1, limit=50)
    [over, going_on] = msgspec.json.decode(msgspec.json.encode(TaskPage.of_listing(listing)))["items"]
    assert (over["paused_at"], over["pause_note"]) == (None, None)
    assert (going_on["paused_at"], going_on["pause_note"]) == ("2030-01-01T12:00:00Z", "moved")
