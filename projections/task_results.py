"""`task_results`: the occurrence ledger, a row an occurrence."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import ClassVar, NamedTuple, assert_never
from uuid import UUID

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from psycopg import AsyncConnection

from domain.execution import FirstFact
from domain.facts import (
    Answer,
    Answered,
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
    Unanswered,
)
from domain.redaction import erased_cancellation, erased_text, erased_values
from projections.projection import Entry, beginning_missing, continued, statement, unknown
from projections.rows import (
    StateCounts,
    Taken,
    boolean,
    count_change,
    head,
    instant,
    integer,
    json,
    microseconds,
    put,
    take,
    text,
    word,
    write_counts,
)
from projections.views import AttemptView, ResultStatus


def erased(row: ResultRow) -> ResultRow:
    """An execution's row once its events were rewritten."""
    log = tuple(map(_erased_attempt, row.attempt_log))
    reason = row.reason
    if row.status == "cancelled" and reason is not None:
        reason = erased_cancellation(reason)
    return replace(
        row,
        reason=reason,
        response_headers=None if row.response_headers is None else erased_values(row.response_headers),
        response_body=erased_text(row.response_body),
        error_message=log[-1].error_message if log else None,
        attempt_log=log,
    )


def _erased_attempt(view: AttemptView) -> AttemptView:
    """What the ledger says by itself stays: which status came, or that nothing is known."""
    if view.started_at is None or view.error_message == status_error(view.status_code):
        return view
    return replace(view, error_message=erased_text(view.error_message))


def status_error(status_code: int | None) -> str:
    """What is said of an answer whose status is a failure."""
    return f"the server answered with status {status_code}"


class CurrentState(NamedTuple):
    """What is known of an occurrence beside its attempts."""

    status: ResultStatus
    success: bool | None
    reason: str | None
    lease_until: datetime | None
    retry_at: datetime | None


SUCCEEDED = CurrentState("succeeded", success=True, reason=None, lease_until=None, retry_at=None)


def state_of(row: ResultRow) -> CurrentState:
    """As a row has it."""
    return CurrentState(row.status, row.success, row.reason, row.lease_until, row.retry_at)


def finished(status: ResultStatus, *, success: bool | None = None, reason: str | None = None) -> CurrentState:
    """That of an occurrence that is over."""
    return CurrentState(status, success, reason, lease_until=None, retry_at=None)


def tried(
    row: ResultRow, entry: Entry, attempt: Attempt, error: str | None, state: CurrentState
) -> ResultRow:
    """The row once an attempt was made. `error` None: it was a success, whatever its status is."""
    answer = attempt.answer
    answered = answer if isinstance(answer, Answered) else None
    view = AttemptView(
        number=attempt.number,
        started_at=attempt.started_at,
        duration_ms=attempt.duration_ms,
        status_code=None if answered is None else answered.status_code,
        error_message=error,
    )
    return _logged(row, entry, view, answered, state)


def answer_error(answer: Answer) -> str:
    """What is said of an answer that is a failure."""
    match answer:
        case Answered(status_code=status_code):
            return status_error(status_code)
        case Unanswered(error=error):
            return error
        case _:
            assert_never(answer)


def lost(row: ResultRow, entry: Entry, node: str | None, state: CurrentState) -> ResultRow:
    """The row once the node that claimed the attempt is gone."""
    return outcome_unknown(row, entry, f"outcome unknown: node {node} stopped before it was recorded", state)


def outcome_unknown(row: ResultRow, entry: Entry, why: str, state: CurrentState) -> ResultRow:
    """The claimed attempt will never be told of, unless it was told of already."""
    if row.attempt_log and row.attempt_log[-1].number >= row.attempts:
        return replace(row, **state._asdict(), position=entry.position)
    view = AttemptView(
        number=row.attempts,
        started_at=None,
        duration_ms=None,
        status_code=None,
        error_message=why,
    )
    return _logged(row, entry, view, None, state)


def _logged(
    row: ResultRow, entry: Entry, view: AttemptView, answered: Answered | None, state: CurrentState
) -> ResultRow:
    """With an attempt more; the answer's columns are its."""
    return replace(
        row,
        run_at=view.started_at or row.run_at,
        status=state.status,
        reason=state.reason,
        success=state.success,
        status_code=view.status_code,
        response_headers=None if answered is None else answered.headers,
        response_body=None if answered is None else answered.body,
        response_truncated=None if answered is None else answered.truncated,
        error_message=view.error_message,
        duration_ms=view.duration_ms,
        attempts=view.number,
        attempt_log=(*row.attempt_log, view),
        retry_at=state.retry_at,
        lease_until=state.lease_until,
        position=entry.position,
    )


def unsent(row: ResultRow, entry: Entry, state: CurrentState) -> ResultRow:
    """A claimed attempt that was dropped before its call was sent does not count as a call."""
    sent = [view.started_at for view in row.attempt_log if view.started_at is not None]
    run_at = sent[-1] if sent else None
    attempts = len(row.attempt_log)
    return replace(row, **state._asdict(), attempts=attempts, run_at=run_at, position=entry.position)


