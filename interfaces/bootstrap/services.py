"""The three roles, each with everything that it needs started and, at the end, closed."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
from datetime import timedelta
from functools import partial
from secrets import token_hex
from typing import TYPE_CHECKING

import structlog
from uuid_utils.compat import uuid7

from application.audit import Audit
from application.bulk import BulkCommands
from application.executions import ExecutionCommands
from application.explanation.explainer import Explainer
from application.explanation.occurrences import Occurrences
from application.ports import LogUnavailable
from application.redaction import Redactions
from application.revisions import Revisions
from application.scheduler.context import Context
from application.scheduler.node import Node
from application.scheduler.scheduler import Scheduler
from application.tasks import TaskCommands
from infrastructure.archive.shelf import Shelf
from infrastructure.carry.standstill import check_once_connected
from infrastructure.clock import SystemClock
from infrastructure.database import pool, with_liveness
from infrastructure.event_store import (
    Appender,
    OwnEvents,
    PostgresEventLog,
    PostgresEventReader,
    PostgresFollower,
    PostgresRedactor,
)
from infrastructure.metrics import Instruments
from infrastructure.nodes import NodeTable, PostgresNodes
from infrastructure.observers import ObservedProjector, ObservedScheduler
from infrastructure.projector import BATCH_EVENTS, Projector, WholeLog
from infrastructure.sealed_log.publishing import Publisher, target_of
from infrastructure.sealed_log.sealer import Sealer
from infrastructure.sealed_log.stored import PostgresSealedLog
from infrastructure.task_log import TaskLog
from infrastructure.visibility import Visibility
from infrastructure.vitals import Vitals
from interfaces.bootstrap.archives import library, retention
from interfaces.bootstrap.due_tasks import DueTasksOfReadModels
from interfaces.bootstrap.health_checks import HealthChecks
from interfaces.bootstrap.ledger import MOST_OF_THE_PAST, LedgerOfReadModels
from interfaces.bootstrap.pages import StoredExposition, ops_app, options
from interfaces.bootstrap.past import PastOfLog
from interfaces.bootstrap.runs import RunsOfReadModels
from interfaces.bootstrap.simulations import simulator
from interfaces.http.dependencies import Dependencies
from projections.catalogue import NAMES, PROJECTIONS, RELATIONS
from projections.due import DueReader
from projections.reader import ReadModels

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
    from typing import Any

    from litestar import Litestar

    from infrastructure.settings import Settings

    type Work = Callable[[], Coroutine[Any, Any, None]]
    type Pages = Callable[[], Litestar]

log = structlog.get_logger(__name__)

BEAT_SECONDS = 1.0
# As long as a write waits until lists show it.
REDACTION_WAIT_SECONDS = 2.0


@contextlib.asynccontextmanager
async def api(settings: Settings) -> AsyncIterator[Litestar]:
    """The REST API, with everything behind it started."""
    from interfaces.bootstrap.shown_nodes import ShownNodes  # noqa: PLC0415 - as the next line
    from interfaces.http.app import create_app  # noqa: PLC0415 - only this role pays for the web framework

    instruments = Instruments()
    clock = SystemClock()
    async with (
        pool(with_liveness(settings.dsn()), settings.db_max_connections) as connections,
        Appender(with_liveness(settings.dsn()), instruments) as appender,
    ):
        queries = ReadModels(connections)
        shelf = Shelf(connections, library(settings))
        log = PostgresEventLog(connections, appender, shelf)
        explainer = Explainer(log, clock)
        visibility = Visibility(with_liveness(settings.direct_dsn()), queries.checkpoint)
        async with background(visibility.run()):
            app = create_app(
                Dependencies(
                    commands=TaskCommands(log, clock, uuid7),
                    bulk=BulkCommands(log, clock, uuid7),
                    executions=ExecutionCommands(log, clock, uuid7, shelf),
                    redactions=Redactions(
                        log,
                        PostgresRedactor(connections),
                        RunsOfReadModels(queries, visibility, REDACTION_WAIT_SECONDS),
                        clock,
                    ),
                    queries=queries,
                    explainer=explainer,
                    occurrences=Occurrences(explainer, LedgerOfReadModels(queries), clock),
                    revisions=Revisions(log),
                    events=PostgresEventReader(connections, shelf=shelf),
                    past=PastOfLog(connections, log, LedgerOfReadModels(queries, MOST_OF_THE_PAST), shelf),
                    audit=Audit(PostgresSealedLog(connections, shelf)),
                    simulator=simulator(connections, log, shelf, clock),
                    visibility=visibility,
                    health=HealthChecks(Vitals(connections, NAMES, RELATIONS)),
                    exposition=StoredExposition(instruments, queries, connections),
                    observer=instruments,
                    nodes=ShownNodes(NodeTable(connections, NAMES), settings.node_expiry_seconds),
                ),
                options(settings),
            )
            _settle_memory()
            yield app


@contextlib.asynccontextmanager
async def scheduler(settings: Settings) -> AsyncIterator[tuple[Work, Pages]]:
    """The scheduler's `run`, which raises `StandsStill`, and what makes the pages of its process."""
    from infrastructure.http_caller import AiohttpCaller  # noqa: PLC0415 - only this role pays for it

    instruments = Instruments()
    clock = SystemClock()
    task_log = TaskLog(settings.log_dir, on_dropped=instruments.log_dropped)
    dsn = with_liveness(settings.dsn())
    own = OwnEvents()
    async with (
        pool(dsn, settings.db_max_connections) as connections,
        Appender(dsn, instruments, own) as appender,
        AiohttpCaller(
            clock=clock,
            max_concurrency=settings.max_concurrency,
            max_per_host=settings.max_concurrency_per_host,
            max_body_bytes=settings.max_response_body_bytes,
        ) as caller,
    ):
        context = Context(
            log=PostgresEventLog(connections, appender),
            clock=clock,
            caller=caller,
            observer=ObservedScheduler(instruments, task_log),
            # A new run is a new node: what the last one left unfinished is taken over like anybody's.
            node=Node(
                name=f"{settings.node_name}.{token_hex(4)}",
                margin=timedelta(seconds=settings.lease_seconds),
                expiry=timedelta(seconds=settings.node_expiry_seconds),
                max_clock_offset=timedelta(seconds=settings.max_clock_offset_seconds),
            ),
            chance=random.random,
        )
        engine = Scheduler(
            context,
            DueTasksOfReadModels(DueReader(connections)),
            PostgresFollower(with_liveness(settings.direct_dsn()), own),
            PostgresNodes(connections, "scheduler"),
            concurrency=settings.max_concurrency,
            per_site=settings.max_concurrency_per_host,
            grace=timedelta(seconds=settings.shutdown_grace_seconds),
        )

        async def work() -> None:
            await check_once_connected(connections)
            await engine.run()

        _settle_memory()
        try:
            yield work, partial(ops_app, settings, instruments, connections, ("scheduler",))
        finally:
            await asyncio.to_thread(task_log.close)


