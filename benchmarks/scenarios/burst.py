"""burst: 30,000 one-offs due at the same instant."""

from __future__ import annotations

from benchmarks import experiments, limits
from benchmarks.figures import Chart, Figure, Findings, Limit, Line
from benchmarks.stage import Stage

TASKS = 30_000
APPEND_SECONDS = 3.0
# The claim, the outcome, and the end of its task.
EVENTS_EACH = 3


async def run(stage: Stage) -> Findings:
    """How many executions a second are called and fully recorded."""
    count = stage.scaled(TASKS, least=100)
    stage.progress.step(f"the limit: {count:,} calls from a loop that stores nothing")
    loop = await limits.calls(stage.sink, count)
    append = await limits.appends(stage, stage.seconds(APPEND_SECONDS, 0.5))
    with stage.database() as dsn, stage.service(dsn) as running:
        stage.progress.step(f"{count:,} one-offs due at the same instant")
        shown_rate = await experiments.warm_up(stage, dsn)
        found = await experiments.burst(stage, dsn, running, count, shown_rate)
    return Findings(
        figures=[
            Figure(
                name="burst: rows in the ledger",
                value=found.rate,
                unit="executions/s",
                better="higher",
                limit=loop,
                target=8_000.0,
                target_ratio=0.5,
            ),
            Figure(
                name="burst: rows in the ledger, from their instant",
                value=found.rate_from_instant,
                unit="executions/s",
                better="higher",
            ),
            Figure(
                name="burst: outcomes in the log",
                value=found.logged_rate,
                unit="executions/s",
                better="higher",
                limit=Limit("append of its events", append.value / EVENTS_EACH),
            ),
            Figure(
                name="burst: CPU of all processes", value=found.cpu_ms, unit="ms/execution", better="lower"
            ),
            *experiments.kept("burst", found.lost, found.duplicates),
        ],
        charts=[
            Chart(
                title=f"{count:,} one-offs due at once",
                x="seconds since the first claim",
                y="rows in the ledger",
                lines=[
                    Line("the service", found.rise),
                    Line("a loop that stores nothing", [(0.0, 0.0), (count / loop.value, float(count))]),
                ],
            )
        ],
    )
