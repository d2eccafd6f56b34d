"""punctual: 100, 1,000 and 2,000 one-offs a second, due evenly, for a minute."""

from __future__ import annotations

from benchmarks import experiments, limits
from benchmarks.experiments import Steady
from benchmarks.figures import Chart, Figure, Findings, Limit
from benchmarks.limits import Paced
from benchmarks.stage import Stage

SECONDS, LIMIT_SECONDS = 60.0, 15.0
P99_TARGETS_MS = {100: 2.0, 1_000: 2.0, 2_000: 5.0}
CPU_TARGETS_MS = {1_000: 0.4}
# What a neighbour on the same machine does to a tail.
GRAIN_MS = 0.3


async def run(stage: Stage) -> Findings:
    """How late calls arrive, and what an execution costs at leisure."""
    figures, lines = [], []
    for rate in P99_TARGETS_MS:
        seconds = stage.seconds(LIMIT_SECONDS)
        stage.progress.step(f"the limit: {rate:,}/s for {seconds:.0f} s from a loop that stores nothing")
        limit = await limits.paced(stage.sink, rate, seconds)
        with stage.database() as dsn, stage.service(dsn) as running:
            shown_rate = await experiments.warm_up(stage, dsn)
            stage.server.settle(dsn)
            seconds = stage.seconds(SECONDS)
            stage.progress.step(f"{rate:,}/s for {seconds:.0f} s")
            found = await experiments.steady(stage, dsn, running, rate, seconds, shown_rate)
        figures += _figures(rate, found, limit)
        lines.append(experiments.lateness_line(f"{rate:,}/s", found.told.curve))
        lines.append(experiments.lateness_line(f"{rate:,}/s, storing nothing", limit.curve))
    chart = Chart(title="Lateness at the sink", x="percentile", y="milliseconds", lines=lines, log_y=True)
    return Findings(figures, [chart])


def _figures(rate: int, found: Steady, limit: Paced) -> list[Figure]:
    name = f"{rate:,}/s"
    return [
        Figure(
            name=f"{name}: lateness p99",
            value=found.told.p99_ms,
            unit="ms",
            better="lower",
            limit=Limit("loop", limit.p99_ms),
            target=P99_TARGETS_MS[rate],
            grain=GRAIN_MS,
        ),
        Figure(
            name=f"{name}: lateness p50", value=found.told.p50_ms, unit="ms", better="lower", grain=GRAIN_MS
        ),
        Figure(
            name=f"{name}: CPU of all processes",
            value=found.total_cpu_ms,
            unit="ms/execution",
            better="lower",
            limit=Limit("loop", limit.cpu_ms),
            target=CPU_TARGETS_MS.get(rate),
        ),
        Figure(name=f"{name}: early", value=found.told.early, unit="calls", better="lower", target=0.0),
        *experiments.kept(name, found.lost, found.told.duplicates),
    ]
