"""The one table from what went wrong to the kind of problem that HTTP tells of (RFC 9457)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
from litestar.exceptions import (
    ClientException,
    MethodNotAllowedException,
    NotFoundException,
    ValidationException,
)
from litestar.exceptions.http_exceptions import RequestEntityTooLarge
from msgspec import Struct

from application.audit import EventNotFound, HeadNotFound, NotYetSealed, SealsDamaged
from application.past import TooMuchHistory
from application.ports import ArchiveAway, LogFull, LogUnavailable
from application.what_if.question import TooMuchToSimulate
from domain.errors import (
    ExecutionAlreadyOver,
    ExecutionNotFound,
    ExecutionsArchived,
    ExecutionsNotOver,
    IdempotencyKeyReused,
    InvalidBody,
    MonthArchived,
    RevisionInvalid,
    RevisionIsCurrent,
    RevisionNotFound,
    RevisionRedacted,
    TaskAlreadyOver,
    TaskNotFound,
    TaskNotOver,
    ValidationFailed,
    VersionMismatch,
)
from projections.queries import BadCursor

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID


class ProblemType(Struct, frozen=True):
    """A kind of problem; `/problems/{slug}` names and explains it, and neither ever changes its meaning."""

    status: int
    slug: str
    title: str
    advice: str

    @property
    def uri(self) -> str:
        """The stable `type` of a problem, relative to the service."""
        return f"/problems/{self.slug}"


MALFORMED_JSON = ProblemType(
    400,
    "malformed-json",
    "The body is not JSON",
    "Send one JSON object, encoded in UTF-8. `detail` says where reading it failed.",
)
INVALID_PARAMETER = ProblemType(
    400,
    "invalid-parameter",
    "A parameter is wrong",
    "Change what `errors` names: a parameter of the path, of the query, or a header, with what it may be.",
)
BAD_REQUEST = ProblemType(
    400, "bad-request", "The request cannot be read", "Compare the request with the OpenAPI document."
)
NOT_FOUND = ProblemType(
    404, "not-found", "There is nothing here", "Check the path; `/openapi.json` lists every one."
)
TASK_NOT_FOUND = ProblemType(
    404,
    "task-not-found",
    "There is no such task",
    "Check the id. A task created with `Prefer: respond-async` shows up a moment later.",
)
RESULT_NOT_FOUND = ProblemType(404, "result-not-found", "There is no such result", "Check the id.")
EXECUTION_NOT_FOUND = ProblemType(
    404,
    "execution-not-found",
    "There is no such execution",
    "Check the id: it is that of the execution's result.",
)
REVISION_NOT_FOUND = ProblemType(
    404,
    "revision-not-found",
    "The task has no such revision",
    "List its revisions: they are numbered from 1.",
)
HEAD_NOT_FOUND = ProblemType(
    404,
    "head-not-found",
    "There is no such head",
    "List the heads; without any, nothing is sealed: see `AUDIT_KEY_FILE` in the service's log.",
)
EVENT_NOT_FOUND = ProblemType(
    404, "event-not-found", "There is no such event", "Check the position; `/api/v1/events` lists events."
)
METHOD_NOT_ALLOWED = ProblemType(
    405, "method-not-allowed", "The method is not allowed here", "Use one of those that `Allow` lists."
)
TASK_ALREADY_OVER = ProblemType(
    409,
    "task-already-over",
    "The task is over",
    "A completed, failed or cancelled task no longer changes: create a new one.",
)
TASK_NOT_OVER = ProblemType(
    409,
    "task-not-over",
    "The task is not over",
    "Cancel the task (`DELETE`), wait until its executions are over, and redact it then.",
)
EXECUTIONS_NOT_OVER = ProblemType(
    409,
    "executions-not-over",
    "Executions of the task still go on",
    "Wait until they are over, or cancel them; the task's results of status running or pending list them.",
)
EXECUTIONS_ARCHIVED = ProblemType(
    409,
    "executions-archived",
    "Executions of the task are archived",
    "Restore the archive that `detail` names, redact the task, and archive the month again.",
)
REVISION_REDACTED = ProblemType(
    409, "revision-redacted", "The revision was erased", "The task was redacted: create a new one."
)
REVISION_IS_CURRENT = ProblemType(
    409,
    "revision-is-current",
    "The task has that definition already",
    "Nothing is left to roll back; `/diff` tells what two revisions differ in.",
)
REVISION_INADMISSIBLE = ProblemType(
    409,
    "revision-inadmissible",
    "The revision's definition is not admissible any more",
    "Read the revision, change what `errors` names (a `pointer` leads into its definition), and PUT it.",
)
EXECUTION_ALREADY_OVER = ProblemType(
    409,
    "execution-already-over",
    "The execution is over",
    "What has succeeded, failed or been skipped cannot be cancelled; trigger the task to run it once more.",
)
MONTH_ARCHIVED = ProblemType(
    409,
    "month-archived",
    "The month is archived",
    "Begin with a later month, or have the archive restored first: `chronoledger archive restore`.",
)
# Not 503: the service is well, and what was asked for may be a position that the log will never have.
NOT_YET_VISIBLE = ProblemType(
    425,
    "not-yet-visible",
    "The read models are not that far yet",
    "Ask again after `Retry-After`, or leave `min_position` out to read what is there.",
)
NOT_YET_SEALED = ProblemType(
    425,
    "not-yet-sealed",
    "That is not sealed yet",
    "Ask again after `Retry-After`: what is appended is sealed some seconds later.",
)
VERSION_MISMATCH = ProblemType(
    412,
    "version-mismatch",
    "The task has changed meanwhile",
    "Read the task again, repeat your change on it, and send its new ETag in `If-Match`.",
)
BODY_TOO_LARGE = ProblemType(
    413,
    "body-too-large",
    "The body is too large",
    "Make the payload smaller, or raise `MAX_REQUEST_BODY_BYTES` of the service.",
)
TOO_MANY_TASKS = ProblemType(
    413,
    "too-many-tasks",
    "There are too many tasks in one request",
    "Send them in several requests, of at most 1,000 tasks each.",
)
UNSUPPORTED_MEDIA_TYPE = ProblemType(
    415,
    "unsupported-media-type",
    "The body is not declared as JSON",
    "Send `Content-Type: application/json`, uncompressed and in UTF-8 "
    "(curl: `-H 'Content-Type: application/json'`).",
)
INVALID_TASK = ProblemType(
    422,
    "invalid-task",
    "The task breaks a rule",
    "Change what `errors` names: `pointer` is a JSON pointer (RFC 6901) into the body that was sent.",
)
INVALID_BODY = ProblemType(
    422,
    "invalid-body",
    "The body breaks a rule",
    "Change what `errors` names: `pointer` is a JSON pointer (RFC 6901) into the body that was sent.",
)
TOO_MUCH_HISTORY = ProblemType(
    422,
    "too-much-history",
    "Too much would have to be folded",
    "Ask for less: a shorter period of creation, an earlier instant, or a single task.",
)
TOO_MUCH_TO_SIMULATE = ProblemType(
    422,
    "too-much-to-simulate",
    "Too much would have to be simulated",
    "Ask for less: a shorter window, fewer tasks, or a schedule that fires less often.",
)
IDEMPOTENCY_KEY_REUSED = ProblemType(
    422,
    "idempotency-key-reused",
    "The Idempotency-Key stands for another request",
    "Use a new key for a new task; repeat a request with the very same body.",
)
HEAD_TOO_LARGE = ProblemType(
    431,
    "head-too-large",
    "The headers are too large",
    "Send fewer or shorter headers, or a shorter URL: 64 KiB together. The connection is closed.",
)
INTERNAL_ERROR = ProblemType(
    500,
    "internal-error",
    "The service failed",
    "The service's log tells more under the `request_id` of this answer. What was asked may have been done.",
)
SEALS_DAMAGED = ProblemType(
    500,
    "seals-damaged",
    "Some of what proofs are made of is missing",
    "Run `chronoledger verify`, which tells what was changed, and restore the database.",
)
DATABASE_UNAVAILABLE = ProblemType(
    503,
    "database-unavailable",
    "The database does not answer",
    "Try again after `Retry-After`; give a POST an `Idempotency-Key`, so that repeating it is safe.",
)
TOO_BUSY = ProblemType(
    503,
    "too-busy",
    "The service has too much to do at present",
    "Nothing was done: try again after `Retry-After`, with fewer requests at a time.",
)
ARCHIVE_AWAY = ProblemType(
    503,
    "archive-away",
    "An archive that is needed cannot be read",
    "`detail` names it: put its file back to where `ARCHIVE_DIR` says. Nothing is told rather than a part.",
)
READ_MODELS_MISSING = ProblemType(
    503,
    "read-models-missing",
    "The read models are not made yet",
    "Ask again after `Retry-After`; if that does not help, see `/health`: a projector must run.",
)


MOST_HEAD_BYTES = 64 * 1024
"""Of the request line and the headers, together."""


class TooManyRequests(Exception):
    """As many requests as the service takes at a time are in progress; nothing was done."""

    def __init__(self, most: int) -> None:
        super().__init__(f"The service answers {most:,} requests already; try again shortly.")


class NotHttp(Exception):
    """What came cannot be parsed as HTTP/1.1; `complaint` is the parser's, in a few words."""

    def __init__(self, complaint: str) -> None:
        super().__init__(
            f"This cannot be read: {complaint}. Send HTTP/1.1, without TLS, with an encoded URL and no"
            " control characters in headers."
        )


