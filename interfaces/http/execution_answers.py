"""What the API answers about executions that it has just written, from the log's own state."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal, assert_never
from uuid import UUID

from msgspec import Meta, Struct

from domain.execution import Over, Requested, Running, Waiting
from interfaces.http.answers import Result

if TYPE_CHECKING:
    from application.executions import AcceptedExecution, Backfilled
    from domain.execution import Execution


class RequestedExecution(Struct, frozen=True, kw_only=True):
    """An occurrence that will run."""

    id: Annotated[UUID, Meta(description="Of the execution and its result.")]
    due_at: datetime


class Backfill(Struct, frozen=True, kw_only=True):
    """What a backfill came to."""

    executions: list[RequestedExecution]
    already_run: Annotated[
        int, Meta(description="Occurrences of the period that ran, run, or are to run anyway.")
    ]
    next_start: Annotated[
        datetime | None,
        Meta(description="Where the limit cut it off: the `start` to go on with; null: nothing is left."),
    ]

    @classmethod
    def of_backfilled(cls, done: Backfilled) -> Backfill:
        """What the command says."""
        wanted = [RequestedExecution(id=one.execution_id, due_at=one.due_at) for one in done.requested]
        return cls(executions=wanted, already_run=done.already_run, next_start=done.next_start)


def result_of(accepted: AcceptedExecution) -> Result:
    """An execution as a command left it, for an answer that does not wait for the read model."""
    state = accepted.state
    occurrence = state.occurrence
    return Result(
        id=state.id,
        task_id=occurrence.task_id,
        task_name=occurrence.task_name,
        namespace=occurrence.namespace,
        kind=occurrence.kind,
        due_at=occurrence.due_at,
        run_at=None,
        status=_status(state),
        reason=accepted.reason,
        success={"succeeded": True, "failed": False}.get(_status(state)),
        status_code=None,
        response_headers=None,
        response_body=None,
        response_truncated=None,
        error_message=None,
        duration_ms=None,
        attempts=state.attempts,
        attempt_log=[],
        retry_at=state.retry_at if isinstance(state, Waiting) else None,
        node=state.node if isinstance(state, Running) else None,
        created_at=accepted.created_at,
    )


def _status(state: Execution) -> Literal["pending", "running", "succeeded", "failed", "skipped", "cancelled"]:
    match state:
        case Requested():
            return "pending"
        case Running() | Waiting():
            return "running"
        case Over():
            return state.status
        case _:
            assert_never(state)
