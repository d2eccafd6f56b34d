"""idle: `chronoledger serve` with nothing to do, as it comes, its own Postgres included."""

from __future__ import annotations

import asyncio
import time

from benchmarks import usage
from benchmarks.figures import Chart, Figure, Findings, Limit, Line
from benchmarks.stage import Stage
from tests.support.service import Service

SETTLE_SECONDS, SECONDS = 10.0, 60.0
SAMPLES = 20
LIMIT_SECONDS, WAKINGS_A_SECOND = 10.0, 20


async def run(stage: Stage) -> Findings:
    """Memory and CPU of all its processes."""
    stage.progress.step("the limit: a loop that only wakes up")
    limit = Limit("waking", await _waking_percent(stage.seconds(LIMIT_SECONDS)))
    home = stage.folder / f"idle-{time.monotonic_ns()}"
    home.mkdir()
    stage.progress.step("starting `serve` with its own Postgres")
    with Service(home) as service:
        await asyncio.sleep(stage.seconds(SETTLE_SECONDS))
        seconds = stage.seconds(SECONDS, least=5.0)
        stage.progress.step(f"{seconds:.0f} s with nothing to do")
        # Every process is a child of the first, but for Postgres' own.
        used, started = _cpu_seconds(service), time.monotonic()
        memory = []
        for _ in range(SAMPLES):
            await asyncio.sleep(seconds / SAMPLES)
            memory.append((time.monotonic() - started, _memory_mib(service)))
        percent = (_cpu_seconds(service) - used) * 100 / (time.monotonic() - started)
    return Findings(
        figures=[
            Figure(
                name="idle: CPU",
                value=percent,
                unit="% of a core",
                better="lower",
                limit=limit,
                target=1.0,
                grain=0.2,
            ),
            Figure(name="idle: memory (PSS)", value=memory[-1][1], unit="MiB", better="lower", target=300.0),
        ],
        charts=[
            Chart(
                title="`chronoledger serve` with nothing to do",
                x="seconds",
                y="MiB (PSS, all processes)",
                lines=[Line("memory", memory)],
            )
        ],
    )


async def _waking_percent(seconds: float) -> float:
    """CPU of this process, in per cent of a core, while it does nothing but wake up."""
    used, started = time.process_time(), time.monotonic()
    for _ in range(round(seconds * WAKINGS_A_SECOND)):
        await asyncio.sleep(1 / WAKINGS_A_SECOND)
    return (time.process_time() - used) * 100 / (time.monotonic() - started)


def _cpu_seconds(service: Service) -> float:
    pids = {process.pid for process in service.processes()}
    return sum(usage.cpu_seconds(pid) for pid in pids if usage.parent_of(pid) not in pids)


def _memory_mib(service: Service) -> float:
    return sum(usage.proportional_mib(process.pid) for process in service.processes())
