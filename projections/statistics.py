"""`statistics`: counts of all that was ever executed, for metrics that survive a restart."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Any, ClassVar
from uuid import UUID

from msgspec import Struct, field
from psycopg import AsyncConnection

from domain.facts import (
    Attempt,
    AttemptFailed,
    AttemptStarted,
    EventsRedacted,
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionQueued,
    ExecutionRequested,
    ExecutionSkipped,
    ExecutionStarted,
    ExecutionSucceeded,
    ExecutionTakenOver,
    IdempotencyKeyUsed,
    TaskCancelled,
    TaskCompleted,
    TaskCreated,
    TaskFailuresCounted,
    TaskPaused,
    TaskRedacted,
    TaskResumed,
    TaskUpdated,
)
from projections.projection import Entry, continued, statement, unknown
from projections.rows import head, microseconds, put, take
from projections.views import Figures

# Upper bounds in seconds. An observation is counted under the least bound that it does not exceed.
DURATION_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
LATENESS_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
BEYOND = "+Inf"

_MICROSECOND = timedelta(microseconds=1)


class Histogram(Struct, frozen=True):
    """A metric whose observations, whole microseconds, are counted by bound and summed up."""

    metric: str
    bounds: tuple[float, ...]
    limits: tuple[int, ...]
    buckets: tuple[tuple[str, str], ...]
    sum: tuple[str, str]

    def add(self, totals: Counter[tuple[str, str]], observed: Sequence[int]) -> None:
        """Count each under the least bound that it does not exceed."""
        if observed:
            totals.update([self.buckets[bisect_left(self.limits, each)] for each in observed])
            totals[self.sum] += sum(observed)


def _histogram(metric: str, bounds: tuple[float, ...]) -> Histogram:
    labels = (*map(str, bounds), BEYOND)
    limits = tuple(round(bound * 1_000_000) for bound in bounds)
    return Histogram(metric, bounds, limits, tuple((metric, label) for label in labels), (metric, SUM))


SUM = "sum_us"
DURATION = _histogram("duration", DURATION_BOUNDS)
LATENESS = _histogram("lateness", LATENESS_BOUNDS)


class Tally(Struct):
    """What a batch adds. `opened` and `closed` are executions whose first attempt is awaited, or no more."""

    totals: Counter[tuple[str, str]] = field(default_factory=Counter)
    minutes: Counter[datetime] = field(default_factory=Counter)
    opened: dict[UUID, datetime] = field(default_factory=dict)
    closed: set[UUID] = field(default_factory=set)


def fold(known: Mapping[UUID, datetime], entries: Iterable[Entry]) -> Tally:
    """Count a batch; `known` says when those that began before it were to be sent. Raises `PoisonEvent`."""
    counting = _Counting(known)
    for entry in entries:
        counting.count(entry)
    return counting.tally()


_SUCCEEDED = (("attempts", "succeeded"), ("executions", "succeeded"))

type _Awaited = tuple[UUID, datetime]
"""An execution whose first attempt is not over, and when it was to be sent."""


class _Counting:
    """A batch as it is gone through: what happened is written down, and counted when that is over."""

    def __init__(self, known: Mapping[UUID, datetime]) -> None:
        self._known = {execution.int: (execution, send_at) for execution, send_at in known.items()}
        self._opened: dict[int, _Awaited] = {}
        self._closed: list[UUID] = []
        self._happened: list[tuple[str, str]] = []
        self._finished: list[datetime] = []
        self._durations: list[int] = []
        self._lateness: list[int] = []

    def count(self, entry: Entry) -> None:
        """Write down what a fact adds. Raises `PoisonEvent`."""
        match entry.fact:
            case ExecutionStarted() as fact:
                self._start(entry, fact)
            case ExecutionSucceeded(at=at, attempt=attempt):
                self._happened += _SUCCEEDED
                self._finish(entry, at, attempt)
            case TaskCompleted() | TaskFailuresCounted() | IdempotencyKeyUsed():
                pass
            case ExecutionQueued(occurrence=occurrence):
                self._opened[entry.stream.int] = entry.stream, occurrence.send_at
            case AttemptFailed(attempt=attempt):
                self._happened.append(("attempts", "failed"))
                self._settle(entry, attempt)
            case ExecutionFailed() as fact:
                self._fail(entry, fact)
            case ExecutionTakenOver():
                self._happened.append(("attempts", "lost"))
                self._settle(entry, None)
            case ExecutionSkipped():
                self._happened.append(("executions", "skipped"))
                self._settle(entry, None)
            case ExecutionCancelled():
                self._happened.append(("executions", "cancelled"))
                self._settle(entry, None)
            case ExecutionRequested() | AttemptStarted() | TaskCreated() | TaskUpdated():
                pass
            case TaskPaused() | TaskResumed() | TaskCancelled() | TaskRedacted() | EventsRedacted():
                pass
            case _:
                raise unknown(entry)

    def tally(self) -> Tally:
        """What it all comes to."""
        totals = Counter(self._happened)
        DURATION.add(totals, self._durations)
        LATENESS.add(totals, self._lateness)
        return Tally(totals, Counter(self._finished), dict(self._opened.values()), set(self._closed))

    def _start(self, entry: Entry, fact: ExecutionStarted) -> None:
        """What was queued waited as its task asks for, and a backfill is due in the past: neither is late."""
        send_at = fact.occurrence.send_at
        if self._taken(entry) is not None:
            send_at = max(fact.at, send_at)
        if fact.occurrence.kind != "backfill":
            self._opened[entry.stream.int] = entry.stream, send_at

    def _fail(self, entry: Entry, fact: ExecutionFailed) -> None:
        self._happened.append(("executions", "failed"))
        if fact.attempt is not None:
            self._happened.append(("attempts", "failed"))
        elif not fact.lapsed:
            self._happened.append(("attempts", "lost"))
        self._finish(entry, fact.at, fact.attempt)

    def _finish(self, entry: Entry, at: datetime, attempt: Attempt | None) -> None:
        self._finished.append(at.replace(second=0, microsecond=0))
        if attempt is not None:
            self._durations.append(attempt.duration_ms * 1_000)
        self._settle(entry, attempt)

    def _settle(self, entry: Entry, attempt: Attempt | None) -> None:
        """The first attempt is over: it was late by what lies between its instant and its start."""
        awaited = self._taken(entry)
        if awaited is not None and attempt is not None and attempt.number == 1:
            self._lateness.append(max(0, (attempt.started_at - awaited[1]) // _MICROSECOND))

    def _taken(self, entry: Entry) -> _Awaited | None:
        """What is not awaited any more, now that this has come; None: no first attempt was."""
        number = entry.stream.int
        if (opened := self._opened.pop(number, None)) is not None:
            return opened
        if (known := self._known.pop(number, None)) is not None:
            self._closed.append(known[0])
        return known


class Statistics:
    """The projection."""

    name: ClassVar[str] = "statistics"
    version: ClassVar[int] = 2
    tables: ClassVar[tuple[str, ...]] = ("statistics", "statistics_minutes", "statistics_open")
    views: ClassVar[tuple[str, ...]] = ()
    across: ClassVar[frozenset[type]] = frozenset()

    @property
    def ddl(self) -> bytes:
        """See `Projection.ddl`."""
        return statement("statistics.ddl")

    @property
    def indexes(self) -> bytes:
        """See `Projection.indexes`."""
        return b""

    def key(self, entry: Entry) -> UUID:
        """The execution."""
        return entry.stream

    async def apply(self, connection: AsyncConnection, entries: Sequence[Entry]) -> AsyncGenerator[None]:
        """See `Projection.apply`."""
        taken = await take(connection, "take_open_executions", continued(entries), _send_at)
        yield
        known = await taken.rows()
        tally = fold(known, entries)
        kept = {execution_id: at for execution_id, at in known.items() if execution_id not in tally.closed}
        await put(connection, "put_open_executions", (kept | tally.opened).items(), _open_fields)
        yield
        await _add(connection, tally)


def _send_at(row: Sequence[datetime]) -> datetime:
    return row[1]


_open_head = head("uuid", "int8")


def _open_fields(opened: tuple[UUID, datetime]) -> tuple[bytes, ...]:
    execution_id, due_at = opened
    return (_open_head(2, 16, execution_id.int.to_bytes(16), 8, microseconds(due_at)),)


async def _add(connection: AsyncConnection, tally: Tally) -> None:
    if tally.totals:
        metrics, labels = zip(*tally.totals, strict=True)
        await _execute(
            connection, "add_statistics", metric=metrics, label=labels, total=tally.totals.values()
        )
    if tally.minutes:
        await _execute(
            connection, "add_finished_minutes", minute=tally.minutes, finished=tally.minutes.values()
        )


async def _execute(connection: AsyncConnection, name: str, **arrays: Iterable[Any]) -> None:
    parameters = {column: list(values) for column, values in arrays.items()}
    await connection.execute(statement(name), parameters)


_WINDOW_MINUTES = 60
_OUTCOMES = ("succeeded", "failed", "skipped", "cancelled")
_ATTEMPTS = ("succeeded", "failed", "lost")
_TASKS = ("scheduled", "paused", "completed", "failed", "cancelled")

type Totals = Mapping[tuple[str, str], int]


class StoredFigures(Struct, frozen=True, kw_only=True):
    """Counts over everything ever executed. Buckets are cumulative, by upper bound; sums are seconds.

    `projections` maps a name to its position in the log and the number of events that it had to park.
    """

    executions: dict[str, int]
    attempts: dict[str, int]
    duration_buckets: list[tuple[float, int]]
    duration_sum: float
    lateness_buckets: list[tuple[float, int]]
    lateness_sum: float
    tasks: dict[str, int]
    log_position: int
    projections: dict[str, tuple[int, int]]


async def stored_figures(connection: AsyncConnection, names: Sequence[str]) -> StoredFigures:
    """Read what the Prometheus metrics are made of."""
    totals = await _totals(connection)
    tasks = dict(await _rows(connection, "tasks_by_status"))
    progress = await _rows(connection, "projection_progress", {"names": list(names)})
    [(log_position,)] = await _rows(connection, "log_position")
    return StoredFigures(
        executions={outcome: totals.get(("executions", outcome), 0) for outcome in _OUTCOMES},
        attempts={result: totals.get(("attempts", result), 0) for result in _ATTEMPTS},
        duration_buckets=_cumulative(DURATION, totals),
        duration_sum=_seconds(DURATION, totals),
        lateness_buckets=_cumulative(LATENESS, totals),
        lateness_sum=_seconds(LATENESS, totals),
        tasks={status: tasks.get(status, 0) for status in _TASKS},
        log_position=log_position,
        projections={name: (position, parked) for name, position, parked in progress},
    )


async def figures(connection: AsyncConnection, now: datetime) -> Figures:
    """Read the specification's metrics."""
    totals = await _totals(connection)
    tasks = dict(await _rows(connection, "tasks_by_status"))
    [(recent, first)] = await _rows(connection, "finished_since", {"since": _window_start(now)})
    return _figures(totals, tasks.get("scheduled", 0), recent, first, now)


