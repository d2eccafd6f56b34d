"""What the service says about itself: faults, outages, health and metrics."""

import asyncio
from typing import Any, cast

import httpx
import pytest
import structlog
from psycopg import InterfaceError, OperationalError
from psycopg.errors import UndefinedColumn, UndefinedTable
from psycopg_pool import PoolClosed, PoolTimeout

from application.ports import LogFull
from interfaces.http.api import HttpOptions, OpsDependencies
from interfaces.http.app import create_ops_app
from tests.support.http_service import (
    HttpService,
    OneMetric,
    RequestLog,
    SettableHealth,
    http_service,
    task_json,
)


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("host=db password=secret"),
        InterfaceError("secret"),
        PoolTimeout("secret"),
        PoolClosed(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_database_that_is_away_is_told_with_a_time_to_come_back(
    service: HttpService, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def failing(*_: object) -> None:
        raise error

    monkeypatch.setattr(service.queries, "tasks", failing)
    answer = await service.client.get("/api/v1/tasks")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "2"
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "/problems/database-unavailable"
    assert "secret" not in answer.text


async def test_a_log_that_is_away_is_told_with_a_time_to_come_back(service: HttpService) -> None:
    task = await service.create()
    with service.log.away():
        answers = [
            await service.client.post("/api/v1/tasks", json=task_json()),
            await service.client.put(f"/api/v1/tasks/{task['id']}", json=task_json()),
            await service.client.delete(f"/api/v1/tasks/{task['id']}"),
        ]
    assert [answer.status_code for answer in answers] == [503, 503, 503]
    assert {answer.headers["retry-after"] for answer in answers} == {"2"}
    assert {answer.json()["type"] for answer in answers} == {"/problems/database-unavailable"}
    assert len(service.log.facts()) == 1


@pytest.mark.parametrize(
    "error",
    [
        UndefinedTable('relation "tasks" does not exist'),
        UndefinedColumn('column "paused_at" does not exist'),  # an upgrade is rebuilding them
    ],
)
async def test_read_models_that_are_not_made_yet_are_told_as_such(
    service: HttpService, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def failing(*_: object) -> None:
        raise error

    monkeypatch.setattr(service.queries, "tasks", failing)
    answer = await service.client.get("/api/v1/tasks")
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/read-models-missing")


async def test_a_fault_is_logged_under_the_request_id_and_not_shown(
    service: HttpService, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing(*_: object) -> None:
        raise ZeroDivisionError("internal secret")

    monkeypatch.setattr(service.queries, "tasks", failing)
    with structlog.testing.capture_logs() as entries:
        answer = await service.client.get("/api/v1/tasks", headers={"X-Request-ID": "find-me"})
    assert answer.status_code == 500
    assert answer.json()["type"] == "/problems/internal-error"
    assert "secret" not in answer.text
    assert "ZeroDivision" not in answer.text
    [fault] = [entry for entry in entries if entry["log_level"] == "error"]
    assert fault["request_id"] == "find-me"
    assert isinstance(fault["exc_info"], ZeroDivisionError)


async def test_health_is_200_when_everything_works(service: HttpService) -> None:
    for path in ("/health", "/api/v1/health"):
        answer = await service.client.get(path)
        assert answer.status_code == 200
        assert answer.json()["status"] == "healthy"
        assert set(answer.json()["checks"]) == {"database", "projectors", "scheduler"}


async def test_health_is_503_and_names_the_failing_part(service: HttpService) -> None:
    service.health.failing.add("scheduler")
    answer = await service.client.get("/health")
    assert answer.status_code == 503
    assert answer.json()["status"] == "unhealthy"
    assert [name for name, part in answer.json()["checks"].items() if part["status"] != "healthy"] == [
        "scheduler"
    ]


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (None, "text/plain; version=0.0.4; charset=utf-8"),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        (
            "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            "text/plain; version=0.0.4; charset=utf-8",
        ),
        ("application/json", "application/json"),
        ("text/plain;q=0.5, application/json", "application/json"),
        ("image/png", "text/plain; version=0.0.4; charset=utf-8"),
        ("garbage;;q=x", "text/plain; version=0.0.4; charset=utf-8"),
    ],
)
async def test_metrics_come_in_the_format_that_is_preferred(
    service: HttpService, accept: str | None, content_type: str
) -> None:
    headers = {} if accept is None else {"Accept": accept}
    answer = await service.client.get("/metrics", headers=headers)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == content_type


async def test_the_figures_of_the_specification_are_always_at_the_api(service: HttpService) -> None:
    await service.create()
    at_api = await service.client.get("/api/v1/metrics", headers={"Accept": "text/plain"})
    at_root = await service.client.get("/metrics", headers={"Accept": "application/json"})
    assert at_api.json() == at_root.json()
    assert list(at_api.json()) == [
        "total_tasks_executed",
        "successful_tasks",
        "failed_tasks",
        "success_rate_percent",
        "average_execution_ms",
        "tasks_per_minute",
        "active_tasks",
    ]
    assert at_api.json()["active_tasks"] == 1


async def test_a_process_without_an_api_serves_health_and_metrics_only() -> None:
    observer = RequestLog()
    app = create_ops_app(
        OpsDependencies(
            health=SettableHealth(failing={"database"}), exposition=OneMetric(), observer=observer
        ),
        HttpOptions(),
    )
    transport = httpx.ASGITransport(app=cast("Any", app))
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        health = await client.get("/health")
        metrics = await client.get("/metrics")
        tasks = await client.get("/api/v1/tasks")
    assert health.status_code == 503
    assert metrics.text == "chronoledger_one 1\n"
    assert tasks.status_code == 404
    assert tasks.headers["content-type"] == "application/problem+json"
    assert [status for _, _, status in observer.seen] == [503, 200, 404]


async def test_beyond_so_many_requests_at_a_time_one_is_refused_with_a_time_to_come_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate, waiting = asyncio.Event(), asyncio.Semaphore(0)

    async def slow(*_: object) -> None:
        waiting.release()
        await gate.wait()
        raise OperationalError("away")

    async with http_service(max_requests=3) as service:
        monkeypatch.setattr(service.queries, "tasks", slow)
        under_way = [asyncio.create_task(service.client.get("/api/v1/tasks")) for _ in range(3)]
        for _ in under_way:
            await waiting.acquire()
        refused = await service.client.post("/api/v1/tasks", json=task_json())
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
        assert refused.json()["type"] == "/problems/too-busy"
        assert "answers 3 requests already" in refused.json()["detail"]
        for page in ("/health", "/health/live", "/metrics", "/api/v1/health"):
            assert (await service.client.get(page)).status_code == 200, page
        gate.set()
        await asyncio.gather(*under_way)
        assert (await service.client.post("/api/v1/tasks", json=task_json())).status_code == 201
        assert len(service.log.facts()) == 1


async def test_a_log_that_is_full_is_told_with_a_time_to_come_back(
    service: HttpService, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object, **__: object) -> None:
        raise LogFull("the log takes no more at present")

    monkeypatch.setattr(service.log, "append", full)
    answer = await service.client.post("/api/v1/tasks", json=task_json())
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert answer.json()["type"] == "/problems/too-busy"
    assert answer.json()["detail"] == "the log takes no more at present"
