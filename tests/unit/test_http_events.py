"""The event log over HTTP: in pages, and line by line."""

import asyncio
import contextlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID, uuid4

import jsonschema_rs
import pytest
from litestar.exceptions import LitestarException

from application.ports import Group, Meta, NewFact
from interfaces.http import events as event_answers
from interfaces.http.openapi import openapi_document
from tests.support.event_reader import MemoryEventReader
from tests.support.groups import started
from tests.support.http_service import HttpService, assert_a_problem

LINES = {"Accept": "application/x-ndjson"}


def judge(name: str, value: Any) -> None:
    schema = {"$ref": f"#/components/schemas/{name}", "components": openapi_document()["components"]}
    jsonschema_rs.validate(schema, value)


async def page(service: HttpService, path: str = "/events", **parameters: Any) -> dict[str, Any]:
    answer = await service.client.get(f"/api/v1{path}", params=parameters)
    found: dict[str, Any] = answer.json()
    assert answer.status_code == 200, found
    judge("EventPage", found)
    return found


async def lines(service: HttpService, path: str = "/events", **parameters: Any) -> list[dict[str, Any]]:
    answer = await service.client.get(f"/api/v1{path}", params=parameters, headers=LINES)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.text == "" or answer.text.endswith("\n")
    found = [json.loads(line) for line in answer.text.splitlines()]
    for event in found:
        judge("Event", event)
    return found


async def claimed(service: HttpService, task_id: str) -> UUID:
    run = uuid4()
    meta = Meta(actor="scheduler:node-1", correlation_id=str(run), command_id=uuid4())
    await service.log.append(Group(facts=(NewFact(run, 1, started(UUID(task_id))),), meta=meta))
    return run


async def test_a_tasks_events_tell_what_was_decided_by_whom_and_in_which_request(
    service: HttpService,
) -> None:
    task = await service.create()
    path = f"/api/v1/tasks/{task['id']}"
    await service.client.post(f"{path}/pause", json={"note": "moving"}, headers={"X-Request-ID": "move-1"})
    found = await page(service, f"/tasks/{task['id']}/events")
    created, paused = found["items"]
    assert (created["topic"], created["version"], created["stream"]) == ("task.created.v1", 1, task["id"])
    assert created["data"]["definition"]["name"] == task["name"]
    assert created["data"]["definition"]["action"]["payload"] == {"kind": "daily"}
    assert (paused["topic"], paused["position"], paused["namespace"]) == ("task.paused.v1", 2, "default")
    assert (paused["correlation_id"], paused["data"]["note"]) == ("move-1", "moving")
    assert (found["next_after"], found["more"]) == (2, False)


async def test_a_tasks_events_are_those_of_its_own_stream_page_by_page(service: HttpService) -> None:
    task = await service.create()
    await claimed(service, task["id"])
    path = f"/api/v1/tasks/{task['id']}"
    for command in ("pause", "resume", "pause"):
        await service.client.post(f"{path}/{command}")
    first = await page(service, f"/tasks/{task['id']}/events", limit=3)
    last = await page(service, f"/tasks/{task['id']}/events", limit=3, after=first["next_after"])
    assert [event["version"] for event in first["items"] + last["items"]] == [1, 2, 3, 4]
    assert [(found["next_after"], found["more"]) for found in (first, last)] == [(3, True), (4, False)]


async def test_an_executions_events_are_read_by_its_id(service: HttpService) -> None:
    task = await service.create()
    run = await claimed(service, task["id"])
    found = await page(service, f"/executions/{run}/events")
    [event] = found["items"]
    assert (event["topic"], event["actor"]) == ("execution.started.v1", "scheduler:node-1")
    assert event["data"]["occurrence"]["task_id"] == task["id"]


async def test_a_stream_of_another_kind_is_not_found(service: HttpService) -> None:
    task = await service.create()
    run = await claimed(service, task["id"])
    for path, slug in (
        (f"/tasks/{run}/events", "task-not-found"),
        (f"/tasks/{UUID(int=404)}/events", "task-not-found"),
        (f"/executions/{task['id']}/events", "execution-not-found"),
        (f"/executions/{UUID(int=404)}/events", "execution-not-found"),
    ):
        for headers in ({}, LINES):
            answer = await service.client.get(f"/api/v1{path}", headers=headers)
            assert (answer.status_code, answer.json()["type"]) == (404, f"/problems/{slug}")
            assert_a_problem(answer)


async def test_the_log_is_read_from_any_position(service: HttpService) -> None:
    for _ in range(3):
        await service.create()
    found = await page(service, after=1, limit=1)
    assert [event["position"] for event in found["items"]] == [2]
    assert (found["next_after"], found["more"]) == (2, True)
    assert (await page(service, after=3))["items"] == []


