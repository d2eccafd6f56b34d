"""One-shot jobs on a database."""

from __future__ import annotations

import contextlib
import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING

from uuid_utils.compat import uuid7

from application.explanation.explainer import Explainer
from application.tasks import Request, TaskCommands
from domain.definition import DEFAULT_NAMESPACE
from infrastructure.archive.shelf import Shelf
from infrastructure.clock import SystemClock
from infrastructure.database import pool, with_liveness
from infrastructure.event_store import Appender, PostgresEventLog
from infrastructure.projector import WholeLog, replay_parked
from infrastructure.projector import check as check_tables
from infrastructure.projector import rebuild as rebuild_tables
from interfaces.bootstrap.archives import library
from interfaces.bootstrap.shares import Processes
from interfaces.http.bodies import CronTrigger, HttpAction, OneOffTrigger, TaskDefinition
from projections.catalogue import named

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence
    from datetime import datetime
    from uuid import UUID

    from application.explanation.account import Explanation
    from infrastructure.projector import Checked, CheckObserver, RebuildObserver, Rebuilt
    from infrastructure.settings import Settings


async def rebuild(
    settings: Settings,
    names: Iterable[str],
    observer: RebuildObserver,
    *,
    anew: bool,
    processes: int | None = None,
) -> tuple[Sequence[str], Rebuilt]:
    """Build read models (all for no names) from the whole log; their names and what came out.

    `processes` fold it together; None: as many as the log and the machine ask for.
    Raises `UnknownProjection`, `RebuildRunning`, `TablesInUse`, `NewTablesLost`, `ArchiveAway` and
    `ShareFailed`.
    """
    projections = named(names)
    done = await rebuild_tables(
        with_liveness(settings.direct_dsn()),
        projections,
        observer,
        whole_log=WholeLog(library(settings)),
        workers=Processes(settings, processes),
        anew=anew,
    )
    return [one.name for one in projections], done


async def check(settings: Settings, names: Iterable[str], observer: CheckObserver) -> Checked:
    """Compare read models (all for no names) with the log folded afresh; the observer hears what differs.

    Raises `UnknownProjection`, `CheckRunning`, `NotCheckable`, `ParkedMeanwhile`, `LogRewound` and
    `ArchiveAway`.
    """
    return await check_tables(
        with_liveness(settings.direct_dsn()), named(names), observer, WholeLog(library(settings))
    )


async def replay(settings: Settings, name: str) -> str:
    """Apply a read model's parked events again and say how that went.

    Raises `UnknownProjection`, `ParkedEventMissing` and `ArchiveAway`.
    """
    [projection] = named([name])
    async with pool(with_liveness(settings.dsn()), 2) as connections:
        done = await replay_parked(connections, projection, WholeLog(library(settings)))
    return f"{done.applied} parked events of {name} applied, {done.parked} still parked"


async def explain_task(settings: Settings, task_id: UUID, at: datetime | None) -> Explanation:
    """What happened, or will, at an instant of a task (None: where it stands). Raises `TaskNotFound`."""
    async with _explainer(settings) as explainer:
        return await explainer.task(DEFAULT_NAMESPACE, task_id, at)


async def explain_execution(settings: Settings, execution_id: UUID) -> Explanation:
    """What became of an execution. Raises `ExecutionNotFound`."""
    async with _explainer(settings) as explainer:
        return await explainer.execution(DEFAULT_NAMESPACE, execution_id)


@contextlib.asynccontextmanager
async def _explainer(settings: Settings) -> AsyncIterator[Explainer]:
    dsn = with_liveness(settings.dsn())
    async with pool(dsn, 2) as connections, Appender(dsn) as appender:
        shelf = Shelf(connections, library(settings))
        yield Explainer(PostgresEventLog(connections, appender, shelf), SystemClock())


class PortUnknown(Exception):
    """The examples call the service's own pages: set PORT to where it listens (not 0), as for the service."""


async def seed(settings: Settings) -> Sequence[str]:
    """Create the example tasks that are not there yet and name them all with their ids.

    Raises `PortUnknown`.
    """
    if settings.port == 0:
        raise PortUnknown(PortUnknown.__doc__)
    dsn = with_liveness(settings.dsn())
    clock = SystemClock()
    async with pool(dsn, 2) as connections, Appender(dsn) as appender:
        commands = TaskCommands(PostgresEventLog(connections, appender), clock, uuid7)
        made = []
        for example in _examples(settings, clock):
            # As users get it: with the API's defaults, not with what older definitions meant.
            definition = example.to_domain("UTC")
            key = f"seed {definition.name}"
            request = Request(
                namespace=DEFAULT_NAMESPACE,
                actor="seed",
                correlation_id="seed",
                idempotency_key=key,
                digest=hashlib.sha256(key.encode()).hexdigest(),
            )
            accepted = await commands.create(definition, request)
            made.append(f"{accepted.task_id}  {definition.name}")
        return made


def _examples(settings: Settings, clock: SystemClock) -> list[TaskDefinition]:
    """Calls of the service's own pages, so that they succeed anywhere without the internet."""
    own = f"http://127.0.0.1:{settings.port}"
    soon = clock.now() + timedelta(seconds=30)
    return [
        TaskDefinition(
            name="Example: health check every minute",
            trigger=CronTrigger(cron="* * * * *"),
            action=HttpAction(method="GET", url=f"{own}/health"),
        ),
        TaskDefinition(
            name="Example: daily report at nine in Berlin",
            trigger=CronTrigger(cron="0 9 * * *", timezone="Europe/Berlin"),
            action=HttpAction(method="GET", url=f"{own}/api/v1/metrics"),
        ),
        TaskDefinition(
            name="Example: weekdays at six, with a header",
            trigger=CronTrigger(cron="0 18 * * 1-5"),
            action=HttpAction(method="GET", url=f"{own}/api/v1/results", headers={"X-Example": "yes"}),
        ),
        TaskDefinition(
            name="Example: once, half a minute after the seed",
            trigger=OneOffTrigger(datetime=soon),
            action=HttpAction(method="GET", url=f"{own}/api/v1/tasks"),
        ),
    ]
