"""The OpenAPI document as a judge of requests: which parameters an operation has, and if a body."""

from __future__ import annotations

import difflib
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, InternalServerException, ValidationException
from litestar.exceptions.http_exceptions import RequestEntityTooLarge
from msgspec import UNSET, Raw, UnsetType

from application.past import TooMuchHistory
from application.ports import ArchiveAway, LogFull
from domain.errors import FieldError, InvalidBody, Refused, ValidationFailed, pointer, shown
from interfaces.http.api import correlation_id
from interfaces.http.documentation import PROBLEM_MEDIA_TYPE, Problem, ProblemError
from interfaces.http.json_body import UNREADABLE
from interfaces.http.problems import (
    BODY_TOO_LARGE,
    INTERNAL_ERROR,
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    RETRY_AFTER_SECONDS,
    InvalidParameters,
    MalformedBody,
    NotYetVisible,
    ProblemType,
    ResultNotFound,
    TooManyRequests,
    TooManyTasks,
    UnsupportedMediaType,
    problem_type,
)
from interfaces.http.shape import MOST_TOLD
from projections.queries import BadCursor

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

# RFC 7240 lets a client spread its preferences over several headers.
_REPEATABLE = "Prefer"


class Contract:
    """What the document promises, so that nothing it does not know is silently ignored."""

    def __init__(self, document: Mapping[str, Any], most_requests: int) -> None:
        """`most_requests` are answered at a time."""
        self._most_requests = most_requests
        self._parameters: dict[tuple[str, str], list[dict[str, Any]]] = {
            (method.upper(), path): operation.get("parameters", [])
            for path, operations in document["paths"].items()
            for method, operation in operations.items()
        }
        self._demanding = {
            key
            for key, parameters in self._parameters.items()
            if any(item["in"] == "query" and item.get("required") for item in parameters)
        }
        self._without_body = {
            (method.upper(), path)
            for path, operations in document["paths"].items()
            for method, operation in operations.items()
            if "requestBody" not in operation
        }

    async def check(self, request: Request[Any, Any, Any]) -> None:
        """Refuses what would be ignored. Raises `InvalidParameters`, `InvalidBody` and `TooManyRequests`."""
        if request.scope["state"]["in_progress"] > self._most_requests and not _always_answered(request):
            raise TooManyRequests(self._most_requests)
        self._check_parameters(request)
        if _key(request) in self._without_body and _has_body(request):
            await self._check_body(request)

    async def _check_body(self, request: Request[Any, Any, Any]) -> None:
        """Refuses a body that says something. Raises `InvalidBody`."""
        known = ", ".join(item["name"] for item in self._of(request) or [])
        nothing = f"This takes no body{f', only the parameters {known}' if known else ''}"
        members = await _members(request)
        if members is None:
            raise InvalidBody([FieldError(pointer="", detail=f"{nothing}: send none.")])
        errors = [
            FieldError(pointer=pointer(name), detail=f"{shown(name)} is not known: leave it out. {nothing}.")
            for name in islice(members, MOST_TOLD)
        ]
        if errors:
            raise InvalidBody(errors)

    def _check_parameters(self, request: Request[Any, Any, Any]) -> None:
        """Refuses what would be ignored (unknown, given twice, or `null`), and a query without what it needs.

        Raises `InvalidParameters`, which names each.
        """
        parameters = self._of(request)
        if parameters is None or (_plain(request) and _key(request) not in self._demanding):
            return
        known = {item["name"]: item for item in parameters if item["in"] == "query"}
        given = request.query_params.dict()
        wrong = [(name, _unknown(name, list(known))) for name in given if name not in known]
        wrong += [(name, "Give it once.") for name in known if len(given.get(name, ())) > 1]
        wrong += [
            _will_not_do(item, "null") for item in known.values() if _null(item, given.get(item["name"], ()))
        ]
        wrong += [(name, "Give it once.") for name in _repeated_headers(request, parameters)]
        wrong += [
            (name, f"It is missing. {item['description']}")
            for name, item in known.items()
            if item.get("required") and name not in given
        ]
        if wrong:
            raise InvalidParameters(wrong)

    def wrong(self, request: Request[Any, Any, Any], place: str, key: str) -> tuple[str, str]:
        """The public name of the parameter that a handler calls `key`, and what to change about it."""
        there = [parameter for parameter in self._of(request) or [] if parameter["in"] == place]
        named = [parameter for parameter in there if _as_argument(parameter["name"]) == key.rstrip("_")]
        # Handlers call the `id` of a path by what it is the id of.
        for parameter in named or (there if place == "path" else []):
            return _will_not_do(parameter, _given(request, parameter))
        return key, "It cannot be read: see the OpenAPI document."

    def _of(self, request: Request[Any, Any, Any]) -> list[dict[str, Any]] | None:
        return self._parameters.get(_key(request))


