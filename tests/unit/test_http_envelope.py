"""What every answer has around it, and what the service says when it fails itself."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any, cast

import httpx
import pytest
import structlog
from psycopg import InterfaceError, OperationalError
from psycopg.errors import UndefinedTable
from psycopg_pool import PoolClosed, PoolTimeout

from interfaces.http.app import create_ops_app
from interfaces.http.dependencies import HttpOptions, OpsDependencies
from tests.support.http_service import (
    HttpService,
    OneMetric,
    RequestLog,
    SettableHealth,
    http_service,
    task_json,
)

ORIGIN = "https://console.example.com"
PATHS = ["/", "/health", "/api/v1/tasks", "/api/v1/tasks/7", "/nowhere", "/swagger/index.html", "/metrics"]


@pytest.fixture
async def service() -> AsyncIterator[HttpService]:
    async with http_service(cors_allowed_origins=(ORIGIN,)) as running:
        yield running


@pytest.mark.parametrize("path", PATHS)
async def test_every_answer_has_the_security_headers(service: HttpService, path: str) -> None:
    headers = (await service.client.get(path)).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-xss-protection"] == "1; mode=block"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["strict-transport-security"] == "max-age=31536000"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "'unsafe-eval'" not in headers["content-security-policy"]


async def test_answers_of_the_api_are_not_kept_by_caches(service: HttpService) -> None:
    assert (await service.client.get("/api/v1/tasks")).headers["cache-control"] == "no-store"


async def test_plain_http_in_debug_mode_does_not_ask_for_tls() -> None:
    async with http_service(debug=True) as debugged:
        plain = await debugged.client.get("/health")
        secure = await debugged.client.get("https://testserver/health")
    assert "strict-transport-security" not in plain.headers
    assert secure.headers["strict-transport-security"] == "max-age=31536000"


async def test_a_sane_request_id_is_kept_and_any_other_replaced(service: HttpService) -> None:
    kept = await service.client.get("/health", headers={"X-Request-ID": "0194f2b1-c6d8/7"})
    assert kept.headers["x-request-id"] == "0194f2b1-c6d8/7"
    for insane in (b"", b"two words", b"x" * 129, b"<script>", b"\xe9"):
        made = await service.client.get("/nowhere", headers=[(b"X-Request-ID", insane)])
        assert re.fullmatch("[0-9a-f]{32}", made.headers["x-request-id"])
        assert made.json()["request_id"] == made.headers["x-request-id"]


@pytest.mark.parametrize("path", ["/health", "/metrics", "/api/v1/tasks", "/openapi.json"])
async def test_head_is_get_without_the_content(service: HttpService, path: str) -> None:
    whole, head = await service.client.get(path), await service.client.head(path)
    assert head.status_code == whole.status_code == 200
    assert head.content == b""
    assert head.headers["content-type"] == whole.headers["content-type"]
    assert head.headers["content-length"] == str(len(whole.content))


async def test_options_tells_every_method(service: HttpService) -> None:
    collection = await service.client.options("/api/v1/tasks")
    member = await service.client.options("/api/v1/tasks/7")
    assert collection.status_code == member.status_code == 204
    assert collection.headers["allow"] == "GET, HEAD, OPTIONS, POST"
    assert member.headers["allow"] == "DELETE, GET, HEAD, OPTIONS, PUT"


async def test_a_configured_origin_may_read_and_write(service: HttpService) -> None:
    preflight = await service.client.options(
        "/api/v1/tasks",
        headers={
            "Origin": ORIGIN,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type, idempotency-key, if-match, prefer, x-request-id",
        },
    )
    answer = await service.client.post("/api/v1/tasks", json=task_json(), headers={"Origin": ORIGIN})
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == ORIGIN
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    exposed = answer.headers["access-control-expose-headers"].lower()
    assert {"etag", "location", "x-event-position", "x-request-id"} <= set(exposed.split(", "))


async def test_another_origin_may_not(service: HttpService) -> None:
    stranger = {"Origin": "https://evil.example.com", "Access-Control-Request-Method": "POST"}
    assert (await service.client.options("/api/v1/tasks", headers=stranger)).status_code == 400
    answer = await service.client.get("/api/v1/tasks", headers=stranger)
    assert "access-control-allow-origin" not in answer.headers


async def test_without_configured_origins_there_is_no_cors() -> None:
    async with http_service() as closed:
        answer = await closed.client.get("/api/v1/tasks", headers={"Origin": ORIGIN})
    assert not [name for name in answer.headers if name.startswith("access-control-")]


async def test_the_observer_is_told_of_every_request_by_its_route(service: HttpService) -> None:
    task = await service.create()
    await service.client.get(f"/api/v1/tasks/{task['id']}")
    await service.client.get("/no/such/path")
    await service.client.head("/health")
    await service.client.request("BREW", "/health")
    assert service.observer.seen == [
        ("POST", "/api/v1/tasks", 201),
        ("GET", "/api/v1/tasks/{id}", 200),
        ("GET", "unmatched", 404),
        ("HEAD", "/health", 200),
        ("other", "unmatched", 405),
    ]


async def test_the_access_log_holds_neither_headers_nor_bodies_nor_queries(service: HttpService) -> None:
    with structlog.testing.capture_logs() as entries:
        await service.client.post(
            "/api/v1/tasks", json=task_json(name="secret-name"), headers={"X-Api-Key": "secret-key"}
        )
        await service.client.get("/api/v1/tasks?name=secret-query")
    lines = [entry for entry in entries if entry["event"] == "http_request"]
    assert [(line["method"], line["route"], line["status"]) for line in lines] == [
        ("POST", "/api/v1/tasks", 201),
        ("GET", "/api/v1/tasks", 200),
    ]
    assert "secret" not in str(entries)


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


async def test_read_models_that_are_not_made_yet_are_told_as_such(
    service: HttpService, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing(*_: object) -> None:
        raise UndefinedTable('relation "tasks" does not exist')

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
