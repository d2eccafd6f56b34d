"""Every documented route: the API below its prefix, and what stands at the root."""

from collections.abc import Sequence

from litestar import Router
from litestar.di import Provide
from litestar.types import ControllerRouterHandler

from interfaces.http.audit import AuditController
from interfaces.http.bulk import create_tasks
from interfaces.http.events import EventController
from interfaces.http.executions import ExecutionController, ResultController
from interfaces.http.explanations import ExplanationController
from interfaces.http.parameters import AsOf, Freshness
from interfaces.http.revisions import RevisionController
from interfaces.http.schedule import ScheduleController
from interfaces.http.simulation import simulate_tasks
from interfaces.http.system import api_health, api_metrics, list_nodes, liveness, root_health, root_metrics
from interfaces.http.tasks import LifecycleController, RedactionController, TaskController

API_PREFIX = "/api/v1"


def documented_routes() -> Sequence[ControllerRouterHandler]:
    """A new router: Litestar lets each belong to one application only."""
    api = Router(
        API_PREFIX,
        route_handlers=[
            TaskController,
            create_tasks,
            ResultController,
            ExplanationController,
            LifecycleController,
            RedactionController,
            ExecutionController,
            EventController,
            RevisionController,
            ScheduleController,
            AuditController,
            simulate_tasks,
            list_nodes,
            api_metrics,
            api_health,
        ],
        dependencies={
            "freshness": Provide(Freshness, sync_to_thread=False),
            "past": Provide(AsOf, sync_to_thread=False),
        },
    )
    return [api, root_metrics, root_health, liveness]
