"""Who changed something, from where and why: asked for over HTTP, stored, and shown."""

from typing import Any
from uuid import UUID

import httpx
import pytest

from tests.support.http_service import HttpService, assert_a_problem, task_json

PAST = {"start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z", "limit": 1}
WHY = "X-Change-Reason"


async def send(
    service: HttpService, reason: str | bytes, method: str, path: str, body: Any = None
) -> httpx.Response:
    sent = reason.encode() if isinstance(reason, str) else reason
    return await service.client.request(method, f"/api/v1{path}", json=body, headers=[(WHY.encode(), sent)])


async def test_every_command_stores_who_asked_from_where_and_why(service: HttpService) -> None:
    created = (await send(service, "create", "POST", "/tasks", task_json())).json()
    task = f"/tasks/{created['id']}"
    run = (await send(service, "trigger", "POST", f"{task}/trigger")).json()["id"]
    for reason, method, path, body in (
        ("bulk", "POST", "/tasks/bulk", {"tasks": [task_json()]}),
        ("cancel a run", "POST", f"/executions/{run}/cancel", None),
        ("backfill", "POST", f"{task}/backfill", PAST),
        ("pause", "POST", f"{task}/pause", None),
        ("resume", "POST", f"{task}/resume", None),
        ("replace", "PUT", task, task_json(name="other")),
        ("roll back", "POST", f"{task}/rollback", {"to": 1}),
        ("cancel", "DELETE", task, None),
    ):
        answer = await send(service, reason, method, path, body)
        assert answer.is_success, (reason, answer.text)
    told = [(event.meta.actor, event.meta.address, event.meta.reason) for event in service.log.recorded]
    assert told == [
        ("anonymous", "127.0.0.1", reason)
        for reason in (
            *("create", "trigger", "bulk", "cancel a run", "backfill"),
            *("pause", "resume", "replace", "roll back", "cancel"),
        )
    ]


async def test_a_reason_is_shown_by_events_revisions_and_explanations(service: HttpService) -> None:
    task = (await send(service, "a new report", "POST", "/tasks", task_json())).json()
    await send(service, "it is too early", "PUT", f"/tasks/{task['id']}", task_json(name="other"))
    events = (await service.client.get(f"/api/v1/tasks/{task['id']}/events")).json()["items"]
    revisions = (await service.client.get(f"/api/v1/tasks/{task['id']}/revisions")).json()["items"]
    one = (await service.client.get(f"/api/v1/tasks/{task['id']}/revisions/2")).json()
    explained = (await service.client.get(f"/api/v1/tasks/{task['id']}/explain")).json()
    reasons = ["a new report", "it is too early"]
    assert [(event["address"], event["reason"]) for event in events] == [
        ("127.0.0.1", reason) for reason in reasons
    ]
    assert [(one["address"], one["reason"]) for one in reversed(revisions)] == [
        ("127.0.0.1", reason) for reason in reasons
    ]
    assert one["reason"] == "it is too early"
    assert explained["statements"][0]["events"][0]["reason"] in reasons


async def test_a_reason_need_not_be_given(service: HttpService) -> None:
    task = await service.create()
    [event] = (await service.client.get(f"/api/v1/tasks/{task['id']}/events")).json()["items"]
    assert (event["actor"], event["reason"]) == ("anonymous", None)


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        (b"Umzug \xc3\xbcber Nacht \xf0\x9f\x9a\x80", "Umzug über Nacht \N{ROCKET}"),
        (b"Umzug \xfcber Nacht", "Umzug über Nacht"),
        (b"  around  ", "around"),
        (b'"quoted" \\ and {"reason":1}', '"quoted" \\ and {"reason":1}'),
        (b"x" * 500, "x" * 500),
    ],
)
async def test_a_reason_is_text_in_utf_8_or_else_in_iso_8859_1(
    service: HttpService, sent: bytes, stored: str
) -> None:
    assert (await send(service, sent, "POST", "/tasks", task_json())).status_code == 201
    [event] = (await service.client.get("/api/v1/events")).json()["items"]
    assert event["reason"] == stored


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"   ",
        b"x" * 501,
        "ü".encode() * 251,
        b"two\tcolumns",
        b"a\x7fb",
        b"a\x85b",
        "a\u0085b".encode(),
        "a\u2028b".encode(),
    ],
)
async def test_a_reason_that_cannot_be_shown_is_refused_and_nothing_is_stored(
    service: HttpService, sent: bytes
) -> None:
    answer = await send(service, sent, "POST", "/tasks", task_json())
    assert answer.status_code == 400, answer.text
    [error] = answer.json()["errors"]
    assert error["parameter"] == WHY
    assert "1 to 500 printable characters" in error["detail"]
    assert_a_problem(answer)
    assert service.log.facts() == []


async def test_a_reason_given_twice_is_refused(service: HttpService) -> None:
    twice = [(WHY.encode(), b"one"), (WHY.encode(), b"two")]
    answer = await service.client.post("/api/v1/tasks", json=task_json(), headers=twice)
    assert answer.json()["errors"] == [{"detail": "Give it once.", "parameter": WHY}]


@pytest.mark.parametrize(
    ("client", "address"),
    [
        (("192.0.2.17", 4711), "192.0.2.17"),
        (("2001:DB8::17", 4711), "2001:db8::17"),
        (("fe80::1%" + "any text " * 1_000, 0), "fe80::1"),
        (("unknown, " * 1_000, 0), None),
        (None, None),
    ],
)
async def test_an_address_is_that_of_the_other_end_if_it_is_one(
    service: HttpService, client: Any, address: str | None
) -> None:
    app: Any = service.app

    async def from_there(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "client": client}, receive, send)

    transport = httpx.ASGITransport(app=from_there)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as caller:
        created = await caller.post("/api/v1/tasks", json=task_json())
    [event] = await service.log.read_stream(UUID(created.json()["id"]))
    assert event.meta.address == address
