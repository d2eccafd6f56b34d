"""Rows of `task_results` without what is erased: the same that the facts without it come to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from domain.redaction import erased_cancellation, erased_text, erased_values

if TYPE_CHECKING:
    from projections.result_rows import ResultRow
    from projections.views import AttemptView


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
    untold = view.started_at is None
    if untold or view.error_message == status_error(view.status_code):
        return view
    return replace(view, error_message=erased_text(view.error_message))


def status_error(status_code: int | None) -> str:
    """What is said of an answer whose status is a failure."""
    return f"the server answered with status {status_code}"
