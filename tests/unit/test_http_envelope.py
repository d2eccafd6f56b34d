"""What every answer has around it, whoever gives it."""

import logging
import re
from collections.abc import AsyncIterator
from email.utils import formatdate
from typing import Any, cast

import httpx
import pytest
import structlog
from litestar.routes import HTTPRoute

from tests.support.http_service import (
    HttpService,
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


async def test_every_answer_says_at_which_second_it_was_given(
    service: HttpService, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seconds in (0, 1, 1, 86_400):
        monkeypatch.setattr("interfaces.http.app.time.time", lambda now=seconds: now + 0.9)
        answer = await service.client.get("/nowhere")
        assert answer.headers["date"] == formatdate(seconds, usegmt=True)


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


async def test_the_server_itself_still_sees_a_head(service: HttpService) -> None:
    """It would miss the content that Content-Length announces, log an error and drop the connection."""
    scopes: list[Any] = []

    async def server(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        await service.app(scope, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=server)) as client:
        await client.head("http://testserver/health")
    assert [scope["method"] for scope in scopes] == ["HEAD"]


async def test_options_tells_every_method(service: HttpService) -> None:
    collection = await service.client.options("/api/v1/tasks")
    member = await service.client.options("/api/v1/tasks/7")
    assert collection.status_code == member.status_code == 204
    assert collection.headers["allow"] == "GET, HEAD, OPTIONS, POST"
    assert member.headers["allow"] == "DELETE, GET, HEAD, OPTIONS, PUT"


@pytest.mark.parametrize("path", ["/", "/health", "/problems/x", "/swagger/assets/x"])
async def test_options_works_on_every_page(service: HttpService, path: str) -> None:
    answer = await service.client.options(path)
    assert answer.status_code == 204
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"


async def test_a_websocket_is_turned_away(service: HttpService) -> None:
    scope = {
        "type": "websocket",
        "path": "/api/v1/tasks",
        "headers": [],
        "query_string": b"",
        "path_params": {},
    }
    messages = await exchange(service, scope, [{"type": "websocket.connect"}])
    assert [message["type"] for message in messages] == ["websocket.close"]


async def test_a_client_that_leaves_while_sending_is_no_fault_of_the_service(service: HttpService) -> None:
    scope = {
        "type": "http",
        "method": "POST",
        "scheme": "http",
        "path": "/api/v1/tasks",
        "headers": [(b"content-type", b"application/json")],
        "query_string": b"",
    }
    received: list[dict[str, Any]] = [
        {"type": "http.request", "body": b'{"na', "more_body": True},
        {"type": "http.disconnect"},
    ]
    with structlog.testing.capture_logs() as entries:
        await exchange(service, scope, received)
    assert service.observer.seen == [("POST", "/api/v1/tasks", 400)]
    assert not [entry for entry in entries if entry["log_level"] == "error"]
    assert service.log.facts() == []


async def exchange(
    service: HttpService, scope: dict[str, Any], received: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """What the application sends for messages that no client library would send."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return received.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await cast("Any", service.app)(scope, receive, send)
    return sent


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


async def test_the_access_log_holds_neither_headers_nor_bodies_nor_queries(
    service: HttpService, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
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


async def test_dependencies_are_resolved_one_after_the_other(service: HttpService) -> None:
    routes = [route for route in service.app.routes if isinstance(route, HTTPRoute)]
    models = [model for route in routes for _, model in route.route_handler_map.values()]
    assert any(len(model.dependency_batches) > 2 for model in models)
    assert all(len(batch) == 1 for model in models for batch in model.dependency_batches)
