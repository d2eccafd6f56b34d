"""The OpenAPI document: what Litestar makes of the routes, tidied."""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import version
from typing import Any

import yaml
from litestar import Litestar
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import License, Server, Tag

from interfaces.http.examples import TASK_EXAMPLES
from interfaces.http.routes import documented_routes

_DESCRIPTION = """Schedules HTTP calls, once or by cron, and keeps the books.

Every error is `application/problem+json` (RFC 9457): `detail` and `errors` say what to change, and a GET on
the `type` explains the kind. A write answers once lists show it, and tells where the log holds it
(`X-Event-Position`); a read with `min_position` waits for that place. Every answer has an `X-Request-ID`."""

# Sent bodies may hold nothing else; the same shapes in answers say the same.
_CLOSED = ("TaskDefinition", "OneOffTrigger", "CronTrigger", "HttpAction", "Retry")
_NOISE = {"deprecated": False, "allowEmptyValue": False, "allowReserved": False}


@lru_cache(maxsize=1)
def openapi_document() -> dict[str, Any]:
    """The document as plain JSON values; the same for every configuration of the service."""
    app = Litestar(
        route_handlers=documented_routes(),
        # An application that only describes itself has nothing to inject.
        dependencies={
            name: Provide(lambda: None, sync_to_thread=False) for name in ("api", "health", "exposition")
        },
        openapi_config=OpenAPIConfig(
            title="Chronoledger",
            version=version("chronoledger"),
            description=_DESCRIPTION,
            license=License(name="MIT", identifier="MIT"),
            servers=[Server(url="/")],
            tags=[
                Tag(name="tasks", description="What is to be called, and when."),
                Tag(name="results", description="What was called, and what came of it."),
                Tag(name="service", description="How the service itself is doing."),
            ],
            use_handler_docstrings=True,
        ),
        logging_config=None,
    )
    return _tidied(app.openapi_schema.to_schema())


@lru_cache(maxsize=1)
def openapi_yaml() -> str:
    """The document as YAML, in the order of the document."""
    return yaml.safe_dump(openapi_document(), sort_keys=False, allow_unicode=True, width=110)


def _tidied(document: dict[str, Any]) -> dict[str, Any]:
    document = _without_noise(document)
    for operations in document["paths"].values():
        for operation in operations.values():
            _tidy_operation(operation)
    for name in _CLOSED:
        document["components"]["schemas"][name]["additionalProperties"] = False
    _add_json_metrics(document["paths"]["/metrics"]["get"])
    return document


def _without_noise(node: Any) -> Any:
    if isinstance(node, list):
        return [_without_noise(item) for item in node]
    if not isinstance(node, dict):
        return _whole(node)
    return {
        key: _without_noise(value) for key, value in node.items() if key not in _NOISE or value != _NOISE[key]
    }


def _whole(value: Any) -> Any:
    """Litestar writes the bounds of whole numbers as 1.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _tidy_operation(operation: dict[str, Any]) -> None:
    for parameter in operation.get("parameters", []):
        parameter["schema"] = _present(parameter["schema"])
    for response in operation["responses"].values():
        for header in response.get("headers", {}).values():
            header.pop("required", None)
    for media in operation.get("requestBody", {}).get("content", {}).values():
        media["examples"] = TASK_EXAMPLES


def _present(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a parameter that is sent: leaving it out is not the same as sending null."""
    schema = dict(schema)
    schema.pop("description", None)  # the parameter says it already
    if isinstance(schema.get("type"), list):
        schema["type"] = next(kind for kind in schema["type"] if kind != "null")
        if "enum" in schema:
            schema["enum"] = [value for value in schema["enum"] if value is not None]
    if "oneOf" in schema:
        schema |= next(choice for choice in schema.pop("oneOf") if choice.get("type") != "null")
    return schema


def _add_json_metrics(operation: dict[str, Any]) -> None:
    # Litestar documents one media type an answer; this route chooses between two.
    content = operation["responses"]["200"]["content"]
    content["text/plain"] = {"schema": {"type": "string"}}
    content["application/json"] = {"schema": {"$ref": "#/components/schemas/Metrics"}}
