"""projectors: their lag at 2,000 executions a second; a rebuild of 5 million events beside the service."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import NamedTuple

from psycopg import AsyncConnection

from benchmarks import experiments, history, ledger, limits, load, rebuilds
from benchmarks.figures import Chart, Figure, Findings, Limit, percentile
from benchmarks.lag import Lag
from benchmarks.rebuilds import Beside
from benchmarks.stage import Stage

RATE, SECONDS = 2_000, 60.0
EVENTS = 5_000_000
TASKS = 1_000
BESIDE = 500
READING_SECONDS = 10.0


class Rebuilding(NamedTuple):
    """Events a second that are projected for the first time, and a rebuild beside the service."""

    first_rate: float
    beside: Beside
    reading: Limit


async def run(stage: Stage) -> Findings:
    """How soon what has happened can be seen."""
    lag = await _lag(stage)
    found = await _rebuilding(stage)
    return Findings(
        figures=[
            Figure(
                name=f"lag p99 at {RATE:,}/s",
                value=percentile(lag, 99),
                unit="ms",
                better="lower",
                target=100.0,
                grain=10.0,
            ),
            Figure(
                name=f"lag p50 at {RATE:,}/s",
                value=percentile(lag, 50),
                unit="ms",
                better="lower",
                grain=10.0,
            ),
            Figure(
                name="catching up after a downtime",
                value=found.first_rate,
                unit="events/s",
                better="higher",
                limit=found.reading,
            ),
            Figure(
                name=f"rebuild beside {BESIDE} executions/s",
                value=found.beside.rate,
                unit="events/s",
                better="higher",
                limit=found.reading,
                target=50_000.0,
            ),
            *_noticed(found.beside),
        ],
        charts=[
            Chart(
                title=f"Lag of the read models at {RATE:,} executions a second",
                x="percentile of events",
                y="milliseconds",
                lines=[
                    experiments.lateness_line(
                        "lag",
                        [(percent, percentile(lag, percent)) for percent in (1, *range(5, 100, 5), 99, 100)],
                    )
                ],
            )
        ],
    )


def _noticed(beside: Beside) -> list[Figure]:
    """Of a rebuild: nothing but time of the machine."""
    return [
        Figure(
            name="latest execution beside it",
            value=beside.latest_ms,
            unit="ms",
            better="lower",
            target=1_000.0,
            grain=100.0,
        ),
        Figure(
            name="requests that failed beside it",
            value=beside.failed,
            unit="requests",
            better="lower",
            target=0.0,
        ),
        Figure(
            name="exit code of the check after it",
            value=beside.check_code,
            unit="",
            better="lower",
            target=0.0,
        ),
    ]


async def _lag(stage: Stage) -> list[float]:
    """Milliseconds from the record of each event to the commit that shows it, in order."""
    with stage.database() as dsn, stage.service(dsn) as running:
        shown_rate = await experiments.warm_up(stage, dsn)
        stage.server.settle(dsn)
        stage.progress.step(f"{RATE:,}/s: the lag of the read models")
        async with Lag(dsn) as lag:
            await experiments.steady(stage, dsn, running, RATE, stage.seconds(SECONDS), shown_rate)
        return await lag.of_executions()


async def _rebuilding(stage: Stage) -> Rebuilding:
    events = stage.scaled(EVENTS, least=2_000)
    with stage.database() as dsn:
        stage.progress.step(f"storing {events:,} events")
        await history.store(stage, dsn, tasks=TASKS, results=events // history.EVENTS_EACH, rows=False)
        stage.server.settle(dsn)
        async with await AsyncConnection.connect(dsn, autocommit=True) as connection:
            reading = await limits.reading(connection, stage.seconds(READING_SECONDS))
        stage.progress.step(f"{events:,} events to catch up with")
        with stage.service(dsn, ("projector",), healthy=False) as running:
            first_rate = await _catching_up(stage, dsn)
            running.start("api")
            running.start("scheduler")
            meanwhile = load.every_second(stage.sink.url, BESIDE, datetime.now(UTC))
            await load.create_tasks(dsn, meanwhile, BESIDE, stage.progress)
            stage.server.settle(dsn)
            stage.progress.step(f"a rebuild of {events:,} events beside {BESIDE} executions/s")
            beside = await rebuilds.beside(dsn, running)
    return Rebuilding(first_rate, beside, reading)


async def _catching_up(stage: Stage, dsn: str) -> float:
    """Events a second that the projector applies, from the first time that it is seen to move."""
    seen: list[tuple[float, int]] = []

    def told(position: int, end: int) -> None:
        if not seen or position > seen[-1][1]:
            seen.append((time.perf_counter(), position))
        stage.progress.count(position, end, "events projected")

    await ledger.caught_up(dsn, told)
    moving = [point for point in seen if point[1] > seen[0][1]]
    started, position = moving[0] if moving else seen[0]
    return (await ledger.head(dsn) - position) / (time.perf_counter() - started)
