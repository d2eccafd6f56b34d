"""What every process shows of itself: metrics, health, and how HTTP behaves."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from typing import TYPE_CHECKING

import psycopg
from psycopg_pool import PoolTimeout

from application.ports import LogUnavailable
from infrastructure import metrics
from infrastructure.embedded_postgres import DataDirectoryUnusable
from infrastructure.nodes import PostgresNodes
from infrastructure.sealed_log.stored import PostgresSealedLog
from infrastructure.stored_figures import StoredFigures, stored_figures
from infrastructure.vitals import Vitals
from interfaces.bootstrap.health_checks import HealthChecks
from interfaces.http.dependencies import HttpOptions, OpsDependencies
from projections.catalogue import NAMES, RELATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from litestar import Litestar
    from prometheus_client.core import Metric
    from psycopg_pool import AsyncConnectionPool

    from infrastructure.metrics import Instruments
    from infrastructure.settings import Settings
    from interfaces.bootstrap.health_checks import Part
    from projections.reader import ReadModels

# A scrape is given up after ten seconds: what processes measured must have been told by then.
STORED_SECONDS = 3.0


class StoredExposition:
    """`interfaces.http.dependencies.Exposition`: what processes measured, and what the read models count."""

    def __init__(
        self, instruments: Instruments, queries: ReadModels, connections: AsyncConnectionPool
    ) -> None:
        self._instruments = instruments
        self._queries = queries
        self._nodes = PostgresNodes(connections, "scheduler")
        self._sealed = PostgresSealedLog(connections)

    async def render(self) -> tuple[bytes, str]:
        """See `interfaces.http.dependencies.Exposition`. Without the database: what processes measured."""
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
        """See `interfaces.http.dependencies.Exposition`."""
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
        health=HealthChecks(Vitals(connections, NAMES, RELATIONS), parts),
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
