"""Bad parameters, headers, ids and paths: the right status, and a problem that says what to change."""

from uuid import UUID

import pytest

from tests.support.http_service import HttpService, assert_a_problem, task_json

UNKNOWN = str(UUID(int=404))


WRONG_PARAMETERS = {
    "limit of 0": ("/api/v1/tasks?limit=0", "limit", "from 1 to 200"),
    "limit over 200": ("/api/v1/results?limit=201", "limit", "from 1 to 200"),
    "limit that is no number": ("/api/v1/tasks?limit=ten", "limit", "from 1 to 200"),
    "page of 0": ("/api/v1/tasks?page=0", "page", "from 1"),
    "page beyond counting": (f"/api/v1/tasks?page={10**30}", "page", "from 1"),
    "page of very many digits": (f"/api/v1/tasks?page={'9' * 5_000}", "page", "from 1"),
    "unknown status": ("/api/v1/tasks?status=running", "status", "scheduled, paused, completed"),
    "unknown sort": ("/api/v1/tasks?sort=version", "sort", "created_at, updated_at, next_run or name"),
    "unknown parameter": ("/api/v1/tasks?statu=failed", "statu", 'did you mean "status"?'),
    "parameter twice": ("/api/v1/tasks?limit=1&limit=2", "limit", "Give it once"),
    "parameter where there are none": ("/health?verbose=1", "verbose", "leave it out"),
    "NUL in a name": ("/api/v1/tasks?name=a%00b", "name", "contains this"),
    "name over 255": (f"/api/v1/tasks?name={'x' * 256}", "name", "at most 255"),
    "bad cursor": ("/api/v1/tasks?cursor=abc", "cursor", "next_cursor"),
    "cursor of other characters": ("/api/v1/tasks?cursor=%2F..", "cursor", "next_cursor"),
    "no instant": ("/api/v1/results?from=yesterday", "from", "2030-01-01T12:00:00Z"),
    "instant without offset": ("/api/v1/results?to=2026-01-01T00:00:00", "to", "with its offset"),
    "instant before years": (
        "/api/v1/tasks?created_from=0001-01-01T00:00:00%2B14:00",
        "created_from",
        "offset",
    ),
    "success of another kind": ("/api/v1/results?success=maybe", "success", "true"),
    "status code of four digits": ("/api/v1/results?status_code=2000", "status_code", "100 to 999"),
    "bad id in the query": ("/api/v1/results?task_id=7", "task_id", "a UUID"),
    "bad id of a task": ("/api/v1/tasks/7", "id", "a UUID"),
    "bad id of a result": ("/api/v1/results/x%00y", "id", "a UUID"),
    "bad id of a task with results": ("/api/v1/tasks/7/results", "id", "a UUID"),
    "null as a number": ("/api/v1/tasks?min_position=null", "min_position", "X-Event-Position"),
    "null as a choice": ("/api/v1/tasks?status=NULL", "status", "scheduled, paused"),
    "null as an id": ("/api/v1/results?task_id=null", "task_id", "a UUID"),
    "position before the log": ("/api/v1/tasks?min_position=-1", "min_position", "X-Event-Position"),
    "position beyond counting": (f"/api/v1/tasks?min_position={2**63}", "min_position", "X-Event-Position"),
}


@pytest.mark.parametrize(("path", "parameter", "told"), WRONG_PARAMETERS.values(), ids=WRONG_PARAMETERS)
async def test_a_wrong_parameter_is_refused_by_its_name(
    service: HttpService, path: str, parameter: str, told: str
) -> None:
    answer = await service.client.get(path)
    problem = answer.json()
    assert answer.status_code == 400, problem
    assert problem["type"] == "/problems/invalid-parameter"
    assert [error["parameter"] for error in problem["errors"]] == [parameter]
    assert told in problem["errors"][0]["detail"]
    assert_a_problem(answer)


async def test_every_wrong_parameter_is_told_at_once(service: HttpService) -> None:
    answer = await service.client.get("/api/v1/results?limit=0&success=maybe&status=done")
    assert {error["parameter"] for error in answer.json()["errors"]} == {"limit", "success", "status"}


