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

from interfaces.http.documentation import REQUEST_ID
from interfaces.http.routes import documented_routes
from interfaces.http.tidying import tidied

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
