"""Read-model rows for tests that need no read model."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from domain.definition import Definition
from domain.task import FinishedTask, Paused, Placed, Task
from projections.views import AttemptView, ResultView, TaskView

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
TASK_ID = UUID("01940f3e-8a00-7c3d-9b51-2f6a7c1d0e42")
RESULT_ID = UUID("9b76c9d1-f800-8a3e-a4b7-1c05de98f7a3")


def task_view(task: Task) -> TaskView:
    """The row that a task's state would have right after its last fact."""
    return TaskView(
        id=task.id,
        namespace=task.namespace,
        **{name: getattr(task.definition, name) for name in Definition.__struct_fields__},
        status=task.status
        if isinstance(task, FinishedTask)
        else "paused"
        if isinstance(task, Paused)
        else "scheduled",
        next_run=task.placed_at if isinstance(task, Placed) else None,
        paused_at=task.since if isinstance(task, Paused) else None,
        pause_note=task.note if isinstance(task, Paused) else None,
        redacted_at=task.redacted_at,
        created_at=task.created_at,
        updated_at=task.updated_at,
        version=task.version,
    )


def result_view(**changes: Any) -> ResultView:
    """A succeeded occurrence, with fields replaced."""
    values: dict[str, Any] = {
        "id": RESULT_ID,
        "task_id": TASK_ID,
        "task_name": "Daily Report",
        "namespace": "default",
        "kind": "scheduled",
        "due_at": NOON,
        "run_at": NOON,
        "status": "succeeded",
        "reason": None,
        "success": True,
        "status_code": 200,
        "response_headers": {"content-type": "text/plain"},
        "response_body": "done",
        "response_truncated": False,
        "error_message": None,
        "duration_ms": 12,
        "attempts": 1,
        "attempt_log": [
            AttemptView(number=1, started_at=NOON, duration_ms=12, status_code=200, error_message=None)
        ],
        "retry_at": None,
        "node": "node-1",
        "created_at": NOON,
    }
    return ResultView(**(values | changes))