class HeadTooLarge(Exception):
    """The request line and headers are too large together; shorten them."""

    def __init__(self) -> None:
        super().__init__(
            f"The request line and headers have more than {MOST_HEAD_BYTES:,} bytes together; shorten them."
        )


class MalformedBody(Exception):
    """The request's body is not JSON, or there is none; nothing was stored."""


class TooManyTasks(Exception):
    """There are too many tasks in one request; send them in several."""

    def __init__(self, given: int, most: int) -> None:
        super().__init__(f"The request holds {given:,} tasks; send at most {most:,} at once.")


class UnsupportedMediaType(Exception):
    """The request's body is not declared as JSON; send `Content-Type: application/json`."""


class InvalidParameters(Exception):
    """Parameters of the path, the query or the headers are wrong: (name, what to change) of each."""

    def __init__(self, wrong: Sequence[tuple[str, str]]) -> None:
        super().__init__(" ".join(f"{name}: {detail}" for name, detail in wrong))
        self.wrong = tuple(wrong)


class ResultNotFound(Exception):
    """There is no such result; check the id."""

    def __init__(self, result_id: UUID) -> None:
        super().__init__(f"There is no result {result_id}; check the id.")
        self.result_id = result_id


class NotYetVisible(Exception):
    """The read models have not reached `min_position` in time; ask again shortly."""

    def __init__(self, position: int) -> None:
        super().__init__(f"The read models have not reached position {position} yet; ask again shortly.")
        self.position = position


