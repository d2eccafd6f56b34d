"""Answers as the OpenAPI document describes them: their headers, and the problems that may come instead."""

from typing import Annotated

from litestar.datastructures import ResponseHeader
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from msgspec import UNSET, Meta, Struct, UnsetType

from interfaces.http.answers import HealthReport
from interfaces.http.problems import (
    BAD_REQUEST,
    DATABASE_UNAVAILABLE,
    HEAD_TOO_LARGE,
    INTERNAL_ERROR,
    INVALID_BODY,
    INVALID_PARAMETER,
    NOT_YET_VISIBLE,
    READ_MODELS_MISSING,
    TOO_BUSY,
    UNSUPPORTED_MEDIA_TYPE,
    ProblemType,
)

PROBLEM_MEDIA_TYPE = "application/problem+json"
READING = (DATABASE_UNAVAILABLE, READ_MODELS_MISSING, NOT_YET_VISIBLE)


class ProblemError(Struct, frozen=True, kw_only=True):
    """One thing that is wrong with the request: a member of its body, or a parameter."""

    detail: Annotated[str, Meta(description="What to change.")]
    pointer: Annotated[str, Meta(description="JSON pointer (RFC 6901) into the body.")] | UnsetType = UNSET
    parameter: (
        Annotated[str, Meta(description="Name of a parameter of path or query, or of a header.")] | UnsetType
    ) = UNSET


class Problem(Struct, frozen=True, kw_only=True):
    """Why a request was not fulfilled, by RFC 9457."""

    type: Annotated[
        str, Meta(description="Stable name of the kind of problem; a GET on it explains it.", min_length=1)
    ]
    title: str
    status: int
    detail: Annotated[str, Meta(description="What to change.")]
    instance: Annotated[str, Meta(description="The path that was asked for.")]
    request_id: Annotated[str, Meta(description="The answer's `X-Request-ID`, to look for in the log.")]
    errors: list[ProblemError] | UnsetType = UNSET


_EXAMPLES = {
    "invalid-task": ProblemError(
        pointer="/trigger/cron",
        detail='The minute "61" is not accepted: give 0-59, a list (1,2), a range (1-5), * or */2.',
    ),
    "invalid-parameter": ProblemError(
        parameter="limit", detail='"0" will not do: Items on a page: a whole number from 1 to 200.'
    ),
}


def _documented_header(name: str, example: str, description: str) -> ResponseHeader:
    return ResponseHeader(name=name, value=example, description=description, documentation_only=True)


LOCATION = _documented_header("Location", "/api/v1/tasks/0194…", "Where the new task is.")
EXECUTION_LOCATION = _documented_header("Location", "/api/v1/executions/8194…", "Where the new execution is.")
ETAG = _documented_header("ETag", '"1"', "The task's version, quoted: what `If-Match` takes.")
EVENT_POSITION = _documented_header(
    "X-Event-Position", "42", "Where the log holds the change: what `min_position` takes."
)
LAST_EVENT_POSITION = _documented_header(
    "X-Event-Position",
    "42",
    "Where the log holds the last of the tasks: what `min_position` takes. Missing when all were refused.",
)
READ_TO = _documented_header(
    "X-Event-Position",
    "42",
    "Of lines: the position up to which they were read, where the next read goes on.",
)
REFLECTED_POSITION = _documented_header(
    "X-Event-Position",
    "42",
    "With `as_of` or `as_of_position`: the position of the log that the answer reflects.",
)
PREFERENCE_APPLIED = _documented_header(
    "Preference-Applied", "respond-async", "Set when the answer did not wait for the lists."
)
REQUEST_ID = _documented_header(
    "X-Request-ID",
    "0194…",
    "The id of this request in log and events: the one that was sent, if it was sane.",
)

UNHEALTHY = {
    503: ResponseSpec(
        HealthReport,
        generate_examples=False,
        description="Something does not work: `checks` says what.",
        examples=[
            Example(
                id="unhealthy",
                summary="The database is away",
                value={
                    "status": "unhealthy",
                    "checks": {
                        "database": {"status": "unhealthy", "detail": "The database does not answer."}
                    },
                },
            )
        ],
    )
}


def some_refused(answer: type[Struct]) -> dict[int, ResponseSpec]:
    """The answer to a request that was fulfilled in parts."""
    return {
        207: ResponseSpec(
            answer,
            generate_examples=False,
            description="At least one task was refused: `items` says which, and why; the others are there.",
        )
    }


def problems(*kinds: ProblemType) -> dict[int, ResponseSpec]:
    """The problems that a route may answer with, by status; any route may be asked wrongly, and may fail
    or be too busy.

    Without a body of its own, which is of some media type, it refuses every other.
    """
    body = () if UNSUPPORTED_MEDIA_TYPE in kinds else (INVALID_BODY,)
    every = [BAD_REQUEST, INVALID_PARAMETER, *kinds, *body, HEAD_TOO_LARGE, INTERNAL_ERROR, TOO_BUSY]
    statuses = sorted({kind.status for kind in every})
    return {status: _answer([kind for kind in every if kind.status == status]) for status in statuses}


def _answer(kinds: list[ProblemType]) -> ResponseSpec:
    return ResponseSpec(
        Problem,
        generate_examples=False,
        description=" Or: ".join(f"{kind.title}. {kind.advice}" for kind in kinds),
        media_type=PROBLEM_MEDIA_TYPE,
        examples=[Example(id=kind.slug, summary=kind.title, value=_example(kind)) for kind in kinds],
    )


def _example(kind: ProblemType) -> dict[str, object]:
    problem: dict[str, object] = {
        "type": kind.uri,
        "title": kind.title,
        "status": kind.status,
        "detail": kind.advice,
        "instance": "/api/v1/tasks",
        "request_id": "0194f2b1c6d87a3e9f10aa54c1d2e3f4",
    }
    if kind.slug in _EXAMPLES:
        error = _EXAMPLES[kind.slug]
        problem["detail"] = error.detail
        problem["errors"] = [{name: value for name, value in _members(error) if value is not UNSET}]
    return problem


def _members(error: ProblemError) -> list[tuple[str, object]]:
    return [(name, getattr(error, name)) for name in error.__struct_fields__]
