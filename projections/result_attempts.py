"""What an attempt does to the row of its occurrence: it was made, or lost, or never sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, assert_never

from msgspec.structs import replace

from domain.attempt import Answered, Unanswered
from projections.erasing import status_error
from projections.views import AttemptView

if TYPE_CHECKING:
    from datetime import datetime

    from domain.attempt import Answer, Attempt
    from projections.projection import Entry
    from projections.result_rows import ResultRow
    from projections.views import ResultStatus


class Standing(NamedTuple):
    """What is known of an occurrence beside its attempts."""

    status: ResultStatus
    success: bool | None
    reason: str | None
    lease_until: datetime | None
    retry_at: datetime | None


SUCCEEDED = Standing("succeeded", success=True, reason=None, lease_until=None, retry_at=None)


def standing_of(row: ResultRow) -> Standing:
    """As a row has it."""
    return Standing(row.status, row.success, row.reason, row.lease_until, row.retry_at)


def over(status: ResultStatus, *, success: bool | None = None, reason: str | None = None) -> Standing:
    """That of an occurrence that is over."""
    return Standing(status, success, reason, lease_until=None, retry_at=None)


def tried(row: ResultRow, entry: Entry, attempt: Attempt, error: str | None, standing: Standing) -> ResultRow:
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
    return _logged(row, entry, view, answered, standing)


def answer_error(answer: Answer) -> str:
    """What is said of an answer that is a failure."""
    match answer:
        case Answered(status_code=status_code):
            return status_error(status_code)
        case Unanswered(error=error):
            return error
        case _:
            assert_never(answer)


def lost(row: ResultRow, entry: Entry, node: str | None, standing: Standing) -> ResultRow:
    """The row once the node that claimed the attempt is gone."""
    return untold(row, entry, f"outcome unknown: node {node} stopped before it was recorded", standing)


def untold(row: ResultRow, entry: Entry, why: str, standing: Standing) -> ResultRow:
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
    row: ResultRow, entry: Entry, view: AttemptView, answered: Answered | None, standing: Standing
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


def unsent(row: ResultRow, entry: Entry, standing: Standing) -> ResultRow:
    """A claimed attempt that was dropped before its call was sent does not count as a call."""
    sent = [view.started_at for view in row.attempt_log if view.started_at is not None]
    run_at = sent[-1] if sent else None
    attempts = len(row.attempt_log)
    return replace(row, **standing._asdict(), attempts=attempts, run_at=run_at, position=entry.position)
