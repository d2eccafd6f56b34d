"""Tasks as files declare them: read from the log, and changed by the application's commands."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from uuid_utils.compat import uuid7

from application.declared.applying import Applier
from application.declared.planning import plan
from application.declared.standing import standing
from application.tasks import Request, TaskCommands
from domain.definition import DEFAULT_NAMESPACE
from infrastructure.clock import SystemClock
from infrastructure.database import pool, with_liveness
from infrastructure.event_store import Appender, PostgresEventLog
from infrastructure.event_store.task_streams import PostgresTaskStreams
from infrastructure.visibility import Visibility
from interfaces.bootstrap.services import background
from projections.reader import ReadModels

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from application.declared.applying import Done
    from application.declared.planning import Declaration, Step
    from domain.task import Paused, Scheduled
    from infrastructure.settings import Settings


async def live_tasks(settings: Settings, namespace: str | None) -> Sequence[Scheduled | Paused]:
    """The tasks that go on, of a namespace or of all, by namespace and name. Raises `NamesNotUnique`."""
    async with pool(with_liveness(settings.dsn()), 1) as connections:
        return (await standing(PostgresTaskStreams(connections))).distinct(namespace)


async def plan_tasks(settings: Settings, declarations: Sequence[Declaration], *, prune: bool) -> list[Step]:
    """What has to be done so that the tasks are as they are declared."""
    keys = {(declared.namespace, declared.name) for declared in declarations if declared.name is not None}
    async with pool(with_liveness(settings.dsn()), 1) as connections:
        found = await standing(PostgresTaskStreams(connections), keys)
    return plan(declarations, found, SystemClock().now(), prune=prune)


async def apply_tasks(
    settings: Settings, steps: Sequence[Step], reason: str | None, report: Callable[[Done], None]
) -> bool:
    """Do what was planned, and report each step; whether lists show all of it by now."""
    request = Request(namespace=DEFAULT_NAMESPACE, actor="import", correlation_id=uuid4().hex, reason=reason)
    dsn, position = with_liveness(settings.dsn()), 0
    async with pool(dsn, 2) as connections, Appender(dsn) as appender:
        commands = TaskCommands(PostgresEventLog(connections, appender), SystemClock(), uuid7)
        async for done in Applier(commands, request).apply(steps):
            report(done)
            position = max(position, done.position or 0)
        if not position:
            return True
        visibility = Visibility(with_liveness(settings.direct_dsn()), ReadModels(connections).checkpoint)
        async with background(visibility.run()):
            return await visibility.wait_for(position, settings.visibility_timeout_seconds)
