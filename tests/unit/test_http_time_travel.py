"""Reads as of an earlier moment: what they answer with, and what is refused."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.support.http_service import HttpService, assert_a_problem


async def as_of(service: HttpService, path: str, **params: Any) -> Any:
    answer = await service.client.get(f"/api/v1{path}", params=params)
    assert answer.status_code == 200, answer.text
    return answer


async def test_a_task_is_read_as_it_was_with_the_position_that_this_reflects(service: HttpService) -> None:
    created = await service.create(name="before")
    task = f"/tasks/{created['id']}"
    await service.client.delete(f"/api/v1{task}")
    then = await as_of(service, task, as_of_position=1)
    assert then.json() == created
    assert (then.headers["X-Event-Position"], then.headers["ETag"]) == ("1", '"1"')
    now = await as_of(service, task)
    assert now.json()["status"] == "cancelled"
    assert "X-Event-Position" not in now.headers


async def test_an_instant_stands_for_the_last_event_recorded_by_then(service: HttpService) -> None:
    await service.create(name="first")
    [first] = service.log.recorded
    await service.create(name="second")
    exactly = await as_of(service, "/tasks", as_of=first.recorded_at.isoformat())
    assert exactly.headers["X-Event-Position"] == "1"
    assert [task["name"] for task in exactly.json()["items"]] == ["first"]
    earlier = first.recorded_at - timedelta(microseconds=1)
    assert (await as_of(service, "/tasks", as_of=earlier.isoformat())).json()["total"] == 0


async def test_figures_and_occurrences_are_those_of_the_moment(service: HttpService) -> None:
    created = await service.create()
    await service.client.post(f"/api/v1/tasks/{created['id']}/pause")
    figures = await as_of(service, "/metrics", as_of_position=1)
    assert (figures.json()["active_tasks"], figures.headers["X-Event-Position"]) == (1, "1")
    window = await as_of(service, f"/tasks/{created['id']}/occurrences", as_of_position=1)
    assert {item["outcome"] for item in window.json()["items"]} == {"expected"}
    paused = await as_of(service, f"/tasks/{created['id']}/occurrences", as_of_position=2)
    assert {item["outcome"] for item in paused.json()["items"]} == {"paused"}


@pytest.mark.parametrize("path", ["/tasks", "/tasks/{id}", "/metrics"])
async def test_the_past_waits_for_no_read_model(service: HttpService, path: str) -> None:
    created = await service.create()
    there = path.format(id=created["id"])
    service.visibility.reached = False
    await as_of(service, there, as_of_position=1, min_position=99)
    late = await service.client.get(f"/api/v1{there}", params={"min_position": 99})
    assert late.status_code == 425


@pytest.mark.parametrize("page", ["", "/occurrences"])
async def test_a_task_that_was_not_there_yet_is_told_from_when_it_is(service: HttpService, page: str) -> None:
    await service.create()
    created = await service.create()
    first = service.log.recorded[-1]
    since = first.recorded_at.isoformat().replace("+00:00", "Z")
    earlier = (first.recorded_at - timedelta(microseconds=1)).isoformat()
    path = f"/tasks/{created['id']}{page}"
    for then in ({"as_of_position": 1}, {"as_of": earlier}):
        answer = await service.client.get(f"/api/v1{path}", params=then)
        assert_a_problem(answer)
        assert (answer.status_code, answer.json()["type"]) == (404, "/problems/task-not-found")
        assert answer.json()["detail"] == (
            f"There was no task {created['id']} yet: it is there since {since}, position 2 of the log; ask "
            "for that moment or a later one."
        )
    await as_of(service, path, as_of=since)
    await as_of(service, path, as_of_position=2)


@pytest.mark.parametrize("page", ["", "/occurrences"])
async def test_what_is_no_task_today_either_is_not_there(service: HttpService, page: str) -> None:
    created = await service.create()
    run = await service.client.post(f"/api/v1/tasks/{created['id']}/trigger")
    for unknown in (uuid4(), run.json()["id"]):
        answer = await service.client.get(f"/api/v1/tasks/{unknown}{page}", params={"as_of_position": 0})
        assert answer.status_code == 404
        assert answer.json()["detail"] == f"There is no task {unknown}; check the id."


@pytest.mark.parametrize("path", ["/tasks", "/tasks/{id}", "/tasks/{id}/occurrences", "/metrics"])
@pytest.mark.parametrize(
    ("params", "parameter"),
    [
        ({"as_of": "2026-01-01T00:00:00Z", "as_of_position": "1"}, "as_of_position"),
        ({"as_of": "noon"}, "as_of"),
        ({"as_of": (datetime.now(UTC) + timedelta(days=1)).isoformat()}, "as_of"),
        ({"as_of_position": "2"}, "as_of_position"),
        ({"as_of_position": "-1"}, "as_of_position"),
    ],
)
async def test_a_moment_that_cannot_be_looked_at_is_refused_everywhere(
    service: HttpService, path: str, params: dict[str, str], parameter: str
) -> None:
    created = await service.create()
    answer = await service.client.get(f"/api/v1{path.format(id=created['id'])}", params=params)
    assert answer.status_code == 400
    assert_a_problem(answer)
    assert [error["parameter"] for error in answer.json()["errors"]] == [parameter]


async def test_a_list_of_the_past_is_not_sorted_by_next_run(service: HttpService) -> None:
    answer = await service.client.get("/api/v1/tasks", params={"as_of_position": 0, "sort": "next_run"})
    assert answer.status_code == 400
    assert "sort by created_at, updated_at or name" in answer.json()["errors"][0]["detail"]
