"""`task_results`: the occurrence ledger, a row an occurrence."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, ClassVar, NamedTuple, assert_never

from msgspec import Struct
from msgspec.structs import replace

from domain.attempt import Answered, Attempt, Unanswered
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
from projections.erasing import erased, status_error
from projections.projection import Entry, beginning_missing, continued, unknown
from projections.result_rows import ResultRow, put_results, take_closed, take_open
from projections.state_counts import StateCounts, count_change, write_counts
from projections.statements import statement
from projections.views import AttemptView

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from psycopg import AsyncConnection

    from domain.attempt import Answer
    from domain.execution import FirstFact
    from projections.views import ResultStatus


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
            return _tried(row, entry, attempt, None, _SUCCEEDED)
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
            return _unsent(row or _opened(entry, fact), entry, _over("skipped", reason=fact.reason))
        case _ if row is None:
            raise beginning_missing(entry)
        case _:
            return _changed(row, entry)


def _changed(row: ResultRow, entry: Entry) -> ResultRow:
    match entry.fact:
        case AttemptStarted() as fact:
            return _claimed(row, entry, fact)
        case ExecutionTakenOver(lost_by=node) as fact:
            return _claimed(_lost(row, entry, node, _standing(row)), entry, fact)
        case AttemptFailed(attempt=attempt, retry_at=retry_at, unmet=unmet):
            waiting = _Standing(row.status, row.success, row.reason, None, retry_at)
            return _tried(row, entry, attempt, unmet or _error(attempt.answer), waiting)
        case ExecutionFailed(lapsed=True, reason=reason):
            return _unsent(row, entry, _over("failed", success=False, reason=reason))
        case ExecutionFailed(attempt=None, reason=reason):
            return _lost(row, entry, row.node, _over("failed", success=False, reason=reason))
        case ExecutionFailed(attempt=Attempt() as attempt, reason=reason, unmet=unmet):
            over = _over("failed", success=False, reason=reason)
            return _tried(row, entry, attempt, unmet or _error(attempt.answer), over)
        case ExecutionCancelled(interrupted=False, reason=reason):
            return _unsent(row, entry, _over("cancelled", reason=reason))
        case ExecutionCancelled(reason=reason):
            broken_off = "outcome unknown: the execution was cancelled before it was recorded"
            return _untold(row, entry, broken_off, _over("cancelled", reason=reason))
        case _:
            raise unknown(entry)


class _Standing(NamedTuple):
    """What is known of an occurrence beside its attempts."""

    status: ResultStatus
    success: bool | None
    reason: str | None
    lease_until: datetime | None
    retry_at: datetime | None


_SUCCEEDED = _Standing("succeeded", success=True, reason=None, lease_until=None, retry_at=None)


def _standing(row: ResultRow) -> _Standing:
    return _Standing(row.status, row.success, row.reason, row.lease_until, row.retry_at)


def _over(status: ResultStatus, *, success: bool | None = None, reason: str | None = None) -> _Standing:
    return _Standing(status, success, reason, lease_until=None, retry_at=None)


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


def _tried(
    row: ResultRow, entry: Entry, attempt: Attempt, error: str | None, standing: _Standing
) -> ResultRow:
    """`error` None: the attempt was a success, whatever its status is."""
    answer = attempt.answer
    answered = answer if isinstance(answer, Answered) else None
    view = AttemptView(
        number=attempt.number,
        started_at=attempt.started_at,
        duration_ms=attempt.duration_ms,
        status_code=None if answered is None else answered.status_code,
        error_message=error,
    )
    return _logged(row, entry, view, answered, standing)


def _error(answer: Answer) -> str:
    match answer:
        case Answered(status_code=status_code):
            return status_error(status_code)
        case Unanswered(error=error):
            return error
        case _:
            assert_never(answer)


def _lost(row: ResultRow, entry: Entry, node: str | None, standing: _Standing) -> ResultRow:
    return _untold(row, entry, f"outcome unknown: node {node} stopped before it was recorded", standing)


def _untold(row: ResultRow, entry: Entry, why: str, standing: _Standing) -> ResultRow:
    """The claimed attempt will never be told of, unless it was told of already."""
    if row.attempt_log and row.attempt_log[-1].number >= row.attempts:
        return replace(row, **standing._asdict(), position=entry.position)
    view = AttemptView(
        number=row.attempts,
        started_at=None,
        duration_ms=None,
        status_code=None,
        error_message=why,
    )
    return _logged(row, entry, view, None, standing)


def _logged(
    row: ResultRow, entry: Entry, view: AttemptView, answered: Answered | None, standing: _Standing
) -> ResultRow:
    """With an attempt more; the answer's columns are its."""
    return replace(
        row,
        run_at=view.started_at or row.run_at,
        status=standing.status,
        reason=standing.reason,
        success=standing.success,
        status_code=view.status_code,
        response_headers=None if answered is None else answered.headers,
        response_body=None if answered is None else answered.body,
        response_truncated=None if answered is None else answered.truncated,
        error_message=view.error_message,
        duration_ms=view.duration_ms,
        attempts=view.number,
        attempt_log=(*row.attempt_log, view),
        retry_at=standing.retry_at,
        lease_until=standing.lease_until,
        position=entry.position,
    )


def _unsent(row: ResultRow, entry: Entry, standing: _Standing) -> ResultRow:
    """A claimed attempt that was dropped before its call was sent does not count as a call."""
    sent = [view.started_at for view in row.attempt_log if view.started_at is not None]
    run_at = sent[-1] if sent else None
    attempts = len(row.attempt_log)
    return replace(row, **standing._asdict(), attempts=attempts, run_at=run_at, position=entry.position)


class TaskResults:
    """The projection."""

    name: ClassVar[str] = "task_results"
    version: ClassVar[int] = 4
    tables: ClassVar[tuple[str, ...]] = ("open_results", "closed_results", "result_counts")
    views: ClassVar[tuple[str, ...]] = ("task_results",)

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
