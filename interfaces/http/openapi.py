"""The OpenAPI document: what Litestar makes of the routes, tidied."""

from collections.abc import Iterator
from functools import lru_cache
from importlib.metadata import version
from importlib.resources import files
from typing import Any, Literal

import msgspec
import yaml
from litestar import Litestar
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import License, Server, Tag

from interfaces.http.bodies import Backfilling, Cancelling, Pausing, RollingBack, TaskDefinition
from interfaces.http.bulk import TaskBulk
from interfaces.http.documentation import PROBLEM_MEDIA_TYPE, REQUEST_ID
from interfaces.http.events import LINES
from interfaces.http.routes import documented_routes
from interfaces.http.simulation import SimulationRequest

# What is refused is explained by the schemas that msgspec makes of these, so that the document says the same.
_BODIES = (TaskDefinition, TaskBulk, Pausing, Cancelling, Backfilling, RollingBack, SimulationRequest)
_MAY_BE_LEFT_OUT = ("Pausing", "Cancelling")
_IN_LINES = ("/api/v1/events", "/api/v1/tasks/{id}/events", "/api/v1/executions/{id}/events")
_METHODS = ("post", "get", "put", "delete")
_RETRY_AFTER = {"schema": {"type": "integer"}, "description": "Seconds after which to try again."}
_ALLOW = {"schema": {"type": "string"}, "description": "The methods that the path knows."}
_NOISE = {"deprecated": False, "allowEmptyValue": False, "allowReserved": False}


def tidied(document: dict[str, Any]) -> dict[str, Any]:
    """The document, ready to be published."""
    document = _plain(document)
    shared: dict[str, Any] = {}
    for operation in _operations(document):
        _tidy_parameters(operation)
        _tidy_answers(operation, shared)
        _tidy_body(operation.get("requestBody", {}))
    _add_json_metrics(document["paths"]["/metrics"]["get"])
    for path in _IN_LINES:
        _add_lines(document["paths"][path]["get"])
    schemas = document["components"]["schemas"]
    _tidy_schemas(schemas)
    return {
        "openapi": document["openapi"],
        "info": document["info"],
        "servers": document["servers"],
        "tags": document["tags"],
        "paths": _in_order(document),
        "components": {"schemas": schemas, "responses": dict(sorted(shared.items()))},
    }


def _tidy_body(body: dict[str, Any]) -> None:
    for media in body.get("content", {}).values():
        name = media["schema"]["$ref"].rpartition("/")[2]
        media["examples"] = examples("bodies")[name]
        body["required"] = name not in _MAY_BE_LEFT_OUT


def _in_order(document: dict[str, Any]) -> dict[str, Any]:
    """By tag, as the tags stand, then by path; Litestar's order is that of names in Python."""
    tags = [tag["name"] for tag in document["tags"]]

    def place(path: str) -> tuple[int, str]:
        [first, *_] = document["paths"][path].values()
        return tags.index(first["tags"][0]), path

    return {
        path: {
            method: document["paths"][path][method]
            for method in _METHODS
            if method in document["paths"][path]
        }
        for path in sorted(document["paths"], key=place)
    }


def _operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for operations in document["paths"].values():
        yield from operations.values()


def _plain(node: Any) -> Any:
    """Without defaults spelt out, choices of one, and whole numbers written as 1.0."""
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if isinstance(node, float) and node.is_integer():
        return int(node)
    if not isinstance(node, dict):
        return node
    plain = {key: _plain(value) for key, value in node.items() if key not in _NOISE or value != _NOISE[key]}
    return plain | plain.pop("oneOf")[0] if len(plain.get("oneOf", ())) == 1 else plain


def _tidy_parameters(operation: dict[str, Any]) -> None:
    for parameter in operation.get("parameters", ()):
        parameter["schema"] = _sent(parameter["schema"])


