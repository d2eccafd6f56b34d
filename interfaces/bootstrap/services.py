"""The three roles, each with everything that it needs started and, at the end, closed."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import resource
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from datetime import datetime, timedelta
from functools import partial
from secrets import token_hex
from typing import Any, Protocol
from uuid import UUID

import structlog
from litestar import Litestar
from msgspec.structs import replace
from psycopg import AsyncConnection, DataError, IntegrityError
from psycopg_pool import AsyncConnectionPool
from uuid_utils.compat import uuid7

from application.audit import Audit
from application.executions import ExecutionCommands
from application.explanation.explainer import Accounted, Explainer, Ledger, Occurrences, Window
from application.explanation.history import Now, Streams, history_of
from application.past import Cut, Moment, Stopped, TooMuchHistory, placing_events
from application.ports import LogUnavailable, Unreadable
from application.redaction import Redactions, Run
from application.revisions import Revisions
from application.scheduler.context import Context, SchedulerNode
from application.scheduler.scheduler import Scheduler
from application.tasks import BulkCommands, TaskCommands
from application.what_if.simulator import Simulator
from infrastructure.archive.catalog import ArchiveReader
from infrastructure.audit_log.publishing import Publisher, target_of
from infrastructure.audit_log.sealer import Sealer
from infrastructure.audit_log.store import PostgresAuditLog
from infrastructure.clock import SystemClock
from infrastructure.event_store.appender import API_ROOM, Appender, OwnEvents
from infrastructure.event_store.follower import PostgresFollower
from infrastructure.event_store.log import PostgresEventLog
from infrastructure.event_store.reader import PostgresEventReader
from infrastructure.event_store.redactor import PostgresRedactor
from infrastructure.health import ReadinessReader
from infrastructure.metrics import Instruments, ObservedScheduler
from infrastructure.nodes import NodeRow, NodeTable, PostgresNodes
from infrastructure.past.reader import PostgresPast, PostgresRuns, outcome_entries, task_entries
from infrastructure.postgres import pool, with_liveness
from infrastructure.projector.reading import BATCH_EVENTS, WholeLog
from infrastructure.projector.runner import Projector
from infrastructure.settings import Settings
from infrastructure.task_log import TaskLog
from infrastructure.transfer.database import check_fence_once_connected
from infrastructure.visibility import Visibility
from interfaces.bootstrap.pages import HealthChecks, StoredExposition, ops_app, options
from interfaces.bootstrap.transfer import catalog, retention
from interfaces.http.answers import Node
from interfaces.http.api import Dependencies, VisibilityPort
from interfaces.http.problems import NotYetVisible
from interfaces.http.simulation import Simulated, SimulationRequest
from projections import NAMES, PROJECTIONS, RELATIONS, task_results
from projections.due import DueReader
from projections.projection import PoisonEvent
from projections.queries import ReadModels, past_figures, past_task, past_tasks
from projections.task_results import ResultRow
from projections.views import Figures, Listing, Paging, ResultQuery, ResultView, TaskQuery, TaskView

AT_ONCE = 200
# Of the past each row is a stream to read: some seconds in all.
MOST_OF_THE_PAST = 2_000


class Results(Protocol):
    """Pages of the ledger."""

    async def results(self, query: ResultQuery, paging: Paging, /) -> Listing[ResultView]:
        """One page. Raises `psycopg.OperationalError` when the database is away."""
        ...


class LedgerOfReadModels:
    """`application.explanation.explainer.Ledger` over the read model."""

    def __init__(self, queries: Results, most: int | None = None) -> None:
        """`most`: of more rows than these (None: of any number) none are read."""
        self._queries = queries
        self._most = most

    async def accounted(
        self, namespace: str, task_id: UUID, start: datetime, end: datetime
    ) -> Sequence[Accounted]:
        """See `Ledger`. Raises `TooMuchHistory` and what the read models raise."""
        query = ResultQuery(namespace=namespace, task_id=task_id, due_from=start, due_to=end)
        found: list[Accounted] = []
        cursor: str | None = None
        while True:
            page = await self._queries.results(query, Paging(limit=AT_ONCE, sort="due_at", cursor=cursor))
            if self._most is not None and page.total > self._most:
                raise TooMuchHistory(
                    f"The ledger has {page.total:,} occurrences in that window by now, and each would have "
                    f"to be read anew; at most {self._most:,} are: narrow `from` and `to`."
                )
            found += [
                Accounted(execution_id=row.id, due_at=row.due_at, status=row.status, reason=row.reason)
                for row in page.items
                if row.kind != "manual"
            ]
            cursor = page.next_cursor
            if cursor is None:
                return found


class PastOfLog:
    """`interfaces.http.api.Past`."""

    def __init__(
        self, connections: AsyncConnectionPool, log: Streams, ledger: Ledger, archive_reader: ArchiveReader
    ) -> None:
        """`ledger` is that of today, and bounded: of what it has, each row is read anew."""
        self._archive_reader = archive_reader
        self._connections = connections
        self._moments = PostgresPast(connections, archive_reader)
        self._log = log
        self._ledger = ledger
        # Folding is work for a processor that also serves the other requests.
        self._turn = asyncio.Lock()

    async def at(self, instant: datetime) -> Moment:
        """See `Past`."""
        return await self._moments.at(instant)

    async def after(self, position: int) -> Moment:
        """See `Past`."""
        return await self._moments.after(position)

    async def task(self, namespace: str, task_id: UUID, moment: Moment) -> TaskView | None:
        """See `Past`."""
        cut = Cut(self._log, moment)
        history = history_of(task_id, await cut.read_stream(task_id))
        if history is None or history.task.namespace != namespace:
            return None
        placing = await placing_events(cut, history, moment.at)
        return past_task(task_id, sorted([*history.events, *placing], key=lambda event: event.position))

    async def tasks(self, query: TaskQuery, paging: Paging, moment: Moment) -> Listing[TaskView]:
        """See `Past`."""
        async with self._folding(moment) as connection:
            streams = task_entries(connection, moment, query.created_from, query.created_to)
            listing = await past_tasks(connection, query, paging, streams)
        items = [await self.task(query.namespace, view.id, moment) for view in listing.items]
        return replace(listing, items=[view for view in items if view is not None])

    async def figures(self, moment: Moment) -> Figures:
        """See `Past`."""
        async with self._folding(moment) as connection:
            outcomes = outcome_entries(connection, moment, self._archive_reader)
            streams = task_entries(connection, moment)
            return await past_figures(outcomes, streams, moment.at)

    async def window(
        self, namespace: str, task_id: UUID, start: datetime, end: datetime, limit: int, moment: Moment
    ) -> Window:
        """See `Past`."""
        cut, clock = Cut(self._log, moment), Stopped(moment)
        occurrences = Occurrences(Explainer(cut, clock), _LedgerOfStreams(self._ledger, cut), clock)
        return await occurrences.window(namespace, task_id, start, end, limit)

    @contextlib.asynccontextmanager
    async def _folding(self, moment: Moment) -> AsyncIterator[AsyncConnection]:
        """A connection for what takes its turn. Raises `Unreadable` when an event cannot be folded."""
        async with self._turn, self._connections.connection() as connection:
            try:
                yield connection
            except (PoisonEvent, DataError, IntegrityError) as error:
                raise Unreadable(
                    moment.position, f"something up to there cannot be folded ({error})"
                ) from error


class _LedgerOfStreams:
    """`Ledger` as it was: the one of today proposes which executions there are, their streams decide."""

    def __init__(self, ledger: Ledger, cut: Cut) -> None:
        self._ledger = ledger
        self._cut = cut

    async def accounted(
        self, namespace: str, task_id: UUID, start: datetime, end: datetime
    ) -> Sequence[Accounted]:
        """See `Ledger`. Raises what the ledger of today raises, `LogUnavailable` and `PoisonEvent`."""
        today = await self._ledger.accounted(namespace, task_id, start, end)
        rows = [await self._row(each.execution_id) for each in today]
        return [
            Accounted(execution_id=row.id, due_at=row.due_at, status=row.status, reason=row.reason)
            for row in rows
            if row is not None
        ]

    async def _row(self, execution_id: UUID) -> ResultRow | None:
        events = await self._cut.read_stream(execution_id)
        return task_results.fold({}, events).rows.get(execution_id)


class RunsLedger(Protocol):
    """The executions of tasks."""

    async def runs(self, task_id: UUID, /) -> Sequence[tuple[UUID, bool]]:
        """Each, and whether it is over. Raises `psycopg.OperationalError` when the database is away."""
        ...


class RunsOfReadModels:
    """`application.redaction.Runs` over the read model, once it is as far as is asked for."""

    def __init__(self, ledger: RunsLedger, visibility: VisibilityPort, timeout_seconds: float) -> None:
        self._ledger = ledger
        self._visibility = visibility
        self._timeout_seconds = timeout_seconds

    async def of_task(self, task_id: UUID, position: int) -> Sequence[Run]:
        """See `Runs`. Raises `NotYetVisible` and what the read models raise."""
        if not await self._visibility.wait_for(position, self._timeout_seconds):
            raise NotYetVisible(position)
        return [Run(run, over) for run, over in await self._ledger.runs(task_id)]


def simulator(
    connections: AsyncConnectionPool, log: Streams, archive_reader: ArchiveReader, clock: Now
) -> Simulator:
    """The simulator over a database; `log` reads what is archived, too."""
    return Simulator(log, PostgresRuns(connections, log), PostgresPast(connections, archive_reader), clock)


async def simulated(settings: Settings, asked: SimulationRequest) -> Simulated:
    """The answer to a question. Raises `InvalidBody`, `TaskNotFound`, `NotYet` and `TooMuchToSimulate`."""
    from interfaces.http.simulation import simulate  # noqa: PLC0415 - it comes with the web framework

    dsn, clock = with_liveness(settings.dsn()), SystemClock()
    async with pool(dsn, 2) as connections, Appender(dsn) as appender:
        archive_reader = ArchiveReader(connections, catalog(settings))
        engine = simulator(
            connections, PostgresEventLog(connections, appender, archive_reader), archive_reader, clock
        )
        return await simulate(asked, ReadModels(connections), engine, clock.now(), settings.default_timezone)


type Work = Callable[[], Coroutine[Any, Any, None]]

type Pages = Callable[[], Litestar]

log = structlog.get_logger(__name__)

BEAT_SECONDS = 1.0
# For all but calls and the pool of the database: its other connections, pages, logs, what is being looked up.
SPARE_DESCRIPTORS = 100
# As long as a write waits until lists show it.
REDACTION_WAIT_SECONDS = 2.0


@contextlib.asynccontextmanager
async def api(settings: Settings) -> AsyncIterator[Litestar]:
    """The REST API, with everything behind it started."""

    from interfaces.http.app import create_app  # noqa: PLC0415 - only this role pays for the web framework

    instruments = Instruments()
    clock = SystemClock()
    async with (
        pool(with_liveness(settings.dsn()), settings.db_max_connections) as connections,
        Appender(with_liveness(settings.dsn()), instruments, room=API_ROOM) as appender,
    ):
        queries = ReadModels(connections)
        archive_reader = ArchiveReader(connections, catalog(settings))
        log = PostgresEventLog(connections, appender, archive_reader)
        explainer = Explainer(log, clock)
        visibility = Visibility(with_liveness(settings.direct_dsn()), queries.checkpoint)
        async with background(visibility.run()):
            app = create_app(
                Dependencies(
                    commands=TaskCommands(log, clock, uuid7),
                    bulk=BulkCommands(log, clock, uuid7),
                    executions=ExecutionCommands(log, clock, uuid7, archive_reader),
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
                    events=PostgresEventReader(connections, archive_reader=archive_reader),
                    past=PastOfLog(
                        connections, log, LedgerOfReadModels(queries, MOST_OF_THE_PAST), archive_reader
                    ),
                    audit=Audit(PostgresAuditLog(connections, archive_reader)),
                    simulator=simulator(connections, log, archive_reader, clock),
                    visibility=visibility,
                    health=HealthChecks(ReadinessReader(connections, NAMES, RELATIONS)),
                    exposition=StoredExposition(instruments, queries, connections),
                    observer=instruments,
                    nodes=ShownNodes(NodeTable(connections, NAMES), settings.node_expiry_seconds),
                ),
                options(settings),
            )
            _settle_memory()
            yield app


def raise_descriptor_limit() -> int | None:
    """Have this process, and those that it starts, open as many files as they may; None: there is no bound.

    That is the hard limit, unless the system sets another one, as macOS does.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    return None if soft == resource.RLIM_INFINITY else soft


