"""The table that a person reads."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from benchmarks.figures import Figure, is_regression, worse_by

HEADINGS = ("figure", "value", "", "spread", "limit", "", "ratio", "target", "", "last run", "change")
RIGHT = frozenset({1, 3, 4, 6, 7, 9, 10})


def shown(value: float) -> str:
    """Three digits that count, thousands set apart."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    decimals = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}"


def table(figures: Sequence[Figure], last: Mapping[str, Figure]) -> str:
    """A line a figure; `last` are the figures of the run to compare with, by name."""
    rows = [HEADINGS, *(_row(figure, last.get(figure.name)) for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    rows.insert(1, tuple("-" * width for width in widths))
    return "\n".join(_aligned(row, widths) for row in rows)


def regressions(figures: Sequence[Figure], last: Mapping[str, Figure]) -> list[str]:
    """A sentence for each figure that has become worse than in the last run beyond noise."""
    return [
        _regression(now, before)
        for now in figures
        if (before := last.get(now.name)) is not None and is_regression(now, before)
    ]


def _regression(now: Figure, before: Figure) -> str:
    noise = max(now.meaningless, before.meaningless)
    return (
        f"regression: {now.name} was {shown(before.value)} {now.unit} in the last run and is "
        f"{shown(now.value)} now ({_change(now, before)}; up to {noise:.0%} is noise)"
    )


def _row(figure: Figure, before: Figure | None) -> tuple[str, ...]:
    return (
        figure.name,
        shown(figure.value),
        figure.unit,
        f"{figure.spread:.0%}" if figure.spread else "",
        shown(figure.limit.value) if figure.limit else "",
        figure.limit.name if figure.limit else "",
        "" if figure.ratio is None else f"{figure.ratio:.2f}",
        _target(figure),
        figure.verdict or "",
        shown(before.value) if before else "",
        _change(figure, before) + (" !" if is_regression(figure, before) else "") if before else "",
    )


def _target(figure: Figure) -> str:
    sign = ">=" if figure.better == "higher" else "<="
    parts = []
    if figure.target is not None:
        parts.append(f"{sign} {shown(figure.target)}")
    if figure.target_ratio is not None:
        parts.append(f"{sign} {figure.target_ratio:g} x limit")
    return ", ".join(parts)


def _change(now: Figure, before: Figure) -> str:
    worse = worse_by(now.value, before.value, now.better)
    if not math.isfinite(worse):
        return "worse" if worse > 0 else "better"
    return f"{worse if now.better == 'lower' else -worse:+.0%}"


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [
        text.rjust(width) if column in RIGHT else text.ljust(width)
        for column, (text, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()