@pytest.mark.parametrize("if_match", ["3", 'W/"3"', '"3", "4"', '"x"', "", '"' + "9" * 30 + '"'])
async def test_a_malformed_if_match_is_refused(service: HttpService, if_match: str) -> None:
    task = await service.create()
    answer = await service.client.delete(f"/api/v1/tasks/{task['id']}", headers={"If-Match": if_match})
    assert answer.status_code == 400
    assert [error["parameter"] for error in answer.json()["errors"]] == ["If-Match"]
    assert '`"3"` with the quotes' in answer.json()["detail"]
    assert len(service.log.facts()) == 1


@pytest.mark.parametrize("key", [b"", b"two words", b"x" * 256, b"schl\xfcssel"])
async def test_a_malformed_idempotency_key_is_refused(service: HttpService, key: bytes) -> None:
    answer = await service.client.post("/api/v1/tasks", json=task_json(), headers=[(b"Idempotency-Key", key)])
    assert answer.status_code == 400
    assert [error["parameter"] for error in answer.json()["errors"]] == ["Idempotency-Key"]
    assert service.log.facts() == []


async def test_a_header_given_twice_is_refused_rather_than_half_ignored(service: HttpService) -> None:
    twice = [(b"Idempotency-Key", b"order-17"), (b"Idempotency-Key", b"order-18")]
    answer = await service.client.post("/api/v1/tasks", json=task_json(), headers=twice)
    assert answer.status_code == 400
    assert answer.json()["errors"] == [{"detail": "Give it once.", "parameter": "Idempotency-Key"}]
    assert service.log.facts() == []


async def test_preferences_may_come_in_several_headers(service: HttpService) -> None:
    several = [(b"Prefer", b"respond-async"), (b"Prefer", b"wait=5")]
    answer = await service.client.post("/api/v1/tasks", json=task_json(), headers=several)
    assert answer.status_code == 201, answer.text


@pytest.mark.parametrize(
    ("method", "path", "slug"),
    [
        ("GET", f"/api/v1/tasks/{UNKNOWN}", "task-not-found"),
        ("DELETE", f"/api/v1/tasks/{UNKNOWN}", "task-not-found"),
        ("GET", f"/api/v1/results/{UNKNOWN}", "result-not-found"),
        ("GET", "/api/v2/tasks", "not-found"),
        ("GET", "/problems/no-such", "not-found"),
        ("GET", "/swagger/assets/..%2f__init__.py", "not-found"),
        ("GET", "/swagger/assets/oauth2-redirect.html", "not-found"),
    ],
)
async def test_what_is_not_there_is_not_found(
    service: HttpService, method: str, path: str, slug: str
) -> None:
    answer = await service.client.request(method, path)
    assert answer.status_code == 404
    assert answer.json()["type"] == f"/problems/{slug}"
    assert_a_problem(answer)


async def test_an_update_of_an_unknown_task_is_not_found(service: HttpService) -> None:
    answer = await service.client.put(f"/api/v1/tasks/{UNKNOWN}", json=task_json())
    assert answer.status_code == 404
    # Nobody can give a namespace yet, so nobody is told to check it.
    assert answer.json()["detail"] == f"There is no task {UNKNOWN}; check the id."


async def test_a_cancelled_task_no_longer_changes(service: HttpService) -> None:
    task = await service.create()
    path = f"/api/v1/tasks/{task['id']}"
    await service.client.delete(path)
    answer = await service.client.put(path, json=task_json(name="Too late"))
    assert answer.status_code == 409
    assert answer.json()["type"] == "/problems/task-already-over"
    assert "create a new task" in answer.json()["detail"]
    assert_a_problem(answer)
    assert len(service.log.facts()) == 2


async def test_a_refused_method_tells_which_are_allowed(service: HttpService) -> None:
    answer = await service.client.patch(f"/api/v1/tasks/{UNKNOWN}")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "DELETE, GET, HEAD, OPTIONS, PUT"
    assert "DELETE, GET, HEAD, OPTIONS, PUT" in answer.json()["detail"]
    assert_a_problem(answer)


async def test_a_malformed_host_is_refused(service: HttpService) -> None:
    answer = await service.client.get("/health", headers={"Host": "a b"})
    assert answer.status_code == 400
    assert answer.json()["type"] == "/problems/bad-request"