@contextlib.asynccontextmanager
async def projector(settings: Settings) -> AsyncIterator[tuple[Work, Pages]]:
    """The projector's `run`, and what makes the pages of its process."""
    instruments = Instruments()
    async with pool(with_liveness(settings.dsn()), settings.db_max_connections) as connections:
        engine = Projector(
            connections,
            with_liveness(settings.direct_dsn()),
            PROJECTIONS,
            ObservedProjector(instruments),
            # What it rebuilds is folded between the batches of what goes on.
            WholeLog(library(settings), at_once=BATCH_EVENTS),
        )
        nodes = PostgresNodes(connections, "projector")
        name = f"{settings.node_name}.{token_hex(4)}"
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(background(_beat(nodes, name)))
            await stack.enter_async_context(background(_seal(settings)))
            if settings.retention_days:
                keeper = retention(settings, lambda: engine.owns)
                await stack.enter_async_context(background(keeper.run()))
            yield engine.run, partial(ops_app, settings, instruments, connections, ("projectors",))
        with contextlib.suppress(LogUnavailable):
            await nodes.leave(name)


@contextlib.asynccontextmanager
async def background(work: Awaitable[None]) -> AsyncIterator[None]:
    """Something that runs beside the body and ends with it; what ends it earlier is logged."""
    running = asyncio.ensure_future(work)
    running.add_done_callback(_tell_of_failure)
    try:
        yield
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


def _tell_of_failure(ended: asyncio.Future[None]) -> None:
    if not ended.cancelled() and (error := ended.exception()) is not None:
        log.error("something in the background has ended: restart the service", exc_info=error)


async def _seal(settings: Settings) -> None:
    if settings.audit_publish is None:
        return await Sealer(settings.direct_dsn(), settings.audit_key_file).run()
    publisher = Publisher(target_of(settings.audit_publish), settings.audit_publish_seconds)
    async with background(publisher.run()):
        return await Sealer(settings.direct_dsn(), settings.audit_key_file, publisher.offer).run()


async def _beat(nodes: PostgresNodes, name: str) -> None:
    while True:
        with contextlib.suppress(LogUnavailable):
            await nodes.beat(name)
        await asyncio.sleep(BEAT_SECONDS)


def _settle_memory() -> None:
    """What is loaded by now stays: collecting it again and again would pause a process for 40-80 ms."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
