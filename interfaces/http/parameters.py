"""Parameters of paths, queries and headers: what Litestar documents and checks, and what they mean.

A description always says what is allowed: an error repeats it.
"""

import re
from datetime import UTC, datetime
from typing import Annotated, Literal, TypeVar
from uuid import UUID

from litestar.di import NamedDependency
from litestar.params import HeaderParameter, PathParameter, QueryParameter, SkipValidation
from msgspec import Struct

from application.explanation.wording import EARLIEST, LATEST
from application.past import Moment
from domain.errors import printed, shown, unprintable
from interfaces.http.problems import InvalidParameters
from projections.views import Paging, ResultQuery, TaskQuery

INSTANT = (
    "an instant by ISO 8601 with its offset, such as 2030-01-01T12:00:00Z or 2030-01-01T12:00:00%2B02:00."
)


def instant(name: str, text: str | None) -> datetime | None:
    """The instant that a query parameter names, UTC. Raises `InvalidParameters`."""
    if text is None:
        return None
    parsed = _parsed(text)
    try:
        if parsed is not None and parsed.tzinfo is not None:
            return parsed.astimezone(UTC)
    except OverflowError:
        pass
    raise InvalidParameters([(name, f"{shown(text)} is not an instant: give {INSTANT}")])


def local_or_absolute(name: str, text: str | None) -> datetime | None:
    """The same as it was given: without an offset it is local time. Raises `InvalidParameters`."""
    parsed = None if text is None else _parsed(text)
    if text is None or parsed is not None:
        return parsed
    advice = "give one by ISO 8601, such as 2030-01-01T12:00:00Z, or local time without an offset."
    raise InvalidParameters([(name, f"{shown(text)} is not an instant: {advice}")])


def _parsed(text: str) -> datetime | None:
    # In a query `+` stands for a blank: a `+02:00` that was not escaped arrives as ` 02:00`.
    repaired = re.sub(r" (?=\d\d:?\d\d$)", "+", text)
    try:
        return datetime.fromisoformat(repaired)
    except ValueError:
        return None


NAMESPACE = "default"
# What the database counts with.
HIGHEST_POSITION = 2**63 - 1
NO_NUL = r"^[^\x00]*$"

TaskId = Annotated[UUID, PathParameter(name="id", description="The id of a task: a UUID.")]
ResultId = Annotated[UUID, PathParameter(name="id", description="The id of a result: a UUID.")]
Prefer = Annotated[
    str | None,
    HeaderParameter(
        name="Prefer",
        description="`respond-async` answers as soon as the log holds the change, without waiting until "
        "lists show it (RFC 7240).",
    ),
]
CreationKey = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        min_length=1,
        pattern=r"^[!-~]{1,255}$",
        description="Makes repeating this request safe: the same key with the same JSON answers with the "
        "task of the first time. 1 to 255 visible ASCII characters without blanks.",
    ),
]
BulkKey = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        min_length=1,
        pattern=r"^[!-~]{1,255}$",
        description="Makes repeating this request safe: the same key with the same JSON answers as the first "
        "time, and creates nothing. Free still when the request created nothing. 1 to 255 visible ASCII "
        "characters without blanks.",
    ),
]
ChangeReason = Annotated[
    str | None,
    HeaderParameter(
        name="X-Change-Reason",
        min_length=1,
        pattern=r"^[ -~\x80-\xff]{1,500}$",
        description="Why, for whoever looks at the history later: 1 to 500 printable characters, those "
        "beyond ASCII as UTF-8 and counted by their bytes.",
    ),
]
MinPosition = Annotated[
    int | None,
    QueryParameter(
        gt=-1,  # `ge=0` counts as unset in Litestar
        le=HIGHEST_POSITION,
        description="Wait until the read models have passed this position of the log: a whole number, "
        "the `X-Event-Position` of a write.",
    ),
]


class Change(Struct, frozen=True, kw_only=True):
    """On what condition, and how, a task is to be changed."""

    if_match: Annotated[
        str | None,
        HeaderParameter(
            name="If-Match",
            min_length=1,
            pattern=r'^(\*|"[0-9]{1,18}")$',
            description="Refuse the change (412) unless the task is at this version: its ETag, such as "
            '`"3"` with the quotes, or `*` for any.',
        ),
    ] = None
    prefer: Prefer = None
    x_change_reason: ChangeReason = None

    def version(self) -> int | None:
        """The version that the task must have; None: any."""
        return int(self.if_match.strip('"')) if self.if_match and self.if_match != "*" else None


