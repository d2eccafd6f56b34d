"""`task_results`: the occurrence ledger, a row an occurrence."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, ClassVar

from msgspec import Struct
from msgspec.structs import replace

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
from projections.erasing import erased
from projections.projection import Entry, beginning_missing, continued, unknown
from projections.result_attempts import (
    SUCCEEDED,
    Standing,
    answer_error,
    lost,
    over,
    standing_of,
    tried,
    unsent,
    untold,
)
from projections.result_rows import ResultRow, put_results, take_closed, take_open
from projections.state_counts import StateCounts, count_change, write_counts
from projections.statements import statement

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
    from uuid import UUID

    from psycopg import AsyncConnection

    from domain.execution import FirstFact


class ResultChanges(Struct, frozen=True):
    """What a batch comes to: the last state of every row it is about, and the moves between statuses."""

    rows: dict[UUID, ResultRow]
    counts: StateCounts


def fold(known: Mapping[UUID, ResultRow], entries: Iterable[Entry]) -> ResultChanges:
    """Apply a batch to the rows it continues. Raises `PoisonEvent`."""
    rows = {stream.int: row for stream, row in known.items()}  # a number is found in a third of the time
    counts: StateCounts = Counter()
    for entry in entries:
        stream = entry.stream.int
        before = rows.get(stream)
        after = evolve(before, entry)
        if after is not None:
            rows[stream] = after
            count_change(counts, before, after)
        elif isinstance(entry.fact, EventsRedacted):
            rows |= {stream: erased(rows[stream]) for stream in _rewritten(entry.fact) if stream in rows}
    return ResultChanges({row.id: row for row in rows.values()}, counts)


def _rewritten(fact: EventsRedacted) -> set[int]:
    return {event.stream.int for event in fact.rewritten}


def evolve(row: ResultRow | None, entry: Entry) -> ResultRow | None:
    """The row after a fact; None for a fact that is not about an occurrence."""
    match entry.fact:
        case ExecutionStarted() as fact:
            return _started(row, entry, fact)
        case ExecutionSucceeded(attempt=attempt) if row is not None:
            return tried(row, entry, attempt, None, SUCCEEDED)
        case TaskCompleted() | TaskCreated() | TaskUpdated() | TaskPaused() | TaskResumed() | TaskCancelled():
            return None
        case TaskFailuresCounted() | IdempotencyKeyUsed() | TaskRedacted() | EventsRedacted():
            return None
        case ExecutionRequested() as fact:
            return _requested(row, entry, fact)
        case ExecutionQueued() as fact:
            queued = _requested(row, entry, fact)
            return replace(queued, reason=f"queued behind execution {fact.behind} of the same task")
        case ExecutionSkipped() as fact:
            return unsent(row or _opened(entry, fact), entry, over("skipped", reason=fact.reason))
        case _ if row is None:
            raise beginning_missing(entry)
        case _:
            return _changed(row, entry)


def _changed(row: ResultRow, entry: Entry) -> ResultRow:
    match entry.fact:
        case AttemptStarted() as fact:
            return _claimed(row, entry, fact)
        case ExecutionTakenOver(lost_by=node) as fact:
            return _claimed(lost(row, entry, node, standing_of(row)), entry, fact)
        case AttemptFailed(attempt=attempt, retry_at=retry_at, unmet=unmet):
            waiting = Standing(row.status, row.success, row.reason, None, retry_at)
            return tried(row, entry, attempt, unmet or answer_error(attempt.answer), waiting)
        case ExecutionFailed(lapsed=True, reason=reason):
            return unsent(row, entry, over("failed", success=False, reason=reason))
        case ExecutionFailed(attempt=None, reason=reason):
            return lost(row, entry, row.node, over("failed", success=False, reason=reason))
        case ExecutionFailed(attempt=Attempt() as attempt, reason=reason, unmet=unmet):
            failed = over("failed", success=False, reason=reason)
            return tried(row, entry, attempt, unmet or answer_error(attempt.answer), failed)
        case ExecutionCancelled(interrupted=False, reason=reason):
            return unsent(row, entry, over("cancelled", reason=reason))
        case ExecutionCancelled(reason=reason):
            broken_off = "outcome unknown: the execution was cancelled before it was recorded"
            return untold(row, entry, broken_off, over("cancelled", reason=reason))
        case _:
            raise unknown(entry)


def _requested(row: ResultRow | None, entry: Entry, fact: ExecutionRequested | ExecutionQueued) -> ResultRow:
    """Not the first fact when the occurrence was skipped, or cancelled before it began."""
    opened = replace(_opened(entry, fact), status="pending")
    return opened if row is None else replace(opened, created_at=row.created_at)


def _opened(entry: Entry, fact: FirstFact) -> ResultRow:
    occurrence = fact.occurrence
    return ResultRow(
        id=entry.stream,
        task_id=occurrence.task_id,
        namespace=occurrence.namespace,
        task_name=occurrence.task_name,
        task_version=occurrence.task_version,
        kind=occurrence.kind,
        due_at=occurrence.due_at,
        status="running",
        created_at=fact.at,
        position=entry.position,
    )


def _started(row: ResultRow | None, entry: Entry, fact: ExecutionStarted) -> ResultRow:
    """A claim; not the first fact when an older definition's claim was dropped unsent, or skipped, before.

    Claims are made ahead; `run_at` is when the call is to be sent, until its attempt tells when it was.
    """
    occurrence, at = fact.occurrence, fact.at
    send_at = occurrence.fire_at or occurrence.due_at
    return ResultRow(
        id=entry.stream,
        task_id=occurrence.task_id,
        namespace=occurrence.namespace,
        task_name=occurrence.task_name,
        task_version=occurrence.task_version,
        kind=occurrence.kind,
        due_at=occurrence.due_at,
        run_at=at if at > send_at else send_at,
        status="running",
        attempts=1,
        node=fact.node,
        lease_until=fact.lease_until,
        created_at=at if row is None else row.created_at,
        position=entry.position,
    )


def _claimed(row: ResultRow, entry: Entry, fact: AttemptStarted | ExecutionTakenOver) -> ResultRow:
    return replace(
        row,
        task_version=fact.task_version,
        attempts=fact.number,
        run_at=max(at for at in (fact.at, row.run_at, row.retry_at) if at is not None),
        node=fact.node,
        lease_until=fact.lease_until,
        retry_at=None,
        position=entry.position,
    )


class TaskResults:
    """The projection."""

    name: ClassVar[str] = "task_results"
    version: ClassVar[int] = 4
    tables: ClassVar[tuple[str, ...]] = ("open_results", "closed_results", "result_counts")
    views: ClassVar[tuple[str, ...]] = ("task_results",)
    across: ClassVar[frozenset[type]] = frozenset()

    @property
    def ddl(self) -> bytes:
        """See `Projection.ddl`."""
        return statement("task_results.ddl")

    @property
    def indexes(self) -> bytes:
        """See `Projection.indexes`."""
        return statement("task_results.indexes")

    def key(self, entry: Entry) -> UUID:
        """The execution."""
        return entry.stream

    async def apply(self, connection: AsyncConnection, entries: Sequence[Entry]) -> AsyncGenerator[None]:
        """See `Projection.apply`."""
        earlier = continued(entries)
        taken = await take_open(connection, earlier)
        yield
        known = await taken.rows()
        if len(known) < len(earlier):
            closed = await take_closed(connection, [each for each in earlier if each not in known])
            known |= await closed.rows()
        changes = fold(known, entries)
        await put_results(connection, changes.rows.values())
        yield
        await write_counts(connection, "count_result_states", changes.counts)
