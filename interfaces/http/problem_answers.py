"""Turns what was raised into `application/problem+json`; nothing internal leaves the service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, InternalServerException, ValidationException
from msgspec import UNSET, UnsetType

from application.archived import ArchiveAway
from application.past.moment import TooMuchHistory
from domain.errors import Inadmissible, Refused
from domain.wording import shown
from interfaces.http.api import correlation_id
from interfaces.http.documentation import PROBLEM_MEDIA_TYPE, Problem, ProblemError
from interfaces.http.problem_types import (
    BODY_TOO_LARGE,
    INTERNAL_ERROR,
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    ProblemType,
)
from interfaces.http.problems import RETRY_AFTER_SECONDS, problem_type
from interfaces.http.refusals import (
    InvalidParameters,
    MalformedBody,
    NotYetVisible,
    ResultNotFound,
    TooManyTasks,
    UnsupportedMediaType,
)
from projections.reader import BadCursor

if TYPE_CHECKING:
    from collections.abc import Iterable

    from interfaces.http.contract import Contract

_log = structlog.get_logger(__name__)

# The sentences of these are meant for the one who asked.
_OUTSPOKEN = (
    *(Refused, MalformedBody, TooManyTasks, UnsupportedMediaType),
    *(InvalidParameters, ResultNotFound, NotYetVisible, TooMuchHistory, ArchiveAway),
)


class ProblemAnswers:
    """The exception handler of the application; the contract tells what a wrong parameter may be."""

    def __init__(self, contract: Contract) -> None:
        self._contract = contract

    def answer(self, request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
        """The problem that an exception means to the one who asked."""
        error = self._told_apart(request, error)
        kind = problem_type(error)
        if kind is INTERNAL_ERROR:
            _log.error("request_failed", request_id=correlation_id(request), exc_info=error)
        return Response(
            problem(request, error),
            status_code=kind.status,
            headers=_headers(kind, error),
            media_type=PROBLEM_MEDIA_TYPE,
        )

    def _told_apart(self, request: Request[Any, Any, Any], error: Exception) -> Exception:
        if isinstance(error, InternalServerException) and "disconnected" in error.detail:
            # Nobody is left to read it; but it is no fault of the service, and must not be counted as one.
            return MalformedBody("The connection ended before the body did.")
        if not isinstance(error, ValidationException):
            return error
        found = [item for item in error.extra or [] if isinstance(item, dict)]
        if any(item.get("key") == "data" for item in found):
            return MalformedBody("The request has no body: send one JSON object.")
        return InvalidParameters(
            [self._contract.wrong(request, item.get("source", ""), item.get("key", "")) for item in found]
        )


def problem(request: Request[Any, Any, Any], error: Exception) -> Problem:
    """What an exception means to the one who asked, by the table."""
    kind = problem_type(error)
    return Problem(
        type=kind.uri,
        title=kind.title,
        status=kind.status,
        detail=_detail(kind, error, request),
        instance=quote(request.scope["path"]),
        request_id=correlation_id(request),
        errors=_errors(error),
    )


def _detail(kind: ProblemType, error: Exception, request: Request[Any, Any, Any]) -> str:
    if isinstance(error, _OUTSPOKEN):
        return str(error)
    if kind is NOT_FOUND:
        return f"There is nothing at {shown(request.scope['path'])}. {kind.advice}"
    if kind is METHOD_NOT_ALLOWED and isinstance(error, HTTPException):
        return f"{shown(request.method)} is not allowed here: use one of {_allowed(error)}."
    if kind is BODY_TOO_LARGE:
        limit = request.route_handler.resolve_request_max_body_size()
        return f"The body has more than {limit} bytes. {kind.advice}"
    if isinstance(error, BadCursor):
        return f"cursor: {error}"
    if isinstance(error, HTTPException) and kind is not INTERNAL_ERROR:
        return f"{error.detail}. {kind.advice}"
    return kind.advice


def _errors(error: Exception) -> list[ProblemError] | UnsetType:
    match error:
        case Inadmissible():
            return [ProblemError(pointer=wrong.pointer, detail=wrong.detail) for wrong in error.errors]
        case InvalidParameters():
            return [ProblemError(parameter=name, detail=detail) for name, detail in error.wrong]
        case BadCursor():
            return [ProblemError(parameter="cursor", detail=str(error))]
        case _:
            return UNSET


def _headers(kind: ProblemType, error: Exception) -> dict[str, str]:
    if kind.slug in RETRY_AFTER_SECONDS:
        return {"Retry-After": str(RETRY_AFTER_SECONDS[kind.slug])}
    if kind is METHOD_NOT_ALLOWED and isinstance(error, HTTPException):
        return {"Allow": _allowed(error)}
    return {}


def allow(methods: Iterable[str]) -> str:
    """The value of an Allow header: Litestar does not know that HEAD is answered wherever there is a GET."""
    known = set(methods)
    return ", ".join(sorted(known | {"HEAD"} if "GET" in known else known))


def _allowed(error: HTTPException) -> str:
    return allow((error.headers or {}).get("allow", "").split(", "))
