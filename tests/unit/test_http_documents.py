"""The OpenAPI document, what is made of it, and Swagger UI."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import pytest
import yaml

from domain.definition import Action, Cron, Definition, Overlap, RetryPolicy
from interfaces import openapi_files
from interfaces.http import system as swagger_ui
from interfaces.http.bodies import TaskDefinition
from interfaces.http.openapi import examples, openapi_document
from interfaces.http.problems import BY_SLUG
from tests.support.http_service import HttpService, task_json

DOCS = Path(__file__).parents[2] / "docs"


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in openapi_document()["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def resolved(node: dict[str, Any]) -> dict[str, Any]:
    for step in node.get("$ref", "").lstrip("#/").split("/") if "$ref" in node else ():
        node = openapi_document()[step] if step in openapi_document() else node[step]
    return node


@pytest.mark.parametrize("name", ["swagger.yaml", "postman_collection.json"])
def test_the_committed_files_are_current(name: str) -> None:
    committed = (DOCS / name).read_text(encoding="utf-8")
    assert committed == openapi_files.rendered()[name], f"docs/{name} is stale: run `make swagger`"


def test_writing_makes_the_folder_and_both_files(tmp_path: Path) -> None:
    written = openapi_files.write(tmp_path / "new" / "docs")
    assert sorted(path.name for path in written) == ["postman_collection.json", "swagger.yaml"]
    assert {path.name: path.read_text(encoding="utf-8") for path in written} == openapi_files.rendered()


def test_the_yaml_says_what_the_json_says() -> None:
    assert yaml.safe_load(openapi_files.swagger_yaml()) == openapi_document()


def test_the_document_lists_every_endpoint_of_the_specification() -> None:
    assert {(method.upper(), path) for path, method, _ in operations()} == {
        ("POST", "/api/v1/tasks"),
        ("GET", "/api/v1/tasks"),
        ("GET", "/api/v1/tasks/{id}"),
        ("PUT", "/api/v1/tasks/{id}"),
        ("DELETE", "/api/v1/tasks/{id}"),
        ("GET", "/api/v1/tasks/{id}/results"),
        ("POST", "/api/v1/tasks/bulk"),
        ("POST", "/api/v1/tasks/{id}/pause"),
        ("POST", "/api/v1/tasks/{id}/resume"),
        ("POST", "/api/v1/tasks/{id}/trigger"),
        ("POST", "/api/v1/tasks/{id}/backfill"),
        ("POST", "/api/v1/tasks/{id}/redact"),
        ("GET", "/api/v1/executions/{id}"),
        ("POST", "/api/v1/executions/{id}/cancel"),
        ("GET", "/api/v1/tasks/{id}/occurrences"),
        ("GET", "/api/v1/tasks/{id}/explain"),
        ("GET", "/api/v1/executions/{id}/explain"),
        ("GET", "/api/v1/results"),
        ("GET", "/api/v1/results/{id}"),
        ("GET", "/api/v1/events"),
        ("GET", "/api/v1/audit/heads"),
        ("GET", "/api/v1/audit/proof/{position}"),
        ("GET", "/api/v1/audit/consistency"),
        ("GET", "/api/v1/executions/{id}/evidence"),
        ("GET", "/api/v1/tasks/{id}/events"),
        ("GET", "/api/v1/executions/{id}/events"),
        ("GET", "/api/v1/tasks/{id}/revisions"),
        ("GET", "/api/v1/tasks/{id}/revisions/{number}"),
        ("GET", "/api/v1/tasks/{id}/diff"),
        ("POST", "/api/v1/tasks/{id}/rollback"),
        ("GET", "/api/v1/schedule/preview"),
        ("POST", "/api/v1/simulate"),
        ("GET", "/api/v1/nodes"),
        ("GET", "/api/v1/metrics"),
        ("GET", "/api/v1/health"),
        ("GET", "/metrics"),
        ("GET", "/health"),
        ("GET", "/health/live"),
    }


def test_every_operation_is_described_and_tells_its_errors() -> None:
    identifiers = []
    for path, method, operation in operations():
        identifiers.append(operation["operationId"])
        assert operation["summary"], (path, method)
        assert operation["description"], (path, method)
        errors = {status for status in operation["responses"] if status >= "400"}
        assert {"400", "500"} <= errors, (path, method)
        for status in errors:
            answer = resolved(operation["responses"][status])
            assert answer["description"], (path, method, status)
    assert len(set(identifiers)) == len(identifiers)


def test_every_parameter_says_what_it_may_be() -> None:
    for path, method, operation in operations():
        for parameter in operation.get("parameters", ()):
            assert parameter["description"], (path, method, parameter["name"])
            assert "null" not in json.dumps(parameter["schema"]), (path, method, parameter["name"])


def test_an_answer_in_parts_has_the_headers_of_the_whole() -> None:
    answers = openapi_document()["paths"]["/api/v1/tasks/bulk"]["post"]["responses"]
    assert set(answers["207"]["headers"]) == {"X-Event-Position", "Preference-Applied", "X-Request-ID"}
    assert answers["207"]["headers"] == answers["201"]["headers"]
    assert "Missing" in answers["201"]["headers"]["X-Event-Position"]["description"]


def test_every_reference_leads_somewhere() -> None:
    document = openapi_document()
    for reference in set(re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document))):
        node: Any = document
        for step in reference.split("/"):
            node = node[step]


def test_every_example_fits_its_schema() -> None:
    document = openapi_document()
    checked = 0
    for name, schema in document["components"]["schemas"].items():
        for example in schema.get("examples", ()):
            judge(f"#/components/schemas/{name}", example)
            checked += 1
    for answer in document["components"]["responses"].values():
        for media in answer["content"].values():
            for example in media["examples"].values():
                judge(media["schema"]["$ref"], example["value"])
                checked += 1
    for name, shown in examples("bodies").items():
        for example in shown.values():
            judge(f"#/components/schemas/{name}", example["value"])
            checked += 1
    assert checked > 20


def judge(reference: str, value: Any) -> None:
    schema = {"$ref": reference, "components": openapi_document()["components"]}
    jsonschema_rs.validate(schema, value)


async def test_answers_fit_their_schemas(service: HttpService) -> None:
    task = await service.create()
    judge("#/components/schemas/Task", task)
    judge("#/components/schemas/TaskPage", (await service.client.get("/api/v1/tasks")).json())
    judge("#/components/schemas/Metrics", (await service.client.get("/api/v1/metrics")).json())
    judge("#/components/schemas/HealthReport", (await service.client.get("/health")).json())
    judge("#/components/schemas/Problem", (await service.client.get("/api/v1/tasks?limit=0")).json())


async def test_the_examples_are_accepted_as_they_stand(service: HttpService) -> None:
    for example in examples("bodies")["TaskDefinition"].values():
        answer = await service.client.post("/api/v1/tasks", json=example["value"])
        assert answer.status_code == 201, answer.text


def test_the_defaults_of_the_api_are_those_of_the_domain_but_for_what_older_tasks_must_not_do() -> None:
    body = msgspec.convert(task_json(action={"method": "GET", "url": "http://localhost/"}), TaskDefinition)
    assert body.to_domain("UTC") == Definition(
        name="Daily Report",
        trigger=Cron(cron="0 9 * * *"),
        action=Action(method="GET", url="http://localhost/"),
        retry=RetryPolicy(max_retry_after_seconds=3_600.0, on_gone="stop"),
        overlap=Overlap(mode="skip"),
    )
    in_full = msgspec.convert(task_json(retry={}, success={}, catch_up={}, overlap={}), TaskDefinition)
    left_out = msgspec.convert(task_json(), TaskDefinition)
    assert in_full.to_domain("UTC") == left_out.to_domain("UTC")


def test_every_member_of_a_task_says_what_it_does() -> None:
    schemas = openapi_document()["components"]["schemas"]
    for name in ("HttpAction", "Retry", "Success", "BodyValue", "CatchingUp", "Overlapping"):
        assert schemas[name]["additionalProperties"] is False
        for member, schema in schemas[name]["properties"].items():
            assert schema["description"].endswith("."), (name, member)
    for member in ("delivery", "priority"):
        assert schemas["TaskDefinition"]["properties"][member]["description"]


def test_the_postman_collection_asks_every_operation_of_one_service() -> None:
    collection = openapi_files.postman_collection(openapi_document())
    assert collection["info"]["schema"] == openapi_files.COLLECTION_FORMAT
    requests = [item["request"] for folder in collection["item"] for item in folder["item"]]
    asked = {
        (request["method"], re.sub(r":(\w+)", r"{\1}", request["url"]["raw"].removeprefix("{{baseUrl}}")))
        for request in requests
    }
    assert asked == {(method.upper(), path) for path, method, _ in operations()}
    command = {"bulk": "TaskBulk", "pause": "Pausing", "cancel": "Cancelling", "backfill": "Backfilling"}
    command |= {"rollback": "RollingBack", "simulate": "SimulationRequest"}
    for request in requests:
        if "body" in request:
            shape = command.get(request["url"]["path"][-1], "TaskDefinition")
            judge(f"#/components/schemas/{shape}", json.loads(request["body"]["raw"]))
            assert {"key": "Content-Type", "value": "application/json"} in request["header"]
    assert {request["method"] for request in requests if "body" in request} == {"POST", "PUT"}


async def test_the_document_is_served_as_json_and_as_yaml(service: HttpService) -> None:
    as_json = await service.client.get("/openapi.json")
    as_yaml = await service.client.get("/openapi.yaml")
    assert as_json.json() == openapi_document()
    assert as_yaml.headers["content-type"] == "application/yaml"
    assert as_yaml.text == openapi_files.swagger_yaml()


@pytest.mark.parametrize("way_in", ["/", "/api/v1", "/api/v1/"])
async def test_the_way_in_leads_everywhere(service: HttpService, way_in: str) -> None:
    links = (await service.client.get(way_in)).json()
    del links["name"]
    for link in links.values():
        assert (await service.client.get(link)).status_code == 200, link


async def test_every_problem_type_can_be_followed_and_is_in_the_guide(service: HttpService) -> None:
    guide = (DOCS / "api.md").read_text(encoding="utf-8")
    for slug, kind in BY_SLUG.items():
        answer = await service.client.get(kind.uri)
        assert answer.status_code == 200
        assert kind.advice in answer.text
        assert f"| {kind.status} | `{slug}` |" in guide, f"docs/api.md lacks {slug}"


async def test_swagger_ui_needs_nothing_but_this_service(service: HttpService) -> None:
    moved = await service.client.get("/swagger")
    page = await service.client.get("/swagger/index.html")
    assert moved.headers["location"] == "/swagger/index.html"
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "://" not in page.text
    for linked in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        answer = await service.client.get(f"/swagger/{linked}")
        assert answer.status_code == 200, linked
        assert answer.content
    start = await service.client.get("/swagger/start.js")
    assert 'url: "../openapi.json"' in start.text
    assert "<script>" not in page.text  # the policy allows no inline script


async def test_missing_files_of_swagger_ui_are_told_by_the_name_of_their_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(swagger_ui, "find_spec", lambda _: None)
    with pytest.raises(FileNotFoundError, match="swagger-ui-py"):
        swagger_ui.static_folder()


async def test_browsers_may_keep_the_files_of_swagger_ui(service: HttpService) -> None:
    first = await service.client.get("/swagger/assets/swagger-ui.css")
    again = await service.client.get(
        "/swagger/assets/swagger-ui.css", headers={"If-None-Match": first.headers["etag"]}
    )
    assert first.headers["content-type"] == "text/css; charset=utf-8"
    assert first.headers["cache-control"] == "public, max-age=3600"
    assert again.status_code == 304
    assert again.content == b""