async def test_events_are_filtered_by_topic_task_namespace_actor_and_time(service: HttpService) -> None:
    task, other = await service.create(), await service.create()
    await claimed(service, task["id"])
    now = datetime.now(UTC)
    for parameters, positions in (
        ({"topic": "execution."}, [3]),
        ({"task_id": task["id"]}, [1, 3]),
        ({"task_id": other["id"], "topic": "task.created.v1"}, [2]),
        ({"namespace": "default"}, [1, 2, 3]),
        ({"namespace": "billing"}, []),
        ({"actor": "scheduler:node-1"}, [3]),
        ({"recorded_from": (now - timedelta(hours=1)).isoformat()}, [1, 2, 3]),
        ({"recorded_to": (now - timedelta(hours=1)).isoformat()}, []),
    ):
        found = await page(service, **parameters)
        assert [event["position"] for event in found["items"]] == positions, parameters
        assert found["items"] == await lines(service, **parameters)


async def test_lines_tell_all_of_a_long_log_and_how_far_it_was_read(
    service: HttpService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_answers, "LINES_AT_ONCE", 2)
    for _ in range(5):
        await service.create()
    answer = await service.client.get("/api/v1/events", headers=LINES)
    assert [json.loads(line)["position"] for line in answer.text.splitlines()] == [1, 2, 3, 4, 5]
    assert answer.headers["x-event-position"] == "5"
    assert len(await lines(service, limit=3)) == 3
    assert [event["position"] for event in await lines(service, after=4)] == [5]


async def test_nothing_is_read_for_whoever_wants_no_lines(
    service: HttpService, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = await service.create()
    read: list[Any] = []
    for name in ("page", "of_stream"):
        monkeypatch.setattr(MemoryEventReader, name, lambda *asked: read.append(asked))
    for path in ("/events", f"/tasks/{task['id']}/events"):
        answer = await service.client.head(f"/api/v1{path}", headers=LINES)
        assert (answer.status_code, answer.headers["content-type"], answer.text) == (200, LINES["Accept"], "")
    assert read == []


async def test_lines_of_a_stream_end_with_it(service: HttpService) -> None:
    task = await service.create()
    await service.client.post(f"/api/v1/tasks/{task['id']}/pause")
    told = await lines(service, f"/tasks/{task['id']}/events")
    assert told == (await page(service, f"/tasks/{task['id']}/events"))["items"]
    assert await lines(service, f"/tasks/{task['id']}/events", after=2) == []


@pytest.mark.parametrize(
    "accept", ["*/*", "application/json", "application/json, application/x-ndjson;q=0.5"]
)
async def test_pages_are_sent_to_whoever_does_not_prefer_lines(service: HttpService, accept: str) -> None:
    answer = await service.client.get("/api/v1/events", headers={"Accept": accept})
    assert answer.headers["content-type"] == "application/json"


async def test_an_outage_is_told_before_the_first_line(service: HttpService) -> None:
    with service.log.away():
        for headers in ({}, LINES):
            answer = await service.client.get("/api/v1/events", headers=headers)
            assert answer.status_code == 503
            assert_a_problem(answer)


async def test_an_outage_between_lines_breaks_the_connection_off(
    service: HttpService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_answers, "LINES_AT_ONCE", 1)
    for _ in range(3):
        await service.create()
    sent: list[dict[str, Any]] = []
    with contextlib.ExitStack() as outage:

        async def send(message: Any) -> None:
            sent.append(message)
            if message.get("body"):
                outage.enter_context(service.log.away())

        async def receive() -> Any:
            return await asyncio.get_running_loop().create_future()

        path = "/api/v1/events"
        scope = {
            "type": "http",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(b"accept", b"application/x-ndjson")],
            "state": {},
        }
        with pytest.raises(LitestarException):
            await service.app(cast("Any", scope), receive, send)
    assert [message.get("more_body") for message in sent] == [None, True]


@pytest.mark.parametrize(
    ("query", "parameter", "told"),
    [
        ("after=-1", "after", "whole number"),
        ("limit=201", "limit", "from 1 to 200"),
        ("task_id=7", "task_id", "a UUID"),
        ("topic=", "topic", "1 to 100"),
        ("actor=a%00b", "actor", "1 to 255"),
        ("recorded_from=yesterday", "recorded_from", "2030-01-01T12:00:00Z"),
        ("until=3", "until", "Known are"),
    ],
)
async def test_a_wrong_parameter_is_refused(
    service: HttpService, query: str, parameter: str, told: str
) -> None:
    answer = await service.client.get(f"/api/v1/events?{query}")
    assert answer.status_code == 400
    [error] = answer.json()["errors"]
    assert error["parameter"] == parameter
    assert told in error["detail"]
