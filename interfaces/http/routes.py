"""Every documented route: the API below its prefix, and what stands at the root."""

from __future__ import annotations

from typing import TYPE_CHECKING

from litestar import Router
from litestar.di import Provide

from interfaces.http import documentation as doc
from interfaces.http.parameters import Freshness
from interfaces.http.results import get_result, list_results
from interfaces.http.service import api_health, api_metrics, root_health, root_metrics
from interfaces.http.tasks import (
    cancel_task,
    create_task,
    get_task,
    list_task_results,
    list_tasks,
    replace_task,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from litestar.types import ControllerRouterHandler

API_PREFIX = "/api/v1"


def documented_routes() -> Sequence[ControllerRouterHandler]:
    """A new set of routers: Litestar lets each belong to one application only."""
    tasks = Router(
        "/tasks",
        route_handlers=[create_task, list_tasks, get_task, replace_task, cancel_task, list_task_results],
        tags=["tasks"],
    )
    results = Router("/results", route_handlers=[list_results, get_result], tags=["results"])
    api = Router(
        API_PREFIX,
        route_handlers=[tasks, results, api_metrics, api_health],
        dependencies={"freshness": Provide(Freshness, sync_to_thread=False)},
        response_headers=[doc.REQUEST_ID],
    )
    return [api, root_metrics, root_health]
