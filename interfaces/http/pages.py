"""The way in: links, the OpenAPI document, and what each kind of problem means."""

from __future__ import annotations

from typing import Any

from litestar import MediaType, Response, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from interfaces.http.openapi import openapi_document, openapi_yaml
from interfaces.http.problems import BY_SLUG
from interfaces.http.routes import API_PREFIX

_LINKS = {
    "name": "Chronoledger",
    "tasks": "/api/v1/tasks",
    "results": "/api/v1/results",
    "metrics": "/metrics",
    "health": "/health",
    "documentation": "/swagger/index.html",
    "openapi": "/openapi.json",
    "problems": "/problems",
}


@get(["/", API_PREFIX], include_in_schema=False)
async def index() -> dict[str, str]:
    """Where everything is."""
    return _LINKS


@get("/problems", include_in_schema=False)
async def list_problems() -> list[dict[str, Any]]:
    """Every kind of problem."""
    return [
        {"type": kind.uri, "status": kind.status, "title": kind.title, "advice": kind.advice}
        for kind in BY_SLUG.values()
    ]


@get("/problems/{slug:str}", include_in_schema=False, media_type=MediaType.TEXT)
async def explain_problem(slug: FromPath[str]) -> str:
    """What the `type` of a problem leads to."""
    kind = BY_SLUG.get(slug)
    if kind is None:
        raise NotFoundException
    return f"{kind.title} (HTTP {kind.status})\n\n{kind.advice}\n"


@get("/openapi.json", include_in_schema=False)
async def openapi_as_json() -> dict[str, Any]:
    """The OpenAPI document."""
    return openapi_document()


@get("/openapi.yaml", include_in_schema=False)
async def openapi_as_yaml() -> Response[str]:
    """The OpenAPI document, as YAML."""
    return Response(openapi_yaml(), media_type="application/yaml")


page_handlers = [index, list_problems, explain_problem, openapi_as_json, openapi_as_yaml]
