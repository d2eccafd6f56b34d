"""Requests that take no body: one that says something is refused before anything is done."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from interfaces.http.openapi import openapi_document
from tests.support.http_service import HttpService, assert_a_problem, http_service

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
WITHOUT_BODY = [
    (method.upper(), path)
    for path, operations in openapi_document()["paths"].items()
    for method, operation in operations.items()
    if "requestBody" not in operation
]


@pytest.fixture
async def service() -> AsyncIterator[HttpService]:
    async with http_service(max_body_bytes=1_000) as running:
        yield running


async def over(service: HttpService) -> str:
    """The path of a task that may be redacted."""
    path = f"/api/v1/tasks/{(await service.create())['id']}"
    assert (await service.client.delete(path)).status_code == 200
    return path


@pytest.mark.parametrize(("method", "path"), WITHOUT_BODY)
async def test_every_route_without_a_body_refuses_one(service: HttpService, method: str, path: str) -> None:
    query = {"from": "1", "to": "2"} if path.endswith("/consistency") else {}  # what it must have
    answer = await service.client.request(method, path, params=query, json={"dry_run": True})
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-body"), answer.text
    assert service.log.facts() == []


@pytest.mark.parametrize("command", ["DELETE ", "POST /resume", "POST /trigger", "POST /redact"])
async def test_a_command_with_what_it_does_not_know_changes_nothing(
    service: HttpService, command: str
) -> None:
    method, _, place = command.partition(" ")
    path = await over(service) if place == "/redact" else f"/api/v1/tasks/{(await service.create())['id']}"
    stored = service.log.facts()
    answer = await service.client.request(method, path + place, json={"reason": "Request 18", "a/b": 1})
    assert_a_problem(answer)
    reason, other = answer.json()["errors"]
    assert (reason["pointer"], other["pointer"]) == ("/reason", "/a~1b")
    assert reason["detail"].startswith(
        '"reason" is not known: leave it out. This takes no body, only the parameters id, '
    )
    assert "X-Change-Reason" in reason["detail"]
    assert service.log.facts() == stored


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"garbage", FORM),
        (b"dry_run=true", FORM),
        (b'{"dry_run": true', JSON),
        (b"\xff", JSON),
        (b"[]", JSON),
        (b'"why"', JSON),
        (b"[" * 900, JSON),
        (b" " * 1_001, JSON),
    ],
)
async def test_whatever_else_is_sent_is_refused_as_a_whole(
    service: HttpService, body: bytes, headers: dict[str, str]
) -> None:
    path = await over(service)
    answer = await service.client.post(f"{path}/redact", content=body, headers=headers)
    assert answer.status_code == 422, answer.text
    [error] = answer.json()["errors"]
    assert error["pointer"] == ""
    assert error["detail"].endswith("X-Change-Reason, Idempotency-Key: send none.")
    assert len(service.log.facts()) == 2


async def in_pieces() -> AsyncIterator[bytes]:
    yield b'{"dry_'
    yield b'run": true}'


async def nothing_in_pieces() -> AsyncIterator[bytes]:
    yield b""


async def test_a_body_that_comes_in_pieces_is_refused_as_well(service: HttpService) -> None:
    path = await over(service)
    answer = await service.client.post(f"{path}/redact", content=in_pieces(), headers=JSON)
    assert answer.json()["errors"][0]["pointer"] == "/dry_run"


async def test_of_very_many_members_the_first_twenty_are_told(service: HttpService) -> None:
    path = await over(service)
    answer = await service.client.post(f"{path}/redact", json={str(number): 0 for number in range(50)})
    assert len(answer.json()["errors"]) == 20


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"headers": {"Content-Length": "0"}},
        {"headers": JSON},
        {"headers": JSON | {"Content-Length": "0"}},
        {"headers": FORM},
        {"json": {}},
        {"content": b"{}"},
        {"content": b" \r\n", "headers": JSON},
        {"content": b"null", "headers": JSON},
        {"content": nothing_in_pieces},
    ],
)
async def test_a_body_that_says_nothing_is_none(service: HttpService, options: dict[str, Any]) -> None:
    path = await over(service)
    if callable(options.get("content")):
        options = {"content": options["content"]()}
    answer = await service.client.post(f"{path}/redact", **options)
    assert answer.status_code == 200, answer.text
    assert (await service.client.request("GET", path, **options)).status_code == 200
