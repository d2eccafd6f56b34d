"""Which calls are admitted: what is stored is sent as it stands, so nothing may need repair later."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from domain.admission_fields import range_errors
from domain.admission_headers import header_errors
from domain.admission_url import url_advice
from domain.definition import Action
from domain.errors import FieldError
from domain.wording import pointer, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
"""RFC 9110 without CONNECT and TRACE, which are no calls of a resource, and PATCH of RFC 5789."""

LONGEST_TIMEOUT_SECONDS = 3600
MOST_REDIRECTS = 10

_JSON_MEDIA_TYPE = re.compile(r"[^;]*[/+]json\s*(;.*)?", re.IGNORECASE)


def action_errors(action: Action) -> Iterator[FieldError]:
    """What is wrong with the call. A payload is allowed with every method: some servers read a GET's."""
    if not action.method.isascii() or action.method.upper() not in METHODS:
        detail = f"The method {shown(action.method)} is not supported; give one of {', '.join(METHODS)}."
        yield FieldError(pointer=pointer("action", "method"), detail=detail)
    if advice := url_advice(action.url):
        yield FieldError(pointer=pointer("action", "url"), detail=advice)
    yield from header_errors(action.headers)
    if advice := _payload_advice(action):
        yield FieldError(pointer=pointer("action", "payload"), detail=advice)
    if not 0 < action.timeout_seconds <= LONGEST_TIMEOUT_SECONDS:
        given = shown(action.timeout_seconds)
        detail = f"The timeout {given} is out of range; give more than 0 and at most 3600 seconds."
        yield FieldError(pointer=pointer("action", "timeout_seconds"), detail=detail)
    if advice := _connect_timeout_advice(action):
        yield FieldError(pointer=pointer("action", "connect_timeout_seconds"), detail=advice)
    yield from range_errors(("action", "max_redirects"), action.max_redirects, 0, MOST_REDIRECTS)


def normal_action(action: Action) -> Action:
    """An admissible call as it is stored: the method in upper case, header values without blanks around."""
    headers = {name: value.strip(" \t") for name, value in action.headers.items()}
    return replace(action, method=action.method.upper(), headers=headers)


def _connect_timeout_advice(action: Action) -> str | None:
    bound, longest = action.connect_timeout_seconds, action.timeout_seconds
    if bound is None or 0 < bound <= longest:
        return None
    if 0 < longest < bound:
        return (
            f"connect_timeout_seconds {shown(bound)} is longer than the whole call may take; "
            f"give at most timeout_seconds ({longest:g}), or leave it out."
        )
    given = shown(bound)
    return f"connect_timeout_seconds {given} is out of range; give more than 0 and at most timeout_seconds."


def _payload_advice(action: Action) -> str | None:
    try:
        msgspec.json.encode(action.payload)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return "The payload is not JSON, or nested too deeply; simplify it, or give it as a string."
    if action.payload is None or isinstance(action.payload, str):
        return None
    types = [value for name, value in action.headers.items() if name.lower() == "content-type"]
    if all(_JSON_MEDIA_TYPE.fullmatch(value.strip()) for value in types):
        return None
    return (
        "A payload that is not a string is sent as JSON, but Content-Type says otherwise;"
        " drop that header, or make the payload a string, which is then sent as it is."
    )
