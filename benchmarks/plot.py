"""Charts as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes

from benchmarks.figures import Chart

WIDTH_INCHES, HEIGHT_INCHES = 8.0, 4.5
# Beyond it markers would hide the line that they mark.
MAX_MARKED = 20


def draw(charts: Sequence[Chart], path: Path) -> None:
    """Write all charts, one below the other, to a PNG file."""
    # Only a drawn plot pays for the import; a figure of its own, no pyplot: that would look for a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(WIDTH_INCHES, HEIGHT_INCHES * len(charts)), layout="constrained")
    FigureCanvasAgg(figure)
    for chart, [axes] in zip(charts, figure.subplots(len(charts), 1, squeeze=False), strict=True):
        _draw(chart, axes)
    figure.savefig(path, dpi=110)


def _draw(chart: Chart, axes: Axes) -> None:
    for line in chart.lines:
        xs, ys = zip(*line.points, strict=True) if line.points else ((), ())
        axes.plot(xs, ys, marker="o" if len(xs) <= MAX_MARKED else "", label=line.name)
    axes.set(title=chart.title, xlabel=chart.x, ylabel=chart.y)
    if chart.log_x:
        axes.set_xscale("symlog")
    if chart.log_y:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