RETRY_AFTER_SECONDS = {
    "database-unavailable": 2,
    "too-busy": 2,
    "read-models-missing": 2,
    "not-yet-visible": 1,
    "not-yet-sealed": 5,
}


PROBLEMS: dict[type[Exception], ProblemType] = {
    ValidationFailed: INVALID_TASK,
    InvalidBody: INVALID_BODY,
    TaskNotFound: TASK_NOT_FOUND,
    ExecutionNotFound: EXECUTION_NOT_FOUND,
    ExecutionAlreadyOver: EXECUTION_ALREADY_OVER,
    ExecutionsArchived: EXECUTIONS_ARCHIVED,
    ExecutionsNotOver: EXECUTIONS_NOT_OVER,
    TaskNotOver: TASK_NOT_OVER,
    RevisionRedacted: REVISION_REDACTED,
    TaskAlreadyOver: TASK_ALREADY_OVER,
    VersionMismatch: VERSION_MISMATCH,
    RevisionIsCurrent: REVISION_IS_CURRENT,
    RevisionInvalid: REVISION_INADMISSIBLE,
    RevisionNotFound: REVISION_NOT_FOUND,
    IdempotencyKeyReused: IDEMPOTENCY_KEY_REUSED,
    MonthArchived: MONTH_ARCHIVED,
    ArchiveAway: ARCHIVE_AWAY,
    LogUnavailable: DATABASE_UNAVAILABLE,
    LogFull: TOO_BUSY,
    TooManyRequests: TOO_BUSY,
    NotHttp: BAD_REQUEST,
    HeadTooLarge: HEAD_TOO_LARGE,
    MalformedBody: MALFORMED_JSON,
    TooManyTasks: TOO_MANY_TASKS,
    UnsupportedMediaType: UNSUPPORTED_MEDIA_TYPE,
    InvalidParameters: INVALID_PARAMETER,
    BadCursor: INVALID_PARAMETER,
    ResultNotFound: RESULT_NOT_FOUND,
    NotYetVisible: NOT_YET_VISIBLE,
    TooMuchHistory: TOO_MUCH_HISTORY,
    HeadNotFound: HEAD_NOT_FOUND,
    EventNotFound: EVENT_NOT_FOUND,
    NotYetSealed: NOT_YET_SEALED,
    SealsDamaged: SEALS_DAMAGED,
    TooMuchToSimulate: TOO_MUCH_TO_SIMULATE,
    ValidationException: INVALID_PARAMETER,
    RequestEntityTooLarge: BODY_TOO_LARGE,
    MethodNotAllowedException: METHOD_NOT_ALLOWED,
    NotFoundException: NOT_FOUND,
    ClientException: BAD_REQUEST,
    psycopg.OperationalError: DATABASE_UNAVAILABLE,
    psycopg.InterfaceError: DATABASE_UNAVAILABLE,
    psycopg.errors.UndefinedTable: READ_MODELS_MISSING,
    # Those of an earlier release, until the projector has rebuilt them.
    psycopg.errors.UndefinedColumn: READ_MODELS_MISSING,
    Exception: INTERNAL_ERROR,
}
BY_SLUG = {problem.slug: problem for problem in PROBLEMS.values()}


def problem_type(error: Exception) -> ProblemType:
    """What the table says about the nearest class of an exception."""
    return next(PROBLEMS[cls] for cls in type(error).__mro__ if cls in PROBLEMS)
