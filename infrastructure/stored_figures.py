"""Metrics over stored facts: they are read from the read models, so that they survive a restart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from msgspec import Struct
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

_OUTCOMES = ("succeeded", "failed", "skipped", "cancelled")
_RESULTS = ("succeeded", "failed", "lost")
_STATUSES = ("scheduled", "completed", "failed", "cancelled")

type Buckets = Sequence[tuple[float, int]]
"""Upper bounds in seconds, ascending, with how many observations do not exceed each; infinity is the last."""


class StoredFigures(Struct, frozen=True, kw_only=True):
    """Counts over all that was ever recorded; sums are in seconds, buckets are cumulative.

    `projections` has the position and the number of parked events of each; `nodes` are the live schedulers.
    """

    executions: Mapping[str, int]
    attempts: Mapping[str, int]
    duration_buckets: Buckets
    duration_sum: float
    lateness_buckets: Buckets
    lateness_sum: float
    tasks: Mapping[str, int]
    log_position: int
    sealed_position: int
    projections: Mapping[str, tuple[int, int]]
    nodes: int


def stored_figures(figures: StoredFigures) -> list[Metric]:
    """The figures as metric families. Every API process reports the same: take their `max`, not their `sum`.

    What the service knows but has not counted yet is reported as 0, so that rates over it work at once.
    """
    head = figures.log_position
    positions = {name: position for name, (position, _) in figures.projections.items()}
    return [
        _counter(
            "executions", "Occurrences that are over.", "outcome", _from_zero(_OUTCOMES, figures.executions)
        ),
        _counter(
            "attempts", "Outbound calls that are over.", "result", _from_zero(_RESULTS, figures.attempts)
        ),
        _histogram(
            "execution_duration_seconds",
            "How long the calls took.",
            figures.duration_buckets,
            figures.duration_sum,
        ),
        _histogram(
            "execution_lateness_seconds",
            "How long after the due instant the first call of an occurrence was sent.",
            figures.lateness_buckets,
            figures.lateness_sum,
        ),
        _gauge("tasks", "Tasks by status.", "status", _from_zero(_STATUSES, figures.tasks)),
        GaugeMetricFamily(
            "chronoledger_event_log_position", "Position of the last event in the log.", value=head
        ),
        GaugeMetricFamily(
            "chronoledger_sealed_position",
            "Position of the last event that is sealed.",
            value=figures.sealed_position,
        ),
        GaugeMetricFamily(
            "chronoledger_unsealed_events",
            "Events in the log that are not sealed yet.",
            value=max(0, head - figures.sealed_position),
        ),
        _gauge("projection_position", "Position of the last event applied.", "projection", positions),
        _gauge(
            "projection_lag_events",
            "Events in the log that a projection has not applied yet.",
            "projection",
            {name: max(0, head - position) for name, position in positions.items()},
        ),
        _gauge(
            "projector_parked_events",
            "Events that a projection could not apply and has put aside.",
            "projection",
            {name: parked for name, (_, parked) in figures.projections.items()},
        ),
        GaugeMetricFamily("chronoledger_scheduler_nodes", "Schedulers that are alive.", value=figures.nodes),
    ]


def _from_zero(known: Sequence[str], counts: Mapping[str, int]) -> Mapping[str, int]:
    return dict.fromkeys(known, 0) | dict(counts)


def _counter(name: str, help_text: str, label: str, counts: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(f"chronoledger_{name}", help_text, labels=[label])
    for key, count in counts.items():
        family.add_metric([key], count)
    return family


def _gauge(name: str, help_text: str, label: str, numbers: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily(f"chronoledger_{name}", help_text, labels=[label])
    for key, number in numbers.items():
        family.add_metric([key], number)
    return family


def _histogram(name: str, help_text: str, buckets: Buckets, total_seconds: float) -> Metric:
    if not buckets or buckets[-1][0] != math.inf:
        raise ValueError(f"the last bucket of {name} must be that of infinity")
    named = [("+Inf" if bound == math.inf else str(bound), float(count)) for bound, count in buckets]
    return HistogramMetricFamily(f"chronoledger_{name}", help_text, buckets=named, sum_value=total_seconds)