def _sent(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a parameter that is there: to leave it out is not to send null."""
    sent = {key: value for key, value in schema.items() if key not in {"description", "oneOf"}}
    if isinstance(sent.get("type"), list):
        sent["type"] = next(kind for kind in sent["type"] if kind != "null")
    if "enum" in sent:
        sent["enum"] = [value for value in sent["enum"] if value is not None]
    choices = [choice for choice in schema.get("oneOf", ()) if choice.get("type") != "null"]
    return sent | choices[0] if choices else sent


def _tidy_answers(operation: dict[str, Any], shared: dict[str, Any]) -> None:
    """Sort headers (Litestar keeps them in a set), and name each answer that is a problem, to refer to it."""
    for status, answer in operation["responses"].items():
        if headers := answer.pop("headers", None):
            answer["headers"] = {name: _header(headers[name]) for name in sorted(headers)}
        if status in {"425", "503"} and PROBLEM_MEDIA_TYPE in answer["content"]:
            answer["headers"] = {"Retry-After": _RETRY_AFTER}
        if status == "405":
            answer["headers"] = {"Allow": _ALLOW}
        examples: dict[str, Any] = {}
        for media in answer.get("content", {}).values():
            examples |= media.get("examples", {})
            for example in media.get("examples", {}).values():
                example.pop("id", None)  # Litestar's, not OpenAPI's
        if examples:
            name = "Or".join(_pascal(slug) for slug in examples)
            shared[name] = answer
            operation["responses"][status] = {"$ref": f"#/components/responses/{name}"}
    if partly := operation["responses"].get("207"):
        # Litestar documents the headers of one answer; fulfilled in parts, it has those of the whole.
        partly["headers"] = operation["responses"]["201"]["headers"]


def _header(header: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in header.items() if key != "required"}


def _pascal(slug: str) -> str:
    return "".join(word.capitalize() for word in slug.split("-"))


def _add_json_metrics(operation: dict[str, Any]) -> None:
    # Litestar documents one media type an answer; this route chooses between two.
    content = operation["responses"]["200"]["content"]
    content["application/json"] = {"schema": {"$ref": "#/components/schemas/Metrics"}}


def _add_lines(operation: dict[str, Any]) -> None:
    content = operation["responses"]["200"]["content"]
    content[LINES] = {"schema": {"$ref": "#/components/schemas/Event"}}


def _tidy_schemas(schemas: dict[str, Any]) -> None:
    _, bodies = msgspec.json.schema_components(_BODIES, ref_template="#/components/schemas/{name}")
    schemas |= _plain(bodies)
    schemas["Task"]["properties"]["trigger"] = schemas["TaskDefinition"]["properties"]["trigger"]
    for name, example in examples("schemas").items():
        schemas[name]["examples"] = [example]


@lru_cache
def examples(of: Literal["bodies", "schemas"]) -> dict[str, Any]:
    """The examples of every body, each with its summary, or of every schema of an answer."""
    text = files("interfaces.http").joinpath("examples.yaml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(text)[of]
    return found


_DESCRIPTION = """\
Schedules HTTP calls, once or by cron, and keeps the books.

Every error is `application/problem+json` (RFC 9457): `detail` and `errors` say what to change, and a GET on
its `type` explains the kind. A write answers once lists show it, and tells where the log holds it
(`X-Event-Position`); a read with `min_position` waits for that place. Every answer has an `X-Request-ID`.
"""


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
                Tag(name="history", description="What was asked and what was done: the event log."),
                Tag(
                    name="proof",
                    description="What proves the log to others: signed heads and proofs.",
                ),
                Tag(name="service", description="How the service itself is doing."),
            ],
            use_handler_docstrings=True,
        ),
        response_headers=[REQUEST_ID],
        logging_config=None,
    )
    return tidied(app.openapi_schema.to_schema())


@lru_cache(maxsize=1)
def openapi_yaml() -> str:
    """The document as YAML, in the order of the document."""
    dumped: str = yaml.dump(
        openapi_document(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110
    )
    return dumped


class _Dumper(yaml.SafeDumper):
    """Writes for readers: nothing by reference, text of several lines as it is."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)
