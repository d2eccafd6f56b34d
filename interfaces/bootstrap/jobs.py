"""One-shot jobs on a database."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from uuid import UUID, uuid4

import msgspec
from uuid_utils.compat import uuid7

from application.declared import Applier, Declaration, Done, Step, plan, standing
from application.explanation.explainer import Explainer
from application.explanation.wording import Explanation
from application.tasks import Request, TaskCommands
from domain.audit import Evidence, Finding
from domain.definition import DEFAULT_NAMESPACE, Definition
from domain.task import Paused, Scheduled
from infrastructure.archive.catalog import ArchiveReader
from infrastructure.audit_log.keys import KeyRing, PublicKey, read_public_key
from infrastructure.audit_log.publishing import read_published
from infrastructure.audit_log.verifying import Verified, VerifyObserver
from infrastructure.audit_log.verifying import verify as verify_log
from infrastructure.clock import SystemClock
from infrastructure.event_store.appender import Appender
from infrastructure.event_store.log import PostgresEventLog, PostgresTaskStreams
from infrastructure.postgres import pool, with_liveness
from infrastructure.projector.batch import replay_quarantined
from infrastructure.projector.check import Checked, CheckObserver
from infrastructure.projector.check import check as check_tables
from infrastructure.projector.reading import WholeLog
from infrastructure.projector.rebuild import RebuildObserver, Rebuilt
from infrastructure.projector.rebuild import rebuild as rebuild_tables
from infrastructure.settings import Settings
from infrastructure.visibility import Visibility
from interfaces.bootstrap.rebuild_processes import Processes
from interfaces.bootstrap.services import background
from interfaces.bootstrap.transfer import catalog
from interfaces.http.audit import Evidence as Bundle
from interfaces.http.bodies import CronTrigger, HttpAction, OneOffTrigger, TaskDefinition
from projections import named
from projections.queries import ReadModels


async def live_tasks(settings: Settings, namespace: str | None) -> Sequence[Scheduled | Paused]:
    """The tasks that go on, of a namespace or of all, by namespace and name. Raises `NamesNotUnique`."""
    async with pool(with_liveness(settings.dsn()), 1) as connections:
        return (await standing(PostgresTaskStreams(connections))).distinct(namespace)


async def live_definitions(settings: Settings) -> Sequence[Definition]:
    """What the tasks of the default namespace that go on are defined as, whatever their names."""
    async with pool(with_liveness(settings.dsn()), 1) as connections:
        live = (await standing(PostgresTaskStreams(connections))).live()
    return [task.definition for task in live if task.namespace == DEFAULT_NAMESPACE]


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
        if position == 0:  # nothing was done
            return True
        visibility = Visibility(with_liveness(settings.direct_dsn()), ReadModels(connections).checkpoint)
        async with background(visibility.run()):
            return await visibility.wait_for(position, settings.visibility_timeout_seconds)


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
        whole_log=WholeLog(catalog(settings)),
        workers=Processes(settings, processes),
        anew=anew,
    )
    return [one.name for one in projections], done


async def check(settings: Settings, names: Iterable[str], observer: CheckObserver) -> Checked:
    """Compare read models (all for no names) with the log folded afresh; the observer hears what differs.

    Raises `UnknownProjection`, `CheckRunning`, `NotCheckable`, `ReplayedMeanwhile`, `LogRewound` and
    `ArchiveAway`.
    """
    return await check_tables(
        with_liveness(settings.direct_dsn()), named(names), observer, WholeLog(catalog(settings))
    )


async def replay(settings: Settings, name: str) -> str:
    """Apply a read model's parked events again and say how that went.

    Raises `UnknownProjection`, `QuarantinedEventMissing` and `ArchiveAway`.
    """
    [projection] = named([name])
    async with pool(with_liveness(settings.dsn()), 2) as connections:
        done = await replay_quarantined(connections, projection, WholeLog(catalog(settings)))
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
        archive_reader = ArchiveReader(connections, catalog(settings))
        yield Explainer(PostgresEventLog(connections, appender, archive_reader), SystemClock())


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


class BundleUnreadable(Exception):
    """A file is no evidence; take it from `GET /api/v1/executions/{id}/evidence` again."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"{path} is no evidence ({reason}); take it from `GET /api/v1/executions/{{id}}/evidence`"
        )


class VerifiedBundle(NamedTuple):
    """What a bundle holds, and what of it does not hold; `pinned`: the keys came from elsewhere."""

    evidence: Evidence
    findings: Sequence[Finding]
    pinned: bool


async def verify(
    settings: Settings, observer: VerifyObserver, key_files: Sequence[Path], head_files: Sequence[Path] = ()
) -> Verified:
    """Compare the log with its seals, and with heads that were published.

    With public keys from files no others are believed. Raises `KeyUnusable`, `HeadsUnreadable` and
    `ArchiveAway`.
    """
    pinned = [read_public_key(path) for path in key_files]
    witnessed = [signed for path in head_files for signed in read_published(path)]
    return await verify_log(settings.direct_dsn(), observer, pinned, witnessed, catalog(settings))


def verify_bundle(path: Path, key_files: Sequence[Path]) -> VerifiedBundle:
    """Check evidence by itself. Raises `BundleUnreadable` and `KeyUnusable`."""
    evidence = _evidence(path)
    pinned = [read_public_key(file) for file in key_files]
    keys = KeyRing(pinned or [PublicKey.of_pem(evidence.public_key)])
    return VerifiedBundle(evidence, list(evidence.findings(keys.flaw)), bool(pinned))


def _evidence(path: Path) -> Evidence:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Bundle).to_domain()
    except OSError as error:
        raise BundleUnreadable(path, error.strerror or "it cannot be read") from error
    except ValueError as error:
        raise BundleUnreadable(path, str(error)) from error
