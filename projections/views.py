"""The shapes that queries answer with. All instants are UTC."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from msgspec import Struct

from domain.definition import Action, CatchUp, Delivery, Overlap, RetryPolicy, SuccessPolicy, Trigger

type TaskStatus = Literal["scheduled", "paused", "completed", "failed", "cancelled"]
type ResultStatus = Literal["pending", "running", "succeeded", "failed", "skipped", "cancelled"]


class TaskView(Struct, frozen=True, kw_only=True):
    """A task as it stands; `next_run` None: nothing further is due. `version` is what If-Match takes.

    A paused task keeps its `next_run`: where it goes on from. `paused_at` and `pause_note` are of its last
    pause. `redacted_at` is when what it sent and received was erased.
    """

    id: UUID
    namespace: str
    name: str
    trigger: Trigger
    action: Action
    retry: RetryPolicy
    success: SuccessPolicy
    catch_up: CatchUp
    overlap: Overlap
    delivery: Delivery
    priority: int
    status: TaskStatus
    next_run: datetime | None
    created_at: datetime
    updated_at: datetime
    version: int
    paused_at: datetime | None = None
    pause_note: str | None = None
    redacted_at: datetime | None = None


class AttemptView(Struct, frozen=True, kw_only=True, gc=False):
    """One call of an execution. `status_code` None: no answer came, and `error_message` says why."""

    number: int
    started_at: datetime | None
    duration_ms: int | None
    status_code: int | None
    error_message: str | None


class ResultView(Struct, frozen=True, kw_only=True):
    """One occurrence in the ledger. `success` is None while it runs and when it did not run.

    `run_at` is when its (latest) request was sent; `attempts` counts the calls begun; `status_code`,
    `response_*` and `duration_ms` are those of the last finished attempt; `retry_at` is set while it waits.
    """

    id: UUID
    task_id: UUID
    task_name: str
    namespace: str
    kind: str
    due_at: datetime
    run_at: datetime | None
    status: ResultStatus
    reason: str | None
    success: bool | None
    status_code: int | None
    response_headers: dict[str, Any] | None
    response_body: str | None
    response_truncated: bool | None
    error_message: str | None
    duration_ms: int | None
    attempts: int
    attempt_log: list[AttemptView]
    retry_at: datetime | None
    node: str | None
    created_at: datetime


class Listing[T](Struct, frozen=True, kw_only=True):
    """One page: `total` counts all that match; `next_cursor` continues after the last item (None: none)."""

    items: list[T]
    total: int
    page: int
    limit: int
    next_cursor: str | None = None


class Paging(Struct, frozen=True, kw_only=True):
    """`sort` is a field name, `-` before it for descending; a `cursor` replaces `page`."""

    limit: int = 50
    page: int = 1
    sort: str | None = None
    cursor: str | None = None


class TaskQuery(Struct, frozen=True, kw_only=True):
    """Filters of tasks; None means any. `name` matches any part, ignoring case."""

    namespace: str = "default"
    status: TaskStatus | None = None
    trigger_type: Literal["one-off", "cron", "interval"] | None = None
    name: str | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None


class ResultQuery(Struct, frozen=True, kw_only=True):
    """Filters of results; None means any. `due_from` is inclusive and `due_to` exclusive, on `due_at`."""

    namespace: str = "default"
    task_id: UUID | None = None
    success: bool | None = None
    status: ResultStatus | None = None
    status_code: int | None = None
    due_from: datetime | None = None
    due_to: datetime | None = None


class Figures(Struct, frozen=True, kw_only=True):
    """The specification's JSON metrics over everything ever executed; skipped occurrences do not count.

    `tasks_per_minute` is the mean over the last 60 minutes, or since the first execution when that is later.
    """

    total_tasks_executed: int
    successful_tasks: int
    failed_tasks: int
    success_rate_percent: float
    average_execution_ms: float
    tasks_per_minute: float
    active_tasks: int
