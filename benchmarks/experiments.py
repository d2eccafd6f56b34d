"""The two things that nearly every scenario does: calls at one instant, and calls at a steady rate."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import NamedTuple

from benchmarks import ledger, load
from benchmarks.figures import Figure, Line
from benchmarks.ledger import Counted
from benchmarks.processes import Roles
from benchmarks.sink import Told
from benchmarks.stage import Stage

WARM_UP = 1_000
# Beyond the time that creating the tasks is expected to take.
LEAD_SECONDS = 3.0
CAUTION = 1.5
RISE_POINTS = 200
# Asking is work for Postgres as well, and counts as such.
CALM_POLL_SECONDS = 0.25


class TooSlow(Exception):
    """Creating the tasks took until after the first was due: what was measured means nothing. Try again."""


class Burst(NamedTuple):
    """Executions a second from the first claim to the last row of the ledger, and to the last outcome.

    `rate_from_instant` leaves out how far ahead the first are claimed.
    """

    rate: float
    rate_from_instant: float
    logged_rate: float
    cpu_ms: float
    lost: int
    duplicates: int
    rise: list[tuple[float, float]]


class Steady(NamedTuple):
    """What the sink saw of a steady rate, and what each process needed for it."""

    told: Told
    lost: int
    cpu_ms: dict[str, float]

    @property
    def total_cpu_ms(self) -> float:
        """Over all processes."""
        return sum(self.cpu_ms.values())


async def warm_up(stage: Stage, dsn: str) -> float:
    """Have everything been used once; how many tasks a second are created and shown."""
    since = await ledger.counted(dsn)
    due = [datetime.now(UTC) + timedelta(seconds=1)] * WARM_UP
    creation = await load.create_tasks(dsn, load.one_offs(stage.sink.url, due), WARM_UP, stage.progress)
    await ledger.recorded(dsn, WARM_UP, since)
    stage.sink.told()
    return creation.shown_rate


async def burst(stage: Stage, dsn: str, running: Roles, count: int, shown_rate: float) -> Burst:
    """So many one-offs due at the same instant. Raises `TooSlow` and `Stalled`."""
    due = datetime.now(UTC) + _lead(count, shown_rate)
    since, before = await _prepare(stage, dsn, [due] * count)
    cpu = running.cpu()
    samples = await ledger.recorded(dsn, count, since, partial(stage.progress.count, what="executions"))
    used = _used(cpu, running.cpu())
    logged, told = await ledger.logged(dsn, before), stage.sink.told()
    rise = [(sample.at - logged.first_claim, float(sample.succeeded - since.succeeded)) for sample in samples]
    return Burst(
        rate=count / (samples[-1].at - logged.first_claim),
        rate_from_instant=count / (samples[-1].at - max(logged.first_claim, due.timestamp())),
        logged_rate=count / (logged.last_outcome - logged.first_claim),
        cpu_ms=sum(used.values()) * 1_000 / count,
        lost=_lost(count, since, samples[-1], told),
        duplicates=told.duplicates,
        rise=[(0.0, 0.0), *thinned([point for point in rise if point[0] > 0])],
    )


async def steady(
    stage: Stage, dsn: str, running: Roles, rate: float, seconds: float, shown_rate: float
) -> Steady:
    """One-offs due evenly at a rate a second. Raises `TooSlow` and `Stalled`."""
    count = round(rate * seconds)
    due = load.evenly(datetime.now(UTC) + _lead(count, shown_rate), rate, count)
    since, _ = await _prepare(stage, dsn, due)
    cpu = running.cpu()
    samples = await ledger.recorded(
        dsn, count, since, partial(stage.progress.count, what="executions"), CALM_POLL_SECONDS
    )
    used = _used(cpu, running.cpu())
    told = stage.sink.told()
    cpu_ms = {name: seconds * 1_000 / count for name, seconds in used.items()}
    return Steady(told, _lost(count, since, samples[-1], told), cpu_ms)


def kept(name: str, lost: int, duplicates: int) -> list[Figure]:
    """That nothing was lost and nothing was sent twice."""
    return [
        Figure(name=f"{name}: lost", value=lost, unit="executions", better="lower", target=0.0),
        Figure(name=f"{name}: sent twice", value=duplicates, unit="calls", better="lower", target=0.0),
    ]


def lateness_line(name: str, curve: list[tuple[float, float]]) -> Line:
    """The sink's percentiles, for a chart."""
    return Line(name, [(percent, max(ms, 0.001)) for percent, ms in curve])


def thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """No more points than a chart can show, the last one among them."""
    step = len(points) // RISE_POINTS + 1
    return [*points[:-1:step], *points[-1:]]


def _lead(count: int, shown_rate: float) -> timedelta:
    return timedelta(seconds=LEAD_SECONDS + CAUTION * count / shown_rate)


async def _prepare(stage: Stage, dsn: str, due: list[datetime]) -> tuple[Counted, int]:
    """Create the tasks and wait until shortly before the first is due; the ledger and the log until then."""
    since = await ledger.counted(dsn)
    await load.create_tasks(dsn, load.one_offs(stage.sink.url, due), len(due), stage.progress)
    before = await ledger.head(dsn)
    left = (due[0] - datetime.now(UTC)).total_seconds() - 0.1
    if left < 0:
        raise TooSlow(TooSlow.__doc__)
    await asyncio.sleep(left)
    return since, before


def _used(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    return {name: after[name] - seconds for name, seconds in before.items()}


def _lost(count: int, since: Counted, last: Counted, told: Told) -> int:
    return count - min(last.succeeded - since.succeeded, told.executions)
