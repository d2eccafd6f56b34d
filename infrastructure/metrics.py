"""What a process measures, and its text for Prometheus: its own, or that of all who share a directory."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import struct
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import structlog
from msgspec import Struct
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
    values,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from domain.facts import Answered, ExecutionFailed, ExecutionSucceeded, Occurrence, TaskCancelled, TaskPaused
from infrastructure.task_log import TaskLog

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

# A process that shares its values writes them through memory maps. On a disk that has become full, the first
# write to a page would kill it (SIGBUS): the pages are claimed at the start, with room for some 4,000 series.
_RESERVED_BYTES = 1_048_576
_SHARED_FILES = ("counter", "histogram", "gauge_livesum")

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_GROUPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


def prepare_multiprocess(directory: Path) -> None:
    """Have this process and those that it starts measure together: each then exposes the sum of all.

    To be called once, before any of them makes its `Instruments`. The directory must be this run's alone:
    what an earlier run left in it is removed. Raises OSError.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for left_over in directory.glob("*.db"):
        left_over.unlink()
    os.environ[_VARIABLE] = str(directory.absolute())
    # prometheus_client has read the variable already, when it was imported.
    values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call]


def forget_process(pid: int) -> None:
    """Take the gauges of a process that has ended out of the sums; what it counted stays in them.

    Without the room that it will not use: one that ends again and again would fill the disk.
    """
    if _VARIABLE not in os.environ:
        return
    mark_process_dead(pid)  # type: ignore[no-untyped-call]
    for name in _SHARED_FILES:
        with contextlib.suppress(FileNotFoundError):
            _cut(Path(os.environ[_VARIABLE], f"{name}_{pid}.db"))


def _cut(file: Path) -> None:
    """The library's files begin with how many of their bytes are in use."""
    with file.open("r+b") as values_of_one:
        if len(used := values_of_one.read(4)) == 4:
            values_of_one.truncate(*struct.unpack("i", used))


