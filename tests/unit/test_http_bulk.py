"""Creating many tasks by one request: each is judged as it would be alone."""

import json
from typing import Any

import httpx
import pytest

from domain.facts import TaskCreated
from interfaces.http.bulk import MOST_TASKS
from tests.support.http_service import HttpService, assert_a_problem, task_json

PATH = "/api/v1/tasks/bulk"
BAD = task_json(action={"method": "GET"}, nam="typo")


async def send(service: HttpService, *tasks: Any, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await service.client.post(PATH, json={"tasks": tasks}, headers=named)


async def alone(service: HttpService, task: Any) -> dict[str, Any]:
    """The problem that a task gets by itself, without what tells of the request."""
    answer = await service.client.post("/api/v1/tasks", json=task)
    return of_any_request(answer.json())


def of_any_request(problem: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in problem.items() if name not in {"instance", "request_id"}}


async def test_every_task_is_created_and_its_id_told(service: HttpService) -> None:
    answer = await send(service, task_json(name="one"), task_json(name="two"))
    body = answer.json()
    assert (answer.status_code, body["created"], body["existing"], body["refused"]) == (201, 2, 0, 0)
    for index, (item, name) in enumerate(zip(body["items"], ["one", "two"], strict=True)):
        assert (item["index"], item["created"], item["problem"]) == (index, True, None)
        assert (await service.client.get(f"/api/v1/tasks/{item['id']}")).json()["name"] == name


@pytest.mark.parametrize(
    "bad",
    [
        BAD,
        task_json(name="", trigger={"type": "cron", "cron": "61 * * * *"}),
        task_json(trigger={"type": "one-off", "datetime": "2001-01-01T00:00:00Z"}),
        task_json(action={"method": "GET", "url": 7}),
        {},
        [],
        "a task",
    ],
)
async def test_a_bad_one_gets_the_problem_that_it_would_get_alone(service: HttpService, bad: Any) -> None:
    answer = await send(service, task_json(name="one"), bad, task_json(name="two"))
    body = answer.json()
    assert (answer.status_code, body["created"], body["refused"]) == (207, 2, 1)
    [one, refused, two] = body["items"]
    assert one["id"] is not None
    assert two["id"] is not None
    assert (refused["index"], refused["id"], refused["created"]) == (1, None, False)
    # Instants of the clock stand in some details.
    expected = await alone(service, bad)
    assert of_any_request(refused["problem"]) | {"detail": "", "errors": ""} == expected | {
        "detail": "",
        "errors": "",
    }
    assert [error["pointer"] for error in refused["problem"]["errors"]] == [
        error["pointer"] for error in expected["errors"]
    ]
    assert refused["problem"]["request_id"] == answer.headers["x-request-id"]


async def test_when_all_are_bad_nothing_is_stored_and_there_is_no_position(service: HttpService) -> None:
    answer = await send(service, BAD, BAD, idempotency_key="order")
    assert (answer.status_code, answer.json()["refused"]) == (207, 2)
    assert "x-event-position" not in answer.headers
    assert service.log.facts() == []


async def test_a_repeat_with_the_same_key_gets_the_same_answer(service: HttpService) -> None:
    tasks = [task_json(name="one"), BAD, task_json(name="two", idempotency_key="two")]
    first = await send(service, *tasks, idempotency_key="order", x_request_id="same")
    again = await send(service, *tasks, idempotency_key="order", x_request_id="same")
    assert again.content == first.content
    assert (again.status_code, again.headers["x-event-position"]) == (
        first.status_code,
        first.headers["x-event-position"],
    )
    assert len([fact for fact in service.log.facts() if isinstance(fact, TaskCreated)]) == 2


async def test_the_same_key_with_other_tasks_is_refused(service: HttpService) -> None:
    await send(service, task_json(), idempotency_key="order")
    answer = await send(service, task_json(), task_json(), idempotency_key="order")
    assert answer.status_code == 422
    assert_a_problem(answer)
    assert answer.json()["type"] == "/problems/idempotency-key-reused"


async def test_a_key_of_a_task_is_that_of_a_single_request(service: HttpService) -> None:
    single = await service.client.post("/api/v1/tasks", json=task_json(), headers={"Idempotency-Key": "mine"})
    answer = await send(
        service,
        task_json(idempotency_key="mine"),
        task_json(name="other", idempotency_key="mine"),
        task_json(idempotency_key="new"),
    )
    body = answer.json()
    assert [body[name] for name in ("created", "existing", "refused")] == [1, 1, 1]
    [same, other, new] = body["items"]
    assert (same["id"], same["created"], same["problem"]) == (single.json()["id"], False, None)
    assert other["problem"]["type"] == "/problems/idempotency-key-reused"
    again = await service.client.post("/api/v1/tasks", json=task_json(), headers={"Idempotency-Key": "new"})
    assert again.json()["id"] == new["id"]


async def test_when_all_exist_already_the_answer_waits_until_lists_show_them(service: HttpService) -> None:
    first = await send(service, task_json(idempotency_key="mine"))
    again = await send(service, task_json(idempotency_key="mine"))
    assert (again.status_code, again.json()["existing"]) == (201, 1)
    assert again.headers["x-event-position"] == first.headers["x-event-position"]
    assert service.visibility.asked == [(2, 2.0), (2, 2.0)]


@pytest.mark.parametrize("key", ["", "with blank", "ü", "x" * 256, 17, None, ["a"]])
async def test_a_key_that_is_none_is_named_as_a_field(service: HttpService, key: Any) -> None:
    answer = await send(service, task_json(idempotency_key="fine"), task_json() | {"idempotency_key": key})
    [fine, refused] = answer.json()["items"]
    assert fine["created"]
    assert [error["pointer"] for error in refused["problem"]["errors"]] == ["/idempotency_key"]


async def test_as_many_as_are_allowed_are_taken_and_one_more_is_not(service: HttpService) -> None:
    service.visibility.reached = False
    full = await send(service, *[task_json()] * MOST_TASKS)
    assert (full.status_code, full.json()["created"]) == (201, MOST_TASKS)
    answer = await send(service, *[task_json()] * (MOST_TASKS + 1))
    assert answer.status_code == 413
    assert_a_problem(answer)
    assert answer.json()["type"] == "/problems/too-many-tasks"
    assert "1,001" in answer.json()["detail"]
    assert len(service.log.facts()) == MOST_TASKS


@pytest.mark.parametrize(
    ("content", "media_type", "status"),
    [
        (b'{"tasks": [', "application/json", 400),
        (b"", "application/json", 400),
        (b'{"tasks": [{"name": "\xff"}]}', "application/json", 207),
        (b'{"tasks": [{"name": "x", "idempotency_key": "\xff"}]}', "application/json", 207),
        (b'{"tasks": [' + b"[" * 100_000 + b"]" * 100_000 + b"]}", "application/json", 400),
        (b'{"tasks": [{}]}', "text/plain", 415),
    ],
)
async def test_what_is_no_json_is_refused(
    service: HttpService, content: bytes, media_type: str, status: int
) -> None:
    answer = await service.client.post(PATH, content=content, headers={"Content-Type": media_type})
    assert answer.status_code == status
    assert service.log.facts() == []


async def test_it_waits_for_the_lists_unless_it_is_in_a_hurry(service: HttpService) -> None:
    waited = await send(service, task_json(), task_json())
    assert waited.headers["x-event-position"] == "2"
    assert service.visibility.asked == [(2, 2.0)]
    hurried = await send(service, task_json(), prefer="respond-async")
    assert hurried.headers["preference-applied"] == "respond-async"
    assert service.visibility.asked == [(2, 2.0)]


async def test_an_outage_says_that_nothing_is_known_to_be_stored(service: HttpService) -> None:
    with service.log.away():
        answer = await send(service, task_json())
    assert answer.status_code == 503
    assert_a_problem(answer)


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


async def post(service: HttpService, path: str, body: bytes, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await service.client.post(path, content=body, headers=named | {"Content-Type": "application/json"})


@pytest.mark.parametrize("bad", UNREADABLE.values(), ids=UNREADABLE.keys())
@pytest.mark.parametrize("own_key", [b'"mine"', b"1e999", b'"\xff"', None])
async def test_what_cannot_be_read_of_one_task_spoils_no_other(
    service: HttpService, bad: bytes, own_key: bytes | None
) -> None:
    if own_key is not None:
        bad = bad.replace(b"{", b'{"idempotency_key": ' + own_key + b", ", 1)
    body = b'{"tasks": [' + GOOD + b", " + bad + b"]}"
    first = await post(service, PATH, body, x_request_id="same", idempotency_key="order")
    assert (first.status_code, first.json()["created"], first.json()["refused"]) == (207, 1, 1)
    assert first.json()["items"][1]["problem"]["status"] in {400, 422}
    again = await post(service, PATH, body, x_request_id="same", idempotency_key="order")
    assert again.content == first.content


async def test_an_unreadable_value_beside_a_key_gets_the_problem_that_it_would_get_alone(
    service: HttpService,
) -> None:
    bad = UNREADABLE["a number too large"]
    keyed = bad.replace(b"{", b'{"idempotency_key": "mine", ', 1)
    single = await post(service, "/api/v1/tasks", bad)
    bulk = await post(service, PATH, b'{"tasks": [' + keyed + b"]}")
    assert of_any_request(bulk.json()["items"][0]["problem"]) == of_any_request(single.json())
