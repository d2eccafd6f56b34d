"""`task_results`: the occurrence ledger, a row an occurrence."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar, assert_never

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
    from uuid import UUID

    from psycopg import AsyncConnection

    from domain.attempt import Answer
    from domain.execution import FirstFact
    from projections.views import ResultStatus


type _Changes = dict[str, Any]
"""Columns of a row and what they become."""


class ResultChanges(Struct, frozen=True):
    """What a batch comes to: the last state of every row it is about, and the moves between statuses."""

    rows: dict[UUID, ResultRow]
    counts: StateCounts


def fold(known: Mapping[UUID, ResultRow], entries: Iterable[Entry]) -> ResultChanges:
    """Apply a batch to the rows it continues. Raises `PoisonEvent`."""
    rows = dict(known)
    counts: StateCounts = Counter()
    for entry in entries:
        before = rows.get(entry.stream)
        after = evolve(before, entry)
        if after is not None:
            rows[entry.stream] = after
            count_change(counts, before, after)
        elif isinstance(entry.fact, EventsRedacted):
            rows |= {stream: erased(rows[stream]) for stream in _rewritten(entry.fact) if stream in rows}
    return ResultChanges(rows, counts)


def _rewritten(fact: EventsRedacted) -> set[UUID]:
    return {event.stream for event in fact.rewritten}


def evolve(row: ResultRow | None, entry: Entry) -> ResultRow | None:
    """The row after a fact; None for a fact that is not about an occurrence."""
    match entry.fact:
        case ExecutionStarted() as fact:
            return _started(row, entry, fact)
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
            return _skipped(row or _opened(entry, fact), fact, entry.position)
        case _ if row is None:
            raise beginning_missing(entry)
        case _:
            return replace(row, **_changes(row, entry), position=entry.position)


def _changes(row: ResultRow, entry: Entry) -> _Changes:
    match entry.fact:
        case ExecutionSucceeded(attempt=attempt):
            return _tried(row, attempt, None) | _over("succeeded", success=True)
        case AttemptStarted() as fact:
            return _claimed(row, fact)
        case ExecutionTakenOver(lost_by=node) as fact:
            return _lost(row, node) | _claimed(row, fact)
        case AttemptFailed(attempt=attempt, retry_at=retry_at, unmet=unmet):
            tried = _tried(row, attempt, unmet or _error(attempt.answer))
            return tried | {"lease_until": None, "retry_at": retry_at}
        case ExecutionFailed(lapsed=True, reason=reason):
            return _unsent(row) | _over("failed", success=False, reason=reason)
        case ExecutionFailed(attempt=None, reason=reason):
            return _lost(row, row.node) | _over("failed", success=False, reason=reason)
        case ExecutionFailed(attempt=Attempt() as attempt, reason=reason, unmet=unmet):
            tried = _tried(row, attempt, unmet or _error(attempt.answer))
            return tried | _over("failed", success=False, reason=reason)
        case ExecutionCancelled(reason=reason, interrupted=interrupted):
            broken_off = "outcome unknown: the execution was cancelled before it was recorded"
            tried = _untold(row, broken_off) if interrupted else _unsent(row)
            return tried | _over("cancelled", reason=reason)
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


def _claimed(row: ResultRow, fact: AttemptStarted | ExecutionTakenOver) -> _Changes:
    return {
        "task_version": fact.task_version,
        "attempts": fact.number,
        "run_at": max(at for at in (fact.at, row.run_at, row.retry_at) if at is not None),
        "node": fact.node,
        "lease_until": fact.lease_until,
        "retry_at": None,
    }


def _tried(row: ResultRow, attempt: Attempt, error: str | None) -> _Changes:
    """`error` None: the attempt was a success, whatever its status is."""
    answer = attempt.answer
    answered = answer if isinstance(answer, Answered) else None
    return {
        **_logged(row, _view(attempt, error)),
        "run_at": attempt.started_at,
        "response_headers": None if answered is None else answered.headers,
        "response_body": None if answered is None else answered.body,
        "response_truncated": None if answered is None else answered.truncated,
    }


def _view(attempt: Attempt, error: str | None) -> AttemptView:
    answer = attempt.answer
    return AttemptView(
        number=attempt.number,
        started_at=attempt.started_at,
        duration_ms=attempt.duration_ms,
        status_code=answer.status_code if isinstance(answer, Answered) else None,
        error_message=error,
    )


def _error(answer: Answer) -> str:
    match answer:
        case Answered(status_code=status_code):
            return status_error(status_code)
        case Unanswered(error=error):
            return error
        case _:
            assert_never(answer)


def _lost(row: ResultRow, node: str | None) -> _Changes:
    return _untold(row, f"outcome unknown: node {node} stopped before it was recorded")


def _untold(row: ResultRow, why: str) -> _Changes:
    """The claimed attempt will never be told of, unless it was told of already."""
    if row.attempt_log and row.attempt_log[-1].number >= row.attempts:
        return {}
    view = AttemptView(
        number=row.attempts,
        started_at=None,
        duration_ms=None,
        status_code=None,
        error_message=why,
    )
    unanswered = {"response_headers": None, "response_body": None, "response_truncated": None}
    return _logged(row, view) | unanswered


def _logged(row: ResultRow, view: AttemptView) -> _Changes:
    return {
        "attempts": view.number,
        "attempt_log": (*row.attempt_log, view),
        "status_code": view.status_code,
        "duration_ms": view.duration_ms,
        "error_message": view.error_message,
    }


def _unsent(row: ResultRow) -> _Changes:
    """A claimed attempt that was dropped before its call was sent does not count as a call."""
    sent = [view.started_at for view in row.attempt_log if view.started_at is not None]
    return {"attempts": len(row.attempt_log), "run_at": sent[-1] if sent else None}


def _skipped(row: ResultRow, fact: ExecutionSkipped, position: int) -> ResultRow:
    return replace(row, **_unsent(row), **_over("skipped", reason=fact.reason), position=position)


def _over(status: ResultStatus, *, success: bool | None = None, reason: str | None = None) -> _Changes:
    return {"status": status, "success": success, "reason": reason, "lease_until": None, "retry_at": None}


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