def _always_answered(request: Request[Any, Any, Any]) -> bool:
    """Whether the request asks how the service is doing, which is to be told when it is too busy as well."""
    return request.scope["path"].removeprefix("/api/v1").startswith(("/health", "/metrics"))


def _key(request: Request[Any, Any, Any]) -> tuple[str, str]:
    return request.method, request.scope.get("path_template", "")


def _plain(request: Request[Any, Any, Any]) -> bool:
    """Whether there is nothing that could be wrong, as with most requests: no query, no header twice."""
    names = [name for name, _ in request.scope["headers"]]
    return not request.scope["query_string"] and len(set(names)) == len(names)


def _has_body(request: Request[Any, Any, Any]) -> bool:
    """Whether there may be one: HTTP/1.1 declares it, be it empty."""
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
        for name, value in request.scope["headers"]
    )


async def _members(request: Request[Any, Any, Any]) -> Mapping[str, Raw] | None:
    """Those of the body's object: none where it says nothing; None: it is something else."""
    try:
        body = await request.body()
        return msgspec.json.decode(body.strip() or b"{}", type=dict[str, Raw] | None) or {}
    except (*UNREADABLE, RequestEntityTooLarge):
        return None


def _repeated_headers(
    request: Request[Any, Any, Any], parameters: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    for item in parameters:
        name = item["name"]
        if item["in"] == "header" and name != _REPEATABLE and len(request.headers.getall(name, [])) > 1:
            yield name


def _as_argument(name: str) -> str:
    return name.lower().replace("-", "_")


def _given(request: Request[Any, Any, Any], parameter: Mapping[str, Any]) -> Any:
    places: dict[str, Mapping[str, Any]] = {
        "query": request.query_params,
        "path": request.path_params,
        "header": request.headers,
    }
    return places[parameter["in"]].get(parameter["name"], "")


def _will_not_do(parameter: Mapping[str, Any], value: Any) -> tuple[str, str]:
    text = shown(value)
    # Quotes may be what is wrong with a header: an ETag needs them.
    given = f"`{text[1:-1]}`" if parameter["in"] == "header" else text
    return parameter["name"], f"{given} will not do. {parameter['description']}"


def _null(parameter: Mapping[str, Any], values: Sequence[str]) -> bool:
    # msgspec takes the word for None, as if the parameter had been left out; only free text may be that word.
    schema = parameter["schema"]
    free_text = schema["type"] == "string" and not {"enum", "format"} & set(schema)
    return not free_text and "null" in (value.lower() for value in values)


def _unknown(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name[:100], known, n=1)
    hint = f"did you mean {shown(close[0])}?" if close else "leave it out."
    listed = f" Known are {', '.join(known)}." if known else ""
    return f"{shown(name)} is not a parameter here: {hint}{listed}"


_log = structlog.get_logger(__name__)

# The sentences of these are meant for the one who asked.
_OUTSPOKEN = (
    *(Refused, MalformedBody, TooManyTasks, UnsupportedMediaType),
    *(InvalidParameters, ResultNotFound, NotYetVisible, TooMuchHistory, ArchiveAway),
    *(TooManyRequests, LogFull),
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
        case ValidationFailed():
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
