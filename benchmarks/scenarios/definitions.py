"""definitions: 100,000 and 1,000,000 cron tasks stored, due once a day each, evenly."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from benchmarks import experiments, limits, load, usage
from benchmarks.experiments import Steady
from benchmarks.figures import Chart, Figure, Findings, Limit, Line
from benchmarks.load import Creation
from benchmarks.processes import Roles
from benchmarks.stage import Stage
from infrastructure.postgres import pool
from projections.due import DueReader

COUNTS = (100_000, 1_000_000)
RATE, SECONDS = 1_000, 30.0
APPEND_SECONDS = 3.0
WINDOW, PAGE = timedelta(minutes=5), 500
FIRE_DEADLINE_SECONDS = 60.0
# Targets are for the million; the smaller count shows the way there.
RSS_MIB, FIRST_FIRE_SECONDS, CREATE_RATE, PUNCTUAL_RATIO = 300.0, 5.0, 5_000.0, 1.5
GRAIN_MS = 0.3


class Stored(NamedTuple):
    """What was found with so many tasks stored."""

    creation: Creation
    first_fire_seconds: float
    refill_ms: float
    rss_mib: dict[str, float]
    steady: Steady


async def run(stage: Stage) -> Findings:
    """What stored definitions cost each process, the start and punctuality."""
    append = await limits.grouped_appends(stage, stage.seconds(APPEND_SECONDS, 0.5))
    with stage.database() as dsn, stage.service(dsn) as running:
        stage.progress.step(f"{RATE:,}/s without them, for comparison")
        empty = await _steady(stage, dsn, running)
    figures, memory = [], []
    for count in [stage.scaled(full, least=100) for full in COUNTS]:
        found = await _with(stage, count)
        figures += _figures(f"{count:,} crons", found, empty, append)
        memory.append((count, found.rss_mib))
    lines = [Line(name, [(float(count), rss[name]) for count, rss in memory]) for name in memory[0][1]]
    chart = Chart(title="Memory with tasks stored", x="cron tasks", y="MiB (RSS)", lines=lines, log_x=True)
    return Findings(figures, [chart])


async def _with(stage: Stage, count: int) -> Stored:
    with stage.database() as dsn:
        stage.progress.step(f"creating {count:,} cron tasks")
        with stage.service(dsn, ("projector", "api")) as running:
            now = datetime.now(UTC)
            planned = load.crons(stage.sink.url, count, now)
            creation = await load.post_tasks(running.services["api"].url, dsn, planned, count, stage.progress)
            # However few they are at a small scale, something is due when the scheduler starts.
            await load.create_tasks(dsn, load.every_second(stage.sink.url, 1, now), 1, stage.progress)
        stage.server.settle(dsn)
        stage.progress.step("starting the service")
        with stage.service(dsn, ("projector", "api")) as running:
            first_fire_seconds = await _first_fire(stage, running)
            refill_ms = await _refill_ms(dsn)
            stage.progress.step(f"{RATE:,}/s beside them")
            steady = await _steady(stage, dsn, running)
            rss = {name: usage.resident_mib(pid) for name, pid in running.pids.items()}
            # Without its cache, which is as large as it was told to be.
            rss["postgres"] = sum(
                usage.proportional_mib(pid, shared_memory=False) for pid in usage.tree(stage.server.pid)
            )
    return Stored(creation, first_fire_seconds, refill_ms, rss, steady)


async def _first_fire(stage: Stage, running: Roles) -> float:
    """From the start of a scheduler's process to the first call that arrives."""
    started = time.time()
    running.start("scheduler")
    while not stage.sink.count():
        if time.time() - started > FIRE_DEADLINE_SECONDS:
            raise TimeoutError("no task has fired within a minute")
        await asyncio.sleep(0.02)
    first_at = stage.sink.told().first_at
    assert first_at is not None, "a call was counted"
    return first_at - started


async def _refill_ms(dsn: str) -> float:
    """Reading what is due within five minutes, as a scheduler does every minute."""
    async with pool(dsn, 1) as connections:
        reader, after = DueReader(connections), None
        until = datetime.now(UTC) + WINDOW
        await reader.page(None, until, 1)  # a scheduler is connected long before
        started = time.perf_counter()
        while True:
            _, rows = await reader.page(after, until, PAGE)
            if len(rows) < PAGE:
                return (time.perf_counter() - started) * 1_000
            after = (rows[-1].fire_at or until, rows[-1].task_id)


async def _steady(stage: Stage, dsn: str, running: Roles) -> Steady:
    shown_rate = await experiments.warm_up(stage, dsn)
    return await experiments.steady(stage, dsn, running, RATE, stage.seconds(SECONDS), shown_rate)


def _figures(name: str, found: Stored, empty: Steady, append: Limit) -> list[Figure]:
    return [
        Figure(
            name=f"{name}: bulk create",
            value=found.creation.appended_rate,
            unit="tasks/s",
            better="higher",
            limit=append,
            target=CREATE_RATE,
        ),
        Figure(
            name=f"{name}: created and shown",
            value=found.creation.shown_rate,
            unit="tasks/s",
            better="higher",
            limit=append,
        ),
        Figure(
            name=f"{name}: start to first fire",
            value=found.first_fire_seconds,
            unit="s",
            better="lower",
            target=FIRST_FIRE_SECONDS,
            grain=0.5,
        ),
        Figure(
            name=f"{name}: refill of 5 minutes", value=found.refill_ms, unit="ms", better="lower", grain=10.0
        ),
        Figure(
            name=f"{name}: lateness p99 at {RATE:,}/s",
            value=found.steady.told.p99_ms,
            unit="ms",
            better="lower",
            limit=Limit("without them", empty.told.p99_ms),
            target_ratio=PUNCTUAL_RATIO,
            grain=GRAIN_MS,
        ),
        *(
            Figure(
                name=f"{name}: memory of {role} ({'PSS, no cache' if role == 'postgres' else 'RSS'})",
                value=mib,
                unit="MiB",
                better="lower",
                target=RSS_MIB if role == "scheduler" else None,
            )
            for role, mib in found.rss_mib.items()
        ),
        *experiments.kept(name, found.steady.lost, found.steady.told.duplicates),
    ]