class Instruments:
    """All that this process measures; one a process.

    Listens to the appender, the scheduler, the projector, the task log and the HTTP layer.
    """

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        directory = os.environ.get(_VARIABLE)
        self._exposed: Collector = _shared(Path(directory)) if directory else _alone(self._registry)
        self._measure_event_log()
        self._measure_scheduler()
        self._measure_requests()

    def _measure_event_log(self) -> None:
        self._appends = Counter(
            "chronoledger_event_appends",
            "Groups of events accepted or refused by the log, and calls of it that were not answered.",
            ["result"],
            registry=self._registry,
        )
        self._accepted, self._refused, self._unavailable = (
            self._appends.labels(result) for result in ("accepted", "refused", "unavailable")
        )
        self._batch_size = Histogram(
            "chronoledger_event_append_batch_size",
            "Groups of events per append.",
            buckets=_GROUPS,
            registry=self._registry,
        )
        self._append_seconds = Histogram(
            "chronoledger_event_append_seconds",
            "Time that the database took for an append.",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._projected = Counter(
            "chronoledger_projector_events",
            "Events that a projection has applied.",
            ["projection"],
            registry=self._registry,
        )
        self._parked = Counter(
            "chronoledger_projector_parked",
            "Events that a projection could not apply and put aside since this service started.",
            ["projection"],
            registry=self._registry,
        )

    def _measure_scheduler(self) -> None:
        claims = Counter(
            "chronoledger_claims",
            "Occurrences that this service tried to claim: won, or refused because something was faster.",
            ["result"],
            registry=self._registry,
        )
        self._errors = Counter(
            "chronoledger_scheduler_errors",
            "Errors of the scheduler that nobody expected, by what it was doing; that is tried again.",
            ["what"],
            registry=self._registry,
        )
        self._won, self._lost = claims.labels("won"), claims.labels("refused")
        self._in_flight = self._gauge(
            "chronoledger_in_flight_calls", "Outbound calls that are being made, as of the last second."
        )
        self._held_back = self._gauge(
            "chronoledger_held_back_calls",
            "Outbound calls that are due and wait for room at their host, as of the last second.",
        )
        self._claim_lead = self._gauge(
            "chronoledger_claim_lead_seconds", "How far ahead claims are made, by how slow the log was."
        )
        self._indexed = self._gauge(
            "chronoledger_due_index_entries",
            "Tasks that the schedulers hold in memory because they are due soon.",
        )
        self._clock_offset = self._gauge(
            "chronoledger_clock_offset_seconds",
            "How far this scheduler's clock is ahead of the database's, at its last heartbeat.",
        )
        self._stopped = Counter(
            "chronoledger_tasks_stopped",
            "Tasks that were paused after failures in a row, or cancelled as their target is gone (410).",
            ["reason"],
            registry=self._registry,
        )
        for reason in ("failures", "gone"):
            self._stopped.labels(reason)
        self._unlogged = Counter(
            "chronoledger_task_log_dropped",
            "Executions that are missing in the task log because it could not be written.",
            registry=self._registry,
        )

    def _gauge(self, name: str, meaning: str) -> Gauge:
        """Of a scheduler; the processes of one service are summed."""
        return Gauge(name, meaning, registry=self._registry, multiprocess_mode="livesum")

    def _measure_requests(self) -> None:
        self._requests = Counter(
            "chronoledger_http_requests",
            "Requests answered by the API.",
            ["method", "route", "status"],
            registry=self._registry,
        )
        self._request_seconds = Histogram(
            "chronoledger_http_request_seconds",
            "Time that the API took for a request.",
            ["method", "route"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        # Few: methods, routes and statuses are each of a small set.
        self._request_series = functools.cache(
            lambda method, route, status: (
                self._requests.labels(method, route, str(status)),
                self._request_seconds.labels(method, route),
            )
        )

    def appended(self, *, accepted: int, refused: int, events: int, seconds: float) -> None:
        """The log answered an append of so many groups. Their events are counted by the log's position."""
        self._accepted.inc(accepted)
        self._refused.inc(refused)
        self._batch_size.observe(accepted + refused)
        self._append_seconds.observe(seconds)

    def unavailable(self) -> None:
        """The log did not answer an append."""
        self._unavailable.inc()

    def projected(self, projection: str, events: int) -> None:
        """A projection applied events."""
        self._projected.labels(projection).inc(events)

    def parked(self, projection: str, events: int) -> None:
        """A projection put events aside; how many lie there now is a stored figure."""
        self._parked.labels(projection).inc(events)

    def claimed(self, won: int, refused: int) -> None:
        """A batch of claims came back."""
        self._won.inc(won)
        self._lost.inc(refused)

    def in_flight(self, calls: int) -> None:
        """So many calls are being made now."""
        self._in_flight.set(calls)

    def held_back(self, calls: int) -> None:
        """So many calls wait for room at their host now."""
        self._held_back.set(calls)

    def claim_lead(self, seconds: float) -> None:
        """Claims are made so far ahead now."""
        self._claim_lead.set(seconds)

    def indexed(self, entries: int) -> None:
        """The due index holds so many tasks now."""
        self._indexed.set(entries)

    def failed(self, what: str) -> None:
        """`what` ended in an error that nobody expected, and is tried again."""
        self._errors.labels(what).inc()

    def clock_offset(self, seconds: float) -> None:
        """The clock of this machine is so far ahead of the database's."""
        self._clock_offset.set(seconds)

    def task_stopped(self, reason: str) -> None:
        """A task was taken out of service by its own policies: for `failures`, or as `gone`."""
        self._stopped.labels(reason).inc()

    def log_dropped(self, count: int) -> None:
        """The task log lost executions."""
        self._unlogged.inc(count)

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request was answered; `route` is a template, and a method that nobody knows counts as `other`."""
        known = method if method in _METHODS else "other"
        count, duration = self._request_series(known, route, status)
        count.inc()
        duration.observe(seconds)

    def exposition(self, extra: Iterable[Metric] = ()) -> bytes:
        """All measurements and the `extra` families in Prometheus' text format; see `CONTENT_TYPE`."""
        registry = CollectorRegistry()
        registry.register(self._exposed)
        registry.register(_Given(extra))
        return generate_latest(registry)


class _Given:
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


class _Shared:
    """The sums over the files of all processes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def collect(self) -> Iterable[Metric]:
        files = [str(file) for file in self._directory.glob("*.db") if _is_filled(file)]
        merged: Iterable[Metric] = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]
        return merged


def _is_filled(file: Path) -> bool:
    """A process that was killed while it made its file leaves it empty, which the library takes ill."""
    try:
        return file.stat().st_size > 0
    except FileNotFoundError:  # `forget_process` was faster
        return False


def _shared(directory: Path) -> Collector:
    directory.mkdir(parents=True, exist_ok=True)
    for name in _SHARED_FILES:
        with (directory / f"{name}_{os.getpid()}.db").open("ab") as file:
            if hasattr(os, "posix_fallocate"):  # not on macOS
                os.posix_fallocate(file.fileno(), 0, _RESERVED_BYTES)
    return _Shared(directory)


def _alone(registry: CollectorRegistry) -> Collector:
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    return registry


log = structlog.get_logger(__name__)


class ObservedScheduler:
    """`application.scheduler.context.SchedulerObserver`."""

    def __init__(self, instruments: Instruments, task_log: TaskLog) -> None:
        self._task_log = task_log
        self._task_stopped = instruments.task_stopped
        self.claimed = instruments.claimed
        self.in_flight = instruments.in_flight
        self.held_back = instruments.held_back
        self.claim_lead = instruments.claim_lead
        self.indexed = instruments.indexed
        self.clock_offset = instruments.clock_offset
        self.failed = instruments.failed

    def draining(self, calls: int, until: datetime) -> None:
        """The one line between "stopping" and the end, which may be far apart."""
        at_most = max(0.0, (until - datetime.now(UTC)).total_seconds())
        log.info("waiting for running calls", calls=calls, at_most_seconds=round(at_most, 1))

    def finished(self, occurrence: Occurrence, outcome: ExecutionSucceeded | ExecutionFailed) -> None:
        """One line in the task log; it tells of the last attempt, where its outcome is known."""
        attempt = outcome.attempt
        answer = attempt.answer if attempt else None
        self._task_log.record(
            at=outcome.at,
            task_id=occurrence.task_id,
            task_name=occurrence.task_name,
            execution_time=attempt.started_at if attempt else occurrence.due_at,
            duration_ms=attempt.duration_ms if attempt else None,
            status_code=answer.status_code if isinstance(answer, Answered) else None,
            success=isinstance(outcome, ExecutionSucceeded),
        )

    def stopped(self, occurrence: Occurrence, change: TaskPaused | TaskCancelled) -> None:
        """One line for whoever wonders why nothing is called any more; resuming is up to them."""
        failing = isinstance(change, TaskPaused)
        self._task_stopped("failures" if failing else "gone")
        log.warning(
            "task paused after failures" if failing else "task cancelled as its target is gone",
            task_id=str(occurrence.task_id),
            task_name=occurrence.task_name,
            reason=change.note if isinstance(change, TaskPaused) else change.reason,
        )


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