def possible_concurrency(settings: Settings, descriptors: int | None) -> int:
    """`MAX_CONCURRENCY`, or as many calls as there are descriptors for; a warning says so."""
    if descriptors is None:
        return settings.max_concurrency
    left = max(1, descriptors - SPARE_DESCRIPTORS - settings.db_max_connections)
    if left < settings.max_concurrency:
        log.warning(
            "MAX_CONCURRENCY is lowered: each call needs a descriptor, and this process may open too few; "
            "raise its hard limit (ulimit -Hn, LimitNOFILE= of systemd, --ulimit nofile= of Docker), or set "
            "MAX_CONCURRENCY to what is possible",
            max_concurrency=settings.max_concurrency,
            possible=left,
            descriptors=descriptors,
            kept_for_the_rest=descriptors - left,
        )
    return min(settings.max_concurrency, left)


@contextlib.asynccontextmanager
async def scheduler(settings: Settings) -> AsyncIterator[tuple[Work, Pages]]:
    """The scheduler's `run`, which raises `Fenced`, and what makes the pages of its process."""
    from infrastructure.http_caller.caller import AiohttpCaller  # noqa: PLC0415 - only this role pays for it

    instruments = Instruments()
    clock = SystemClock()
    task_log = TaskLog(settings.log_dir, on_dropped=instruments.log_dropped)
    dsn = with_liveness(settings.dsn())
    own = OwnEvents()
    concurrency = possible_concurrency(settings, raise_descriptor_limit())
    async with (
        pool(dsn, settings.db_max_connections) as connections,
        Appender(dsn, instruments, own) as appender,
        AiohttpCaller(
            clock=clock,
            max_concurrency=concurrency,
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
            node=SchedulerNode(
                name=f"{settings.node_name}.{token_hex(4)}",
                margin=timedelta(seconds=settings.lease_seconds),
                expiry=timedelta(seconds=settings.node_expiry_seconds),
                max_clock_offset=timedelta(seconds=settings.max_clock_offset_seconds),
            ),
            chance=random.random,
        )
        engine = Scheduler(
            context,
            DueReader(connections),
            PostgresFollower(with_liveness(settings.direct_dsn()), own),
            PostgresNodes(connections, "scheduler"),
            concurrency=concurrency,
            per_host=settings.max_concurrency_per_host,
            grace=timedelta(seconds=settings.shutdown_grace_seconds),
        )

        async def work() -> None:
            await check_fence_once_connected(connections)
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
            instruments,
            # What it rebuilds is folded between the batches of what goes on.
            WholeLog(catalog(settings), at_once=BATCH_EVENTS),
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


class ShownNodes:
    """`interfaces.http.api.Nodes` over the table of heartbeats."""

    def __init__(self, table: NodeTable, expiry_seconds: float) -> None:
        self._table = table
        self._expiry_seconds = expiry_seconds

    async def nodes(self) -> list[Node]:
        """See `interfaces.http.api.Nodes`."""
        return [self._shown(row) for row in await self._table.rows()]

    def _shown(self, row: NodeRow) -> Node:
        alive, schedules = row.heartbeat_age_seconds < self._expiry_seconds, row.role == "scheduler"
        return Node(
            name=row.name,
            role=row.role,
            alive=alive,
            started_at=row.started_at,
            heartbeat_age_seconds=row.heartbeat_age_seconds,
            claims=(alive and row.claims) if schedules else None,
            clock_right=row.clock_right if schedules else None,
            clock_offset_seconds=row.clock_offset_seconds,
            share=row.share if alive else None,
            in_flight=row.in_flight if alive else None,
            due_index_entries=row.due_index_entries if alive else None,
            lag_events=row.lag_events if alive else None,
        )