def figures_of(totals: Totals, minutes: Mapping[datetime, int], active: int, now: datetime) -> Figures:
    """The same from counts at hand: of the `statistics`, by the minute, and of scheduled tasks."""
    since = _window_start(now)
    recent = sum(finished for minute, finished in minutes.items() if minute >= since)
    return _figures(totals, active, recent, min(minutes, default=None), now)


def _window_start(now: datetime) -> datetime:
    return now.replace(second=0, microsecond=0) - timedelta(minutes=_WINDOW_MINUTES - 1)


def _figures(totals: Totals, active: int, recent: int, first: datetime | None, now: datetime) -> Figures:
    succeeded, failed = totals.get(("executions", "succeeded"), 0), totals.get(("executions", "failed"), 0)
    finished = succeeded + failed
    measured = _cumulative(DURATION, totals)[-1][1]
    return Figures(
        total_tasks_executed=finished,
        successful_tasks=succeeded,
        failed_tasks=failed,
        success_rate_percent=round(100 * succeeded / finished, 2) if finished else 0.0,
        average_execution_ms=round(1_000 * _seconds(DURATION, totals) / measured, 2) if measured else 0.0,
        tasks_per_minute=round(recent / _elapsed_minutes(max(_window_start(now), first or now), now), 2),
        active_tasks=active,
    )


def _elapsed_minutes(since: datetime, now: datetime) -> float:
    """At least one: a rate over the first seconds would say nothing."""
    return max(1.0, (now - since) / timedelta(minutes=1))


def _cumulative(histogram: Histogram, totals: Totals) -> list[tuple[float, int]]:
    bounds = [*histogram.bounds, float("inf")]
    labels = [*map(str, histogram.bounds), BEYOND]
    counts = accumulate(totals.get((histogram.metric, label), 0) for label in labels)
    return list(zip(bounds, counts, strict=True))


def _seconds(histogram: Histogram, totals: Totals) -> float:
    return totals.get((histogram.metric, SUM), 0) / 1_000_000


async def _totals(connection: AsyncConnection) -> Totals:
    rows = await _rows(connection, "read_statistics")
    return {(metric, label): total for metric, label, total in rows}


async def _rows(
    connection: AsyncConnection, name: str, parameters: dict[str, Any] | None = None
) -> list[tuple[Any, ...]]:
    cursor = await connection.execute(statement(name), parameters)
    return await cursor.fetchall()
