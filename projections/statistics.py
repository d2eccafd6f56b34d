"""`statistics`: counts of all that was ever executed, for metrics that survive a restart."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

from msgspec import Struct, field

from domain.attempt import Attempt
from domain.facts import (
    AttemptFailed,
    AttemptStarted,
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
    TaskResumed,
    TaskUpdated,
)
from domain.redaction_facts import EventsRedacted, TaskRedacted
from projections.copying import instant, put, uuid
from projections.projection import Entry, continued, unknown
from projections.statements import statement
from projections.taking import take

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence

    from psycopg import AsyncConnection

# Upper bounds in seconds. An observation is counted under the least bound that it does not exceed.
DURATION_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
LATENESS_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
BEYOND = "+Inf"

_MICROSECOND = timedelta(microseconds=1)


class Histogram(Struct, frozen=True):
    """A metric whose observations, whole microseconds, are counted by bound and summed up."""

    metric: str
    bounds: tuple[float, ...]
    buckets: tuple[tuple[str, str], ...]
    sum: tuple[str, str]

    def bucket(self, microseconds: int) -> tuple[str, str]:
        """The count that an observation belongs to: of the metric, under a label."""
        return self.buckets[bisect_left(self.bounds, microseconds / 1_000_000)]


def _histogram(metric: str, bounds: tuple[float, ...]) -> Histogram:
    labels = (*map(str, bounds), BEYOND)
    return Histogram(metric, bounds, tuple((metric, label) for label in labels), (metric, SUM))


SUM = "sum_us"
DURATION = _histogram("duration", DURATION_BOUNDS)
LATENESS = _histogram("lateness", LATENESS_BOUNDS)


class Tally(Struct):
    """What a batch adds. `opened` and `closed` are executions whose first attempt is awaited, or no more."""

    totals: Counter[tuple[str, str]] = field(default_factory=Counter)
    minutes: Counter[datetime] = field(default_factory=Counter)
    opened: dict[UUID, datetime] = field(default_factory=dict)
    closed: set[UUID] = field(default_factory=set)

    def observe(self, histogram: Histogram, microseconds: int) -> None:
        """Count one observation."""
        totals = self.totals
        totals[histogram.bucket(microseconds)] += 1
        totals[histogram.sum] += microseconds


def fold(known: Mapping[UUID, datetime], entries: Iterable[Entry]) -> Tally:
    """Count a batch; `known` says when those that began before it were to be sent. Raises `PoisonEvent`."""
    tally = Tally()
    for entry in entries:
        _count(tally, known, entry)
    return tally


def _count(tally: Tally, known: Mapping[UUID, datetime], entry: Entry) -> None:
    match entry.fact:
        case ExecutionStarted() as fact:
            _start(tally, known, entry.stream, fact)
        case ExecutionSucceeded(attempt=attempt):
            tally.totals["attempts", "succeeded"] += 1
            _finish(tally, known, entry, "succeeded", attempt)
        case TaskCompleted() | TaskFailuresCounted() | IdempotencyKeyUsed():
            pass
        case ExecutionQueued(occurrence=occurrence):
            tally.opened[entry.stream] = occurrence.send_at
        case AttemptFailed(attempt=attempt):
            tally.totals["attempts", "failed"] += 1
            _settle(tally, known, entry.stream, attempt)
        case ExecutionFailed() as fact:
            _count_failed(tally, fact)
            _finish(tally, known, entry, "failed", fact.attempt)
        case ExecutionTakenOver():
            tally.totals["attempts", "lost"] += 1
            _settle(tally, known, entry.stream, None)
        case ExecutionSkipped():
            tally.totals["executions", "skipped"] += 1
            _settle(tally, known, entry.stream, None)
        case ExecutionCancelled():
            tally.totals["executions", "cancelled"] += 1
            _settle(tally, known, entry.stream, None)
        case ExecutionRequested() | AttemptStarted() | TaskCreated() | TaskUpdated():
            pass
        case TaskPaused() | TaskResumed() | TaskCancelled() | TaskRedacted() | EventsRedacted():
            pass
        case _:
            raise unknown(entry)


def _start(tally: Tally, known: Mapping[UUID, datetime], execution_id: UUID, fact: ExecutionStarted) -> None:
    """What was queued has waited as its task asks for, and a backfill is due in the past: neither is late."""
    queued = _awaited(tally, known, execution_id) is not None
    if fact.occurrence.kind != "backfill":
        tally.opened[execution_id] = (
            max(fact.at, fact.occurrence.send_at) if queued else fact.occurrence.send_at
        )


def _count_failed(tally: Tally, fact: ExecutionFailed) -> None:
    if fact.attempt is not None:
        tally.totals["attempts", "failed"] += 1
    elif not fact.lapsed:
        tally.totals["attempts", "lost"] += 1


def _finish(
    tally: Tally, known: Mapping[UUID, datetime], entry: Entry, outcome: str, attempt: Attempt | None
) -> None:
    tally.totals["executions", outcome] += 1
    at: datetime = entry.fact.at  # type: ignore[attr-defined]  # both callers hold a fact of the domain
    tally.minutes[at.replace(second=0, microsecond=0)] += 1
    if attempt is not None:
        tally.observe(DURATION, attempt.duration_ms * 1_000)
    _settle(tally, known, entry.stream, attempt)


def _settle(
    tally: Tally, known: Mapping[UUID, datetime], execution_id: UUID, attempt: Attempt | None
) -> None:
    """The first attempt is over: it was late by what lies between the instant to send it and its start."""
    due_at = _awaited(tally, known, execution_id)
    if due_at is not None and attempt is not None and attempt.number == 1:
        tally.observe(LATENESS, max(0, (attempt.started_at - due_at) // _MICROSECOND))


def _awaited(tally: Tally, known: Mapping[UUID, datetime], execution_id: UUID) -> datetime | None:
    """When a first attempt was to be sent that was awaited until now; None: it was not."""
    if (due_at := tally.opened.pop(execution_id, None)) is not None:
        return due_at
    if execution_id not in known or execution_id in tally.closed:
        return None
    tally.closed.add(execution_id)
    return known[execution_id]


class Statistics:
    """The projection."""

    name: ClassVar[str] = "statistics"
    version: ClassVar[int] = 2
    tables: ClassVar[tuple[str, ...]] = ("statistics", "statistics_minutes", "statistics_open")
    views: ClassVar[tuple[str, ...]] = ()

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


def _open_fields(opened: tuple[UUID, datetime]) -> tuple[bytes, ...]:
    execution_id, due_at = opened
    return uuid(execution_id), instant(due_at)


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
