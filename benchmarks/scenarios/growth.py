"""growth: what an execution costs with no, 1 million and 10 million results stored."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from benchmarks import experiments, history, ledger
from benchmarks.experiments import Burst, Steady
from benchmarks.figures import Chart, Figure, Findings, Limit, Line
from benchmarks.stage import Stage

STORED = (0, 1_000_000, 10_000_000)
# A history of so many tasks, which are stored as well.
RESULTS_PER_TASK = 10
BURST, RATE, SECONDS = 10_000, 500, 20.0
# Cost does not grow: what lies within this is noise.
AT_MOST, AT_LEAST = 1.25, 0.8


class Found(NamedTuple):
    """What was found with so many results stored."""

    stored: int
    burst: Burst
    steady: Steady


async def run(stage: Stage) -> Findings:
    """CPU and rate of executions as tasks, events and results pile up."""
    found: list[Found] = []
    with stage.database() as dsn:
        stored = 0
        for full in STORED:
            if more := stage.scaled(full, least=0) - stored:
                stage.progress.step(f"storing {more:,} more results, their events and their tasks")
                tasks = max(1, more // RESULTS_PER_TASK)
                await history.store(stage, dsn, tasks=tasks, results=more, rows=True, earlier=stored)
                stored += more
            found.append(await _measure(stage, dsn, stored))
    return Findings(_figures(found), _charts(found))


async def _measure(stage: Stage, dsn: str, stored: int) -> Found:
    with stage.service(dsn) as running:
        shown_rate = await experiments.warm_up(stage, dsn)
        await ledger.sealed(dsn, partial(stage.progress.count, what="events sealed"))  # what was stored, too
        stage.server.settle(dsn)
        count = stage.scaled(BURST, least=500)
        stage.progress.step(f"with {stored:,} results stored: {count:,} at once, then {RATE}/s")
        burst = await experiments.burst(stage, dsn, running, count, shown_rate)
        steady = await experiments.steady(stage, dsn, running, RATE, stage.seconds(SECONDS), shown_rate)
    return Found(stored, burst, steady)


def _figures(found: list[Found]) -> list[Figure]:
    empty = found[0]
    figures: list[Figure] = []
    for one in found:
        name, first = f"{one.stored:,} stored", one is empty
        figures += [
            Figure(
                name=f"{name}: CPU at {RATE}/s",
                value=one.steady.total_cpu_ms,
                unit="ms/execution",
                better="lower",
                limit=None if first else Limit("none stored", empty.steady.total_cpu_ms),
                target_ratio=None if first else AT_MOST,
            ),
            Figure(
                name=f"{name}: CPU of a burst",
                value=one.burst.cpu_ms,
                unit="ms/execution",
                better="lower",
                limit=None if first else Limit("none stored", empty.burst.cpu_ms),
                target_ratio=None if first else AT_MOST,
            ),
            Figure(
                name=f"{name}: rows of a burst",
                value=one.burst.rate,
                unit="executions/s",
                better="higher",
                limit=None if first else Limit("none stored", empty.burst.rate),
                target_ratio=None if first else AT_LEAST,
            ),
        ]
    return figures


def _charts(found: list[Found]) -> list[Chart]:
    cost = [
        Line(f"at {RATE}/s", [(float(one.stored), one.steady.total_cpu_ms) for one in found]),
        Line("in a burst", [(float(one.stored), one.burst.cpu_ms) for one in found]),
    ]
    rate = [Line("burst", [(float(one.stored), one.burst.rate) for one in found])]
    return [
        Chart(
            title="Cost of an execution",
            x="results stored",
            y="ms of CPU, all processes",
            lines=cost,
            log_x=True,
        ),
        Chart(title="Rate of a burst", x="results stored", y="executions a second", lines=rate, log_x=True),
    ]
