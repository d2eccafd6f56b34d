"""The query of lists: what Litestar documents and checks, and what it means to the read models.

A description always says what is allowed: an error repeats it.
"""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from litestar.params import QueryParameter
from msgspec import Struct

from interfaces.http.instants import INSTANT, instant
from interfaces.http.parameters import NAMESPACE, NO_NUL
from interfaces.http.refusals import InvalidParameters
from projections.views import Paging, ResultQuery, TaskQuery

# A bound that keeps an offset within what the database counts with.
HIGHEST_PAGE = 1_000_000_000

type TaskSort = Literal[
    "created_at", "-created_at", "updated_at", "-updated_at", "next_run", "-next_run", "name", "-name"
]
type ResultSort = Literal[
    "due_at", "-due_at", "run_at", "-run_at", "created_at", "-created_at", "duration_ms", "-duration_ms"
]


class Selection(Struct, frozen=True, kw_only=True):
    """Which page of a list."""

    limit: Annotated[
        int, QueryParameter(ge=1, le=200, description="Items on a page: a whole number from 1 to 200.")
    ] = 50
    page: Annotated[
        int, QueryParameter(ge=1, le=HIGHEST_PAGE, description="Which page: a whole number from 1.")
    ] = 1
    cursor: Annotated[
        str | None,
        QueryParameter(
            pattern=r"^[A-Za-z0-9_=-]{1,4096}$",
            description="Continue after the last item of a page: its `next_cursor`, unchanged, with the same "
            "`sort`. Takes the place of `page`, and stays exact while items come and go.",
        ),
    ] = None


class TaskSelection(Selection, frozen=True, kw_only=True):
    """Which tasks, in what order."""

    status: Annotated[
        Literal["scheduled", "paused", "completed", "failed", "cancelled"] | None,
        QueryParameter(
            description="Only tasks of this status: scheduled, paused, completed, failed or cancelled."
        ),
    ] = None
    trigger_type: Annotated[
        Literal["one-off", "cron", "interval"] | None,
        QueryParameter(description="Only tasks with this kind of trigger: one-off, cron or interval."),
    ] = None
    name: Annotated[
        str | None,
        QueryParameter(
            max_length=255,
            pattern=NO_NUL,
            description="Only tasks whose name contains this, whatever its case: at most 255 characters.",
        ),
    ] = None
    created_from: Annotated[
        str | None,
        QueryParameter(format="date-time", description=f"Only tasks created then or later: {INSTANT}"),
    ] = None
    created_to: Annotated[
        str | None, QueryParameter(format="date-time", description=f"Only tasks created before: {INSTANT}")
    ] = None
    sort: Annotated[
        TaskSort | None,
        QueryParameter(
            description="Order by created_at, updated_at, next_run or name; `-` before it turns it round. "
            "-created_at when left out."
        ),
    ] = None

    def query(self) -> TaskQuery:
        """The filters of the read model. Raises `InvalidParameters`."""
        return TaskQuery(
            namespace=NAMESPACE,
            status=self.status,
            trigger_type=self.trigger_type,
            name=self.name,
            created_from=instant("created_from", self.created_from),
            created_to=instant("created_to", self.created_to),
        )

    def check_past(self) -> None:
        """Raises `InvalidParameters` for what only lists of the present can be sorted by."""
        if self.sort in {"next_run", "-next_run"}:
            advice = "Lists of the past cannot be sorted by next_run: sort by created_at, updated_at or name."
            raise InvalidParameters([("sort", advice)])


class ResultSelection(Selection, frozen=True, kw_only=True):
    """Which results, in what order."""

    success: Annotated[
        bool | None, QueryParameter(description="Only results that succeeded (true) or that failed (false).")
    ] = None
    status: Annotated[
        Literal["pending", "running", "succeeded", "failed", "skipped", "cancelled"] | None,
        QueryParameter(
            description="Only results of this status: pending, running, succeeded, failed, skipped or "
            "cancelled."
        ),
    ] = None
    status_code: Annotated[
        int | None,
        QueryParameter(ge=100, le=999, description="Only this HTTP status code: a number from 100 to 999."),
    ] = None
    from_: Annotated[
        str | None,
        QueryParameter(
            name="from", format="date-time", description=f"Only what was due then or later: {INSTANT}"
        ),
    ] = None
    to: Annotated[
        str | None, QueryParameter(format="date-time", description=f"Only what was due before: {INSTANT}")
    ] = None
    sort: Annotated[
        ResultSort | None,
        QueryParameter(
            description="Order by due_at, run_at, created_at or duration_ms; `-` before it turns it round. "
            "-due_at when left out."
        ),
    ] = None

    def query(self, task_id: UUID | None) -> ResultQuery:
        """The filters of the read model. Raises `InvalidParameters`."""
        return ResultQuery(
            namespace=NAMESPACE,
            task_id=task_id,
            success=self.success,
            status=self.status,
            status_code=self.status_code,
            due_from=instant("from", self.from_),
            due_to=instant("to", self.to),
        )


class AnyTaskResultSelection(ResultSelection, frozen=True, kw_only=True):
    """Which results of which task, in what order."""

    task_id: Annotated[UUID | None, QueryParameter(description="Only results of this task: a UUID.")] = None


def paging(selection: TaskSelection | ResultSelection) -> Paging:
    """The page of the read model that a selection asks for."""
    return Paging(limit=selection.limit, page=selection.page, sort=selection.sort, cursor=selection.cursor)
