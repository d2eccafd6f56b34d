"""The one table from what went wrong to the kind of problem that HTTP tells of (RFC 9457)."""

from __future__ import annotations

import psycopg
from litestar.exceptions import (
    ClientException,
    MethodNotAllowedException,
    NotFoundException,
    ValidationException,
)
from litestar.exceptions.http_exceptions import RequestEntityTooLarge

from application.archived import ArchiveAway
from application.audit import EventNotFound, HeadNotFound, NotYetSealed, SealsDamaged
from application.past.moment import TooMuchHistory
from application.ports import LogUnavailable
from application.what_if.question import TooMuchToSimulate
from domain.errors import (
    ExecutionAlreadyOver,
    ExecutionNotFound,
    ExecutionsArchived,
    ExecutionsNotOver,
    IdempotencyKeyReused,
    Inadmissible,
    InvalidBody,
    MonthArchived,
    RevisionInadmissible,
    RevisionIsCurrent,
    RevisionNotFound,
    RevisionRedacted,
    TaskAlreadyOver,
    TaskNotFound,
    TaskNotOver,
    VersionMismatch,
)
from interfaces.http.problem_types import (
    ARCHIVE_AWAY,
    BAD_REQUEST,
    BODY_TOO_LARGE,
    DATABASE_UNAVAILABLE,
    EVENT_NOT_FOUND,
    EXECUTION_ALREADY_OVER,
    EXECUTION_NOT_FOUND,
    EXECUTIONS_ARCHIVED,
    EXECUTIONS_NOT_OVER,
    HEAD_NOT_FOUND,
    HEAD_TOO_LARGE,
    IDEMPOTENCY_KEY_REUSED,
    INTERNAL_ERROR,
    INVALID_BODY,
    INVALID_PARAMETER,
    INVALID_TASK,
    MALFORMED_JSON,
    METHOD_NOT_ALLOWED,
    MONTH_ARCHIVED,
    NOT_FOUND,
    NOT_YET_SEALED,
    NOT_YET_VISIBLE,
    READ_MODELS_MISSING,
    RESULT_NOT_FOUND,
    REVISION_INADMISSIBLE,
    REVISION_IS_CURRENT,
    REVISION_NOT_FOUND,
    REVISION_REDACTED,
    SEALS_DAMAGED,
    TASK_ALREADY_OVER,
    TASK_NOT_FOUND,
    TASK_NOT_OVER,
    TOO_MANY_TASKS,
    TOO_MUCH_HISTORY,
    TOO_MUCH_TO_SIMULATE,
    UNSUPPORTED_MEDIA_TYPE,
    VERSION_MISMATCH,
    ProblemType,
)
from interfaces.http.refusals import (
    HeadTooLarge,
    InvalidParameters,
    MalformedBody,
    NotHttp,
    NotYetVisible,
    ResultNotFound,
    TooManyTasks,
    UnsupportedMediaType,
)
from projections.reader import BadCursor

RETRY_AFTER_SECONDS = {
    "database-unavailable": 2,
    "read-models-missing": 2,
    "not-yet-visible": 1,
    "not-yet-sealed": 5,
}


PROBLEMS: dict[type[Exception], ProblemType] = {
    Inadmissible: INVALID_TASK,
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
    RevisionInadmissible: REVISION_INADMISSIBLE,
    RevisionNotFound: REVISION_NOT_FOUND,
    IdempotencyKeyReused: IDEMPOTENCY_KEY_REUSED,
    MonthArchived: MONTH_ARCHIVED,
    ArchiveAway: ARCHIVE_AWAY,
    LogUnavailable: DATABASE_UNAVAILABLE,
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
