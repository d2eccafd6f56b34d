"""nodes: the burst with 1, 2 and 4 schedulers."""

from __future__ import annotations

from benchmarks import experiments, limits
from benchmarks.figures import Chart, Figure, Findings, Line
from benchmarks.stage import Stage

TASKS = 20_000
SCHEDULERS = (1, 2, 4)


async def run(stage: Stage) -> Findings:
    """What more schedulers bring, or cost, on one machine; and that none repeats another's call."""
    count = stage.scaled(TASKS, least=100)
    stage.progress.step(f"the limit: {count:,} calls from a loop that stores nothing")
    loop = await limits.calls(stage.sink, count)
    figures: list[Figure] = []
    rates: list[tuple[float, float]] = []
    for number in SCHEDULERS:
        schedulers = tuple(f"scheduler-{place}" for place in range(1, number + 1))
        name = f"{number} scheduler{'s' if number > 1 else ''}"
        stage.progress.step(f"{count:,} one-offs due at the same instant, {name}")
        with stage.database() as dsn, stage.service(dsn, ("projector", *schedulers)) as running:
            shown_rate = await experiments.warm_up(stage, dsn)
            found = await experiments.burst(stage, dsn, running, count, shown_rate)
        rates.append((float(number), found.rate))
        figures += [
            Figure(
                name=f"{name}: rows in the ledger",
                value=found.rate,
                unit="executions/s",
                better="higher",
                limit=loop,
            ),
            Figure(
                name=f"{name}: CPU of all processes",
                value=found.cpu_ms,
                unit="ms/execution",
                better="lower",
            ),
            *experiments.kept(name, found.lost, found.duplicates),
        ]
    lines = [
        Line("the service", rates),
        Line("a loop that stores nothing", [(number, loop.value) for number, _ in rates]),
    ]
    chart = Chart(title="Schedulers on one machine", x="schedulers", y="executions a second", lines=lines)
    return Findings(figures, [chart])
