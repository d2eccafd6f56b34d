"""What every process shows of itself: metrics, health, and how HTTP behaves."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Iterator, Sequence
from typing import Literal, Protocol

import psycopg
from litestar import Litestar
from prometheus_client.core import Metric
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from application.ports import LogUnavailable
from infrastructure import metrics
from infrastructure.audit_log.store import PostgresAuditLog
from infrastructure.embedded_postgres.errors import DataDirectoryUnusable
from infrastructure.health import DatabaseAway, Readiness, ReadinessReader
from infrastructure.metrics import Instruments, StoredFigures, stored_figures
from infrastructure.nodes import PostgresNodes
from infrastructure.postgres import first_line
from infrastructure.settings import Settings
from interfaces.http.answers import HealthCheck, HealthReport
from interfaces.http.api import HttpOptions, OpsDependencies
from projections import NAMES, RELATIONS
from projections.queries import ReadModels

# Beats come every second, projections every few milliseconds: ten seconds are no hiccup.
MAX_BEAT_SECONDS = 10.0
MAX_LAG_SECONDS = 10.0

type Part = Literal["projectors", "scheduler"]
ALL_PARTS: tuple[Part, ...] = ("projectors", "scheduler")


class Source(Protocol):
    """Reads how ready the service is."""

    async def read(self) -> Readiness:
        """See `infrastructure.health.ReadinessReader`."""
        ...


class HealthChecks:
    """`interfaces.http.api.Health` over what the database tells."""

    def __init__(self, source: Source, parts: Sequence[Part] = ALL_PARTS) -> None:
        """`parts` are judged besides the database."""
        self._source = source
        self._parts = parts

    async def report(self) -> HealthReport:
        """What works and what does not; never raises."""
        try:
            signs = await self._source.read()
        except DatabaseAway as error:
            return HealthReport.of_checks({"database": _bad(f"The database does not answer: {error}")})
        except Exception as error:
            return HealthReport.of_checks(
                {"database": _bad(f"The database cannot be used: {first_line(error)}")}
            )
        checks = {"database": _good("The database answers.")}
        judges = {"projectors": _projectors, "scheduler": _scheduler}
        return HealthReport.of_checks(checks | {part: judges[part](signs) for part in self._parts})


def _projectors(signs: Readiness) -> HealthCheck:
    lag = f"{_count(max(0, signs.head - signs.projected), 'event')} behind"
    if signs.head < signs.furthest:
        return _bad(
            f"The log ends at {signs.head}, before the checkpoint {signs.furthest}: was a backup restored? "
            "Run `chronoledger rebuild`."
        )
    if not _beats(signs.projector_beat_seconds):
        return _bad(f"No projector is running ({lag}); start `chronoledger projector` and read its log.")
    if signs.missing:
        return _bad(
            f"Tables or views are missing ({', '.join(signs.missing)}): the projector makes them when it "
            "starts, `chronoledger rebuild` when they were dropped."
        )
    if (signs.oldest_unprojected_seconds or 0) > MAX_LAG_SECONDS:
        return _bad(f"The projector is {lag} for {signs.oldest_unprojected_seconds:.0f} s; read its log.")
    return _good(f"The projector is {lag}{_parked(signs.parked)}.")


def _parked(events: int) -> str:
    match events:
        case 0:
            return ""
        case 1:
            return "; 1 event is parked: `chronoledger replay` tries it again"
        case _:
            return f"; {events} events are parked: `chronoledger replay` tries them again"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _scheduler(signs: Readiness) -> HealthCheck:
    beat = signs.scheduler_beat_seconds
    if not _beats(beat) and signs.fenced:
        return _bad(
            "No scheduler begins on this database: it holds an earlier moment, or a copy or a part of a log. "
            "To look at it none is needed; `chronoledger replay --release` on it lets them begin, or says "
            "what is to end first."
        )
    if not _beats(beat):
        seen = "none was ever seen" if beat is None else f"the last heartbeat was {beat:.0f} s ago"
        return _bad(f"No scheduler is running ({seen}); start `chronoledger scheduler` and read its log.")
    if signs.wrong_clock_seconds is None:
        return _good(f"The last heartbeat was {beat:.0f} s ago.")
    clock = _wrong_clock(signs.wrong_clock_seconds)
    if signs.claiming == 0:
        return _bad(f"Nothing is called: {clock}.")
    return _good(f"The last heartbeat was {beat:.0f} s ago; {clock}: `GET /api/v1/nodes` shows which.")


def _wrong_clock(seconds: float) -> str:
    where = "ahead of" if seconds > 0 else "behind"
    off = f"{abs(seconds):.1f} s {where} the database's"
    return f"a scheduler's clock is {off}, so it claims nothing; look after NTP"


def _beats(seconds: float | None) -> bool:
    return seconds is not None and seconds <= MAX_BEAT_SECONDS


def _good(detail: str) -> HealthCheck:
    return HealthCheck(status="healthy", detail=detail)


def _bad(detail: str) -> HealthCheck:
    return HealthCheck(status="unhealthy", detail=detail)


# A scrape is given up after ten seconds: what processes measured must have been told by then.
STORED_SECONDS = 3.0


class StoredExposition:
    """`interfaces.http.api.Exposition`: what processes measured, and what the read models count."""

    def __init__(
        self, instruments: Instruments, queries: ReadModels, connections: AsyncConnectionPool
    ) -> None:
        self._instruments = instruments
        self._queries = queries
        self._nodes = PostgresNodes(connections, "scheduler")
        self._sealed = PostgresAuditLog(connections)

    async def render(self) -> tuple[bytes, str]:
        """See `interfaces.http.api.Exposition`. Without the database: what processes measured."""
        try:
            async with asyncio.timeout(STORED_SECONDS):
                families = await self._stored()
        except (psycopg.Error, PoolTimeout, LogUnavailable, TimeoutError):
            families = []
        return self._instruments.exposition(families), metrics.CONTENT_TYPE

    async def _stored(self) -> list[Metric]:
        stored = await self._queries.stored_figures()
        nodes = await self._nodes.alive()
        sealed = await self._sealed.head(None)
        return stored_figures(
            StoredFigures(
                executions=stored.executions,
                attempts=stored.attempts,
                duration_buckets=stored.duration_buckets,
                duration_sum=stored.duration_sum,
                lateness_buckets=stored.lateness_buckets,
                lateness_sum=stored.lateness_sum,
                tasks=stored.tasks,
                log_position=stored.log_position,
                sealed_position=sealed.head.last_position if sealed else 0,
                projections=stored.projections,
                nodes=nodes,
            )
        )


class ProcessExposition:
    """The same for a process without the API: only what it measured itself."""

    def __init__(self, instruments: Instruments) -> None:
        self._instruments = instruments

    async def render(self) -> tuple[bytes, str]:
        """See `interfaces.http.api.Exposition`."""
        return self._instruments.exposition(), metrics.CONTENT_TYPE


@contextlib.contextmanager
def shared_metrics(settings: Settings, port: int) -> Iterator[None]:
    """Have this process and those it starts measure together, in a directory that goes with this run.

    Raises `DataDirectoryUnusable`.
    """
    directory = settings.data_dir / "metrics" / str(port)
    try:
        metrics.prepare_multiprocess(directory)
    except OSError as error:
        raise DataDirectoryUnusable.because(settings.data_dir, error, "this process") from error
    try:
        yield
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def ops_app(
    settings: Settings, instruments: Instruments, connections: AsyncConnectionPool, parts: tuple[Part, ...]
) -> Litestar:
    """The pages of a process that serves no API."""
    from interfaces.http.app import create_ops_app  # noqa: PLC0415 - the children of `serve` have no pages

    dependencies = OpsDependencies(
        health=HealthChecks(ReadinessReader(connections, NAMES, RELATIONS), parts),
        exposition=ProcessExposition(instruments),
        observer=instruments,
    )
    return create_ops_app(dependencies, options(settings))


def options(settings: Settings) -> HttpOptions:
    """How HTTP behaves under the settings."""
    return HttpOptions(
        cors_allowed_origins=settings.cors_allowed_origins,
        max_body_bytes=settings.max_request_body_bytes,
        default_timezone=settings.default_timezone,
        debug=settings.app_mode == "debug",
        visibility_timeout_seconds=settings.visibility_timeout_seconds,
    )
