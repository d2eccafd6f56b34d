"""The API's description as files: `swagger.yaml`, and a Postman collection made from the same document."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from interfaces.http.openapi import openapi_document, openapi_yaml

COLLECTION_FORMAT = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"

# Creating a task fills `taskId`, so that the requests about one task work right after it.
_REMEMBER_TASK = [
    "if (pm.response.code === 201) {",
    '  pm.collectionVariables.set("taskId", pm.response.json().id);',
    "}",
]
_PATH_VARIABLES = {"tasks": "{{taskId}}", "results": "{{resultId}}", "executions": "{{resultId}}"}


def write(folder: Path) -> list[Path]:
    """Write both files into a folder, which is made if needed; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, text in rendered().items():
        path = folder / name
        path.write_text(text, encoding="utf-8")
        paths.append(path)
    return paths


def swagger_yaml() -> str:
    """The OpenAPI document as YAML."""
    return openapi_yaml()


def rendered() -> dict[str, str]:
    """The files by name: the same text as long as the API is the same."""
    collection = json.dumps(postman_collection(openapi_document()), indent=2, ensure_ascii=False)
    return {"swagger.yaml": swagger_yaml(), "postman_collection.json": f"{collection}\n"}


def postman_collection(document: Mapping[str, Any]) -> dict[str, Any]:
    """A Postman collection (v2.1): a folder a tag, a request an operation, or one an example of its body."""
    folders: dict[str, dict[str, Any]] = {
        tag["name"]: {"name": tag["name"], "description": tag["description"], "item": []}
        for tag in document["tags"]
    }
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            folders[operation["tags"][0]]["item"] += _items(path, method, operation)
    return {
        "info": {
            "name": document["info"]["title"],
            "description": document["info"]["description"],
            "version": document["info"]["version"],
            "schema": COLLECTION_FORMAT,
        },
        "variable": [
            {"key": "baseUrl", "value": "http://localhost:8080"},
            {"key": "taskId", "value": ""},
            {"key": "resultId", "value": ""},
        ],
        "item": list(folders.values()),
    }


def _items(path: str, method: str, operation: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    examples = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("examples")
    if examples is None:
        yield _item(operation["summary"], path, method, operation, None)
        return
    for example in examples.values():
        name = f"{operation['summary']}: {example['summary']}"
        yield _item(name, path, method, operation, example["value"])


def _item(name: str, path: str, method: str, operation: Mapping[str, Any], body: Any) -> dict[str, Any]:
    request: dict[str, Any] = {
        "method": method.upper(),
        "description": operation.get("description", ""),
        "header": _headers(operation, with_body=body is not None),
        "url": _url(path, operation),
    }
    if body is not None:
        raw = json.dumps(body, indent=2)
        request["body"] = {"mode": "raw", "raw": raw, "options": {"raw": {"language": "json"}}}
    item: dict[str, Any] = {"name": name, "request": request, "response": []}
    if operation["operationId"] == "createTask":
        item["event"] = [{"listen": "test", "script": {"type": "text/javascript", "exec": _REMEMBER_TASK}}]
    return item


def _headers(operation: Mapping[str, Any], *, with_body: bool) -> list[dict[str, Any]]:
    sent = [{"key": "Content-Type", "value": "application/json"}] if with_body else []
    return sent + [_disabled(parameter) for parameter in _parameters(operation, "header")]


def _url(path: str, operation: Mapping[str, Any]) -> dict[str, Any]:
    steps = [f":{step[1:-1]}" if step.startswith("{") else step for step in path.strip("/").split("/")]
    url: dict[str, Any] = {
        "raw": "/".join(["{{baseUrl}}", *steps]),
        "host": ["{{baseUrl}}"],
        "path": steps,
    }
    if query := [_disabled(parameter) for parameter in _parameters(operation, "query")]:
        url["query"] = query
    known = next((value for step, value in _PATH_VARIABLES.items() if step in steps), "")
    if variables := _parameters(operation, "path"):
        url["variable"] = [
            {
                "key": item["name"],
                "value": known if item["name"] == "id" else "1",
                "description": item["description"],
            }
            for item in variables
        ]
    return url


def _parameters(operation: Mapping[str, Any], place: str) -> list[dict[str, Any]]:
    return [parameter for parameter in operation.get("parameters", ()) if parameter["in"] == place]


def _disabled(parameter: Mapping[str, Any]) -> dict[str, Any]:
    """Optional, so there to be ticked, with a value that it may have."""
    schema = parameter["schema"]
    value = schema.get("default", schema.get("enum", [""])[0])
    return {
        "key": parameter["name"],
        "value": str(value),
        "description": parameter["description"],
        "disabled": True,
    }
