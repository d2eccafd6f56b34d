"""What a benchmark finds out: figures with their limits and targets, and charts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

type Better = Literal["higher", "lower"]
type Verdict = Literal["ok", "not yet"]

USUAL_NOISE = 0.25


class Limit(Struct, frozen=True):
    """What this machine could do at all, measured in the same run."""

    name: str
    value: float


class Figure(Struct, frozen=True, kw_only=True):
    """One measured value; `ratio` is its part, or multiple, of the limit.

    `target` is for the value and `target_ratio` for the ratio: at least, or at most where lower is better.
    A relative change up to `noise` means nothing, nor does one up to the `spread` of repetitions, nor one of
    less than `grain`, in the figure's unit.
    """

    name: str
    value: float
    unit: str
    better: Better
    limit: Limit | None = None
    target: float | None = None
    target_ratio: float | None = None
    noise: float = USUAL_NOISE
    spread: float = 0.0
    grain: float = 0.0

    @property
    def meaningless(self) -> float:
        """The relative change that means nothing."""
        return max(self.noise, self.spread)

    @property
    def ratio(self) -> float | None:
        """None without a limit, or with one of nothing."""
        return self.value / self.limit.value if self.limit and self.limit.value else None

    @property
    def verdict(self) -> Verdict | None:
        """Whether all its targets are met; None: it has none that could be judged."""
        pairs = ((self.value, self.target), (self.ratio, self.target_ratio))
        judged = [
            reached >= aim if self.better == "higher" else reached <= aim
            for reached, aim in pairs
            if reached is not None and aim is not None
        ]
        if not judged:
            return None
        return "ok" if all(judged) else "not yet"


class Line(Struct, frozen=True):
    """One line of a chart, as points (x, y)."""

    name: str
    points: list[tuple[float, float]]


class Chart(Struct, frozen=True, kw_only=True):
    """Something to see; the axes' names hold their units."""

    title: str
    x: str
    y: str
    lines: list[Line]
    log_x: bool = False
    log_y: bool = False


class Findings(Struct, frozen=True):
    """What one run of a scenario brought."""

    figures: list[Figure]
    charts: list[Chart] = []


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The nearest rank: the least value that `percent` of all do not exceed. `ordered` must not be empty."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def spread(values: Sequence[float]) -> float:
    """How far apart repetitions lie, as a part of their median."""
    middle = median(values)
    if max(values) == min(values):
        return 0.0
    return (max(values) - min(values)) / abs(middle) if middle else math.inf


def merged(repetitions: Sequence[Findings]) -> Findings:
    """The median and the spread of each figure; the charts of the last repetition."""
    return Findings(
        figures=[
            _merged([found for run in repetitions for found in run.figures if found.name == figure.name])
            for figure in repetitions[-1].figures
        ],
        charts=repetitions[-1].charts,
    )


def _merged(same: Sequence[Figure]) -> Figure:
    values = [figure.value for figure in same]
    limits = [figure.limit.value for figure in same if figure.limit]
    last = same[-1]
    return replace(
        last,
        value=median(values),
        limit=Limit(last.limit.name, median(limits)) if last.limit else None,
        spread=spread(values),
    )


def worse_by(now: float, before: float, better: Better) -> float:
    """How much worse a value has become, as a part of what it was; negative: it has become better."""
    change = now - before if better == "lower" else before - now
    if change == 0:
        return 0.0
    return change / abs(before) if before else math.copysign(math.inf, change)


def is_regression(now: Figure, before: Figure) -> bool:
    """Whether a figure has become worse beyond noise.

    Where there is a limit, the ratio must have become worse as well: on a machine that is slower today both
    sink together.
    """
    allowed = max(now.meaningless, before.meaningless)
    if abs(now.value - before.value) < now.grain or worse_by(now.value, before.value, now.better) <= allowed:
        return False
    if now.ratio is None or before.ratio is None:
        return True
    return worse_by(now.ratio, before.ratio, now.better) > allowed
