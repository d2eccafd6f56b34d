"""What a process measures, and its text for Prometheus: its own, or that of all who share a directory."""

from __future__ import annotations

import contextlib
import functools
import os
import struct
from collections.abc import Iterable
from pathlib import Path

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
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

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
