"""The numbers behind the metrics, from the durable counts."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from projections.statements import statement
from projections.statistics import BEYOND, DURATION, LATENESS, SUM, Histogram
from projections.views import Figures

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from psycopg import AsyncConnection

_WINDOW_MINUTES = 60
_OUTCOMES = ("succeeded", "failed", "skipped", "cancelled")
_ATTEMPTS = ("succeeded", "failed", "lost")
_TASKS = ("scheduled", "paused", "completed", "failed", "cancelled")

type Totals = Mapping[tuple[str, str], int]


class StoredFigures(Struct, frozen=True, kw_only=True):
    """Counts over everything ever executed. Buckets are cumulative, by upper bound; sums are seconds.

    `projections` maps a name to its position in the log and the number of events that it had to park.
    """

    executions: dict[str, int]
    attempts: dict[str, int]
    duration_buckets: list[tuple[float, int]]
    duration_sum: float
    lateness_buckets: list[tuple[float, int]]
    lateness_sum: float
    tasks: dict[str, int]
    log_position: int
    projections: dict[str, tuple[int, int]]


async def stored_figures(connection: AsyncConnection, names: Sequence[str]) -> StoredFigures:
    """Read what the Prometheus metrics are made of."""
    totals = await _totals(connection)
    tasks = dict(await _rows(connection, "tasks_by_status"))
    progress = await _rows(connection, "projection_progress", {"names": list(names)})
    [(log_position,)] = await _rows(connection, "log_position")
    return StoredFigures(
        executions={outcome: totals.get(("executions", outcome), 0) for outcome in _OUTCOMES},
        attempts={result: totals.get(("attempts", result), 0) for result in _ATTEMPTS},
        duration_buckets=_cumulative(DURATION, totals),
        duration_sum=_seconds(DURATION, totals),
        lateness_buckets=_cumulative(LATENESS, totals),
        lateness_sum=_seconds(LATENESS, totals),
        tasks={status: tasks.get(status, 0) for status in _TASKS},
        log_position=log_position,
        projections={name: (position, parked) for name, position, parked in progress},
    )


async def figures(connection: AsyncConnection, now: datetime) -> Figures:
    """Read the specification's metrics."""
    totals = await _totals(connection)
    tasks = dict(await _rows(connection, "tasks_by_status"))
    [(recent, first)] = await _rows(connection, "finished_since", {"since": _window_start(now)})
    return _figures(totals, tasks.get("scheduled", 0), recent, first, now)


def figures_of(totals: Totals, minutes: Mapping[datetime, int], active: int, now: datetime) -> Figures:
    """The same from counts at hand: of the `statistics`, by the minute, and of scheduled tasks."""
    since = _window_start(now)
    recent = sum(finished for minute, finished in minutes.items() if minute >= since)
    return _figures(totals, active, recent, min(minutes, default=None), now)


def _window_start(now: datetime) -> datetime:
    return now.replace(second=0, microsecond=0) - timedelta(minutes=_WINDOW_MINUTES - 1)


def _figures(totals: Totals, active: int, recent: int, first: datetime | None, now: datetime) -> Figures:
    succeeded, failed = totals.get(("executions", "succeeded"), 0), totals.get(("executions", "failed"), 0)
    finished = succeeded + failed
    measured = _cumulative(DURATION, totals)[-1][1]
    return Figures(
        total_tasks_executed=finished,
        successful_tasks=succeeded,
        failed_tasks=failed,
        success_rate_percent=round(100 * succeeded / finished, 2) if finished else 0.0,
        average_execution_ms=round(1_000 * _seconds(DURATION, totals) / measured, 2) if measured else 0.0,
        tasks_per_minute=round(recent / _elapsed_minutes(max(_window_start(now), first or now), now), 2),
        active_tasks=active,
    )


def _elapsed_minutes(since: datetime, now: datetime) -> float:
    """At least one: a rate over the first seconds would say nothing."""
    return max(1.0, (now - since) / timedelta(minutes=1))


def _cumulative(histogram: Histogram, totals: Totals) -> list[tuple[float, int]]:
    bounds = [*histogram.bounds, float("inf")]
    labels = [*map(str, histogram.bounds), BEYOND]
    counts = accumulate(totals.get((histogram.metric, label), 0) for label in labels)
    return list(zip(bounds, counts, strict=True))


def _seconds(histogram: Histogram, totals: Totals) -> float:
    return totals.get((histogram.metric, SUM), 0) / 1_000_000


async def _totals(connection: AsyncConnection) -> Totals:
    rows = await _rows(connection, "read_statistics")
    return {(metric, label): total for metric, label, total in rows}


async def _rows(
    connection: AsyncConnection, name: str, parameters: dict[str, Any] | None = None
) -> list[tuple[Any, ...]]:
    cursor = await connection.execute(statement(name), parameters)
    return await cursor.fetchall()
