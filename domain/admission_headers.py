"""Which request headers are admitted. A value may be a secret: only a wrong character of it is shown."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from domain.errors import FieldError
from domain.wording import pointer, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MOST_HEADERS = 100
LONGEST_VALUE = 8 * 1024
LONGEST_TOGETHER = 32 * 1024

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
# RFC 9110, 5.5, and no C1 controls. What ISO 8859-1 cannot encode is named apart.
_FORBIDDEN_IN_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")
_NOT_LATIN_1 = re.compile(r"[^\x00-\xff]")

_SET_BY_THE_CALL = {
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}


def header_errors(headers: Mapping[str, str]) -> Iterator[FieldError]:
    """What is wrong with the headers, one error a name."""
    if not headers:
        return
    where = pointer("action", "headers")
    if len(headers) > MOST_HEADERS:
        yield FieldError(
            pointer=where, detail=f"There are {len(headers)} headers; give at most {MOST_HEADERS}."
        )
        return
    if sum(len(name) + len(value) for name, value in headers.items()) > LONGEST_TOGETHER:
        yield FieldError(
            pointer=where, detail="The headers have more than 32,768 characters together; shorten them."
        )
    spellings = Counter(name.lower() for name in headers)
    for name, value in headers.items():
        repeated = spellings[name.lower()] > 1
        if advice := _name_advice(name, repeated=repeated) or _value_advice(name, value):
            yield FieldError(pointer=pointer("action", "headers", name), detail=advice)


def _name_advice(name: str, *, repeated: bool) -> str | None:
    if not _TOKEN.fullmatch(name):
        return f"The header name {shown(name)} is not valid; use letters, digits and !#$%&'*+-.^_`|~ only."
    if name.lower() in _SET_BY_THE_CALL or name.lower().startswith("proxy-"):
        return f"{shown(name)} belongs to the connection and is set when the call is made; leave it out."
    if repeated:
        return f"{shown(name)} is given more than once, in different case; give one header with all values."
    return None


def _value_advice(name: str, value: str) -> str | None:
    if len(value) > LONGEST_VALUE:
        return f"The value of {shown(name)} has {len(value)} characters; give at most {LONGEST_VALUE:,}."
    if strange := _FORBIDDEN_IN_VALUE.search(value):
        return f"The value of {shown(name)} contains the control character {shown(strange[0])}; leave it out."
    if strange := _NOT_LATIN_1.search(value):
        return f"The value of {shown(name)} contains {shown(strange[0])}, which ISO 8859-1 lacks; encode it."
    return None