class ResultRow(Struct, frozen=True, kw_only=True, gc=False):
    """One occurrence. The answer's columns tell of the last attempt in `attempt_log`."""

    id: UUID
    task_id: UUID
    namespace: str
    task_name: str
    task_version: int
    kind: str
    due_at: datetime
    run_at: datetime | None = None
    status: ResultStatus
    reason: str | None = None
    success: bool | None = None
    status_code: int | None = None
    response_headers: dict[str, str] | None = None
    response_body: str | None = None
    response_truncated: bool | None = None
    error_message: str | None = None
    duration_ms: int | None = None
    attempts: int = 0
    attempt_log: tuple[AttemptView, ...] = ()
    retry_at: datetime | None = None
    node: str | None = None
    lease_until: datetime | None = None
    created_at: datetime
    position: int


# In the order in which the take statements return them.
_COLUMNS = ResultRow.__struct_fields__
_HEADERS = _COLUMNS.index("response_headers")
_ATTEMPT_LOG = _COLUMNS.index("attempt_log")
_OPEN = frozenset({"pending", "running"})

_headers = msgspec.json.Decoder(dict[str, str])
_attempts = msgspec.json.Decoder(tuple[AttemptView, ...])


async def take_open(connection: AsyncConnection, ids: Collection[UUID]) -> Taken[ResultRow]:
    """Take the rows of those executions that are not over out of their table."""
    return await take(connection, "take_open_results", ids, _taken)


async def take_closed(connection: AsyncConnection, ids: Collection[UUID]) -> Taken[ResultRow]:
    """Take the rows of those executions that are over out of their table: something has come after all."""
    return await take(connection, "take_closed_results", ids, _taken)


def _taken(row: Sequence[object]) -> ResultRow:
    values = dict(zip(_COLUMNS, row, strict=True))
    headers, attempts = row[_HEADERS], row[_ATTEMPT_LOG]
    values["response_headers"] = _headers.decode(headers) if isinstance(headers, str) else None
    values["attempt_log"] = () if attempts == "[]" else _attempts.decode(str(attempts))
    return ResultRow(**values)  # type: ignore[arg-type]  # the table's column types are the struct's


async def put_results(connection: AsyncConnection, rows: Iterable[ResultRow]) -> None:
    """Put rows that are in no table into the one where they belong."""
    opened: list[ResultRow] = []
    closed: list[ResultRow] = []
    for row in rows:
        (opened if row.status in _OPEN else closed).append(row)
    await put(connection, "put_open_results", opened, _open_fields)
    await put(connection, "put_closed_results", closed, _closed_fields)


_head = head("uuid", "uuid", "int8", "int8", "int8", "int8", "int4")
_SHARED = 21  # of which the head has 7


def _open_fields(row: ResultRow) -> tuple[bytes, ...]:
    return (*_shared(row, _SHARED + 2), instant(row.retry_at), instant(row.lease_until))


def _closed_fields(row: ResultRow) -> tuple[bytes, ...]:
    return (*_shared(row, _SHARED + 1), boolean(row.success))


def _shared(row: ResultRow, fields: int) -> tuple[bytes, ...]:
    """What both tables begin with."""
    return (
        _head(
            fields,
            16,
            row.id.int.to_bytes(16),
            16,
            row.task_id.int.to_bytes(16),
            8,
            row.task_version,
            8,
            microseconds(row.due_at),
            8,
            microseconds(row.created_at),
            8,
            row.position,
            4,
            row.attempts,
        ),
        word(row.namespace),
        word(row.task_name),
        word(row.kind),
        word(row.status),
        word(row.node),
        instant(row.run_at),
        text(row.reason),
        integer(row.status_code),
        json(row.response_headers),
        text(row.response_body),
        boolean(row.response_truncated),
        text(row.error_message),
        integer(row.duration_ms),
        json(row.attempt_log),
    )


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
            return unsent(row or _opened(entry, fact), entry, finished("skipped", reason=fact.reason))
        case _ if row is None:
            raise beginning_missing(entry)
        case _:
            return _changed(row, entry)


def _changed(row: ResultRow, entry: Entry) -> ResultRow:
    match entry.fact:
        case AttemptStarted() as fact:
            return _claimed(row, entry, fact)
        case ExecutionTakenOver(lost_by=node) as fact:
            return _claimed(lost(row, entry, node, state_of(row)), entry, fact)
        case AttemptFailed(attempt=attempt, retry_at=retry_at, unmet=unmet):
            waiting = CurrentState(row.status, row.success, row.reason, None, retry_at)
            return tried(row, entry, attempt, unmet or answer_error(attempt.answer), waiting)
        case ExecutionFailed(lapsed=True, reason=reason):
            return unsent(row, entry, finished("failed", success=False, reason=reason))
        case ExecutionFailed(attempt=None, reason=reason):
            return lost(row, entry, row.node, finished("failed", success=False, reason=reason))
        case ExecutionFailed(attempt=Attempt() as attempt, reason=reason, unmet=unmet):
            failed = finished("failed", success=False, reason=reason)
            return tried(row, entry, attempt, unmet or answer_error(attempt.answer), failed)
        case ExecutionCancelled(interrupted=False, reason=reason):
            return unsent(row, entry, finished("cancelled", reason=reason))
        case ExecutionCancelled(reason=reason):
            broken_off = "outcome unknown: the execution was cancelled before it was recorded"
            return outcome_unknown(row, entry, broken_off, finished("cancelled", reason=reason))
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
