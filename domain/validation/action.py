"""Which calls are valid: what is stored is sent as it stands, so nothing may need repair later."""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

import msgspec
from msgspec.structs import replace

from domain.definition import Action
from domain.errors import FieldError, pointer, shown
from domain.validation.policies import range_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

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


LONGEST_URL = 2048

_FOREIGN = re.compile(r"[^!#-;=?-\[\]_a-z~]")
_LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2}).{0,2}")
_USER = re.compile(r"[^/?#]*//[^/?#]*@")

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*\.?")
_IPV6 = re.compile(r"\[[0-9a-f:.]+\](?::[0-9]*)?", re.IGNORECASE)
# Systems read 127.1, 0x7f.1 and 2130706433 as addresses: only four decimal numbers are what they look like.
_NUMERIC = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?")


def url_advice(url: str) -> str | None:
    """What to change about the URL, in one sentence; None if nothing."""
    if _USER.match(url):  # first of all: no other sentence may show a password
        return "The URL holds a user or password, which the task would show; use an Authorization header."
    if advice := _letters_advice(url):
        return advice
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return f"The URL {shown(url)} cannot be read; check the host, its brackets and the port (1-65535)."
    return _parts_advice(url, parts, port)


def _letters_advice(url: str) -> str | None:
    if len(url) > LONGEST_URL:
        return f"The URL has {len(url)} characters; give at most {LONGEST_URL:,}."
    if foreign := _FOREIGN.search(url):
        advice = "percent-encode it (a blank is %20), and give an international host in its xn-- form."
        return f"The URL {shown(url)} contains {shown(foreign[0])}; {advice}"
    if lone := _LONE_PERCENT.search(url):
        return f"The URL {shown(url)} contains {shown(lone[0])}; write %25 for a percent sign."
    return None


def _parts_advice(url: str, parts: SplitResult, port: int | None) -> str | None:
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        return f"The URL {shown(url)} does not start with http:// or https:// and a host; give one that does."
    if port == 0 or not _host_is_valid(parts.netloc, parts.hostname or ""):
        advice = "give a name, an IPv4 or [IPv6] address, and a port 1-65535 if any."
        return f"The URL's host {shown(parts.netloc)} is not valid; {advice}"
    if "#" in url:
        return f"The URL ends in {shown(url[url.index('#') :])}, which is never sent; leave it out."
    return None


@lru_cache(maxsize=1024)  # many tasks call few hosts
def _host_is_valid(netloc: str, host: str) -> bool:
    if netloc.startswith("["):
        return bool(_IPV6.fullmatch(netloc)) and _is_read_by(IPv6Address, host)
    if _NUMERIC.fullmatch(host):
        return _is_read_by(IPv4Address, host)
    return bool(_NAME.fullmatch(host))


def _is_read_by(read: Callable[[str], object], host: str) -> bool:
    try:
        read(host)
    except ValueError:
        return False
    return True


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