class Preference(Struct, frozen=True, kw_only=True):
    """Preferences for the answer to a command."""

    prefer: Prefer = None
    x_change_reason: ChangeReason = None


class Trigger(Change, frozen=True, kw_only=True):
    """On what condition, and how, a task is to be run."""

    idempotency_key: Annotated[
        str | None,
        HeaderParameter(
            name="Idempotency-Key",
            min_length=1,
            pattern=r"^[!-~]{1,255}$",
            description="Makes repeating this request safe: the same key answers with the execution of the "
            "first time. 1 to 255 visible ASCII characters without blanks.",
        ),
    ] = None


class Freshness(Struct, frozen=True, kw_only=True):
    """The position that the read models must have reached before they are read."""

    min_position: MinPosition = None


def change_reason(sent: str) -> str:
    """The text of an `X-Change-Reason`: a header's bytes come as ISO 8859-1 (RFC 9110), and most mean UTF-8.

    Raises `InvalidParameters`.
    """
    encoded = sent.encode("latin-1")
    try:
        text = encoded.decode().strip()
    except UnicodeDecodeError:
        text = sent.strip()
    if not text or unprintable(text):
        detail = f"`{printed(text)}` will not do. Give 1 to 500 printable characters, or leave it out."
        raise InvalidParameters([("X-Change-Reason", detail)])
    return text


def prefers_async(prefer: str | None) -> bool:
    """True when a `Prefer` header holds respond-async (RFC 7240)."""
    return "respond-async" in {part.split(";")[0].strip().lower() for part in (prefer or "").split(",")}


def reachable(name: str, text: str | None) -> datetime | None:
    """The instant of a parameter, between those that a task may be due at. Raises `InvalidParameters`."""
    given = instant(name, text)
    if given is not None and not EARLIEST <= given < LATEST:
        raise InvalidParameters([(name, f"{shown(text)} is out of reach: give one from 1970 to 9998.")])
    return given


class AsOf(Struct, frozen=True, kw_only=True):
    """The moment of the past that is asked for; none of both: the present."""

    as_of: Annotated[
        str | None,
        QueryParameter(
            format="date-time",
            description="The state as it was then, after the last event recorded by then; not in the future: "
            + INSTANT,
        ),
    ] = None
    as_of_position: Annotated[
        int | None,
        QueryParameter(
            gt=-1,  # `ge=0` counts as unset in Litestar
            le=HIGHEST_POSITION,
            description="The same, right after this position of the log: a whole number, not beyond its end. "
            "Not together with `as_of`.",
        ),
    ] = None

    def moment(self) -> datetime | int | None:
        """The instant or the position. Raises `InvalidParameters`."""
        if self.as_of is None or self.as_of_position is None:
            return reachable("as_of", self.as_of) if self.as_of_position is None else self.as_of_position
        raise InvalidParameters([("as_of_position", "Give either this or `as_of`, not both.")])


def reflecting(moment: Moment | None) -> dict[str, str]:
    """The header that tells which position an answer from the past reflects; none for the present."""
    return {} if moment is None else {"X-Event-Position": str(moment.position)}


T = TypeVar("T")

# Given by the application itself, or validated where it was made: not to be validated again on every request.
Injected = NamedDependency[SkipValidation[T]]


# A bound that keeps an offset within what the database counts with.
HIGHEST_PAGE = 1_000_000_000

type TaskSort = Literal[
    "created_at", "-created_at", "updated_at", "-updated_at", "next_run", "-next_run", "name", "-name"
]
type ResultSort = Literal[
    "due_at", "-due_at", "run_at", "-run_at", "created_at", "-created_at", "duration_ms", "-duration_ms"
]


class Selection(Struct, frozen=True, kw_only=True):
    """The page of a list that is asked for."""

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
    """The tasks that are asked for, and their order."""

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
    """The results that are asked for, and their order."""

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
    """The results of one or of all tasks that are asked for, and their order."""

    task_id: Annotated[UUID | None, QueryParameter(description="Only results of this task: a UUID.")] = None


def paging(selection: TaskSelection | ResultSelection) -> Paging:
    """The page of the read model that a selection asks for."""
    return Paging(limit=selection.limit, page=selection.page, sort=selection.sort, cursor=selection.cursor)
