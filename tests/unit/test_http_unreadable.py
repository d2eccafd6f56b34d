"""JSON of which a part cannot be read: it spoils nothing else, and is told of by its place."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.support.http_service import HttpService, http_service, task_json

PATH = "/api/v1/tasks/bulk"
GOOD = json.dumps(task_json()).encode()
UNREADABLE = {
    "a number too large": b'{"name": "x", "action": {"method": "POST", "payload": 1e999}}',
    "a number too large in a member that there is not": b'{"nam": 1e999}',
    "a byte that is not UTF-8": b'{"name": "\xff"}',
    "a name that is not UTF-8": b'{"na\xffme": 1}',
    "what is nested deeply": b'{"name": ' + b"[" * 400 + b"]" * 400 + b"}",
    "a number too large, and no object": b"1e999",
    "bytes, and no object": b'"\xff"',
}


@pytest.fixture
async def service() -> AsyncIterator[HttpService]:
    async with http_service() as running:
        yield running


async def send(service: HttpService, path: str, body: bytes, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await service.client.post(path, content=body, headers=named | {"Content-Type": "application/json"})


def without_its_request(problem: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in problem.items() if name not in {"instance", "request_id"}}


@pytest.mark.parametrize("bad", UNREADABLE.values(), ids=UNREADABLE.keys())
@pytest.mark.parametrize("own_key", [b'"mine"', b"1e999", b'"\xff"', None])
@pytest.mark.parametrize("headers", [{}, {"idempotency_key": "order"}])
async def test_what_cannot_be_read_of_one_task_spoils_no_other(
    service: HttpService, bad: bytes, own_key: bytes | None, headers: dict[str, str]
) -> None:
    if own_key is not None:
        bad = bad.replace(b"{", b'{"idempotency_key": ' + own_key + b", ", 1)
    body = b'{"tasks": [' + GOOD + b", " + bad + b"]}"
    first = await send(service, PATH, body, x_request_id="same", **headers)
    assert (first.status_code, first.json()["created"], first.json()["refused"]) == (207, 1, 1)
    assert first.json()["items"][1]["problem"]["status"] in {400, 422}
    again = await send(service, PATH, body, x_request_id="same", **headers)
    assert (again.content == first.content) == bool(headers)


async def test_an_unreadable_value_beside_a_key_gets_the_problem_that_it_would_get_alone(
    service: HttpService,
) -> None:
    bad = UNREADABLE["a number too large"]
    keyed = bad.replace(b"{", b'{"idempotency_key": "mine", ', 1)
    single = await send(service, "/api/v1/tasks", bad)
    bulk = await send(service, PATH, b'{"tasks": [' + keyed + b"]}")
    assert without_its_request(bulk.json()["items"][0]["problem"]) == without_its_request(single.json())
