"""From an action to the request that is sent: built once a definition, then stamped for each attempt."""

from __future__ import annotations

import base64
import re
from collections import OrderedDict
from datetime import UTC
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

import httpx
import msgspec
from multidict import CIMultiDict

from infrastructure.http_caller.outgoing import HEADER_ENCODING, Outgoing
from infrastructure.http_caller.text import codec_of, named_charset

if TYPE_CHECKING:
    from datetime import datetime

    from application.ports import Call
    from domain.definition import Action

IDEMPOTENCY_KEY = "idempotency-key"
ATTEMPT = "x-chronoledger-attempt"
DUE_AT = "x-chronoledger-due-at"
CONNECTION = "connection"

FOLLOWS_FROM_THE_PAYLOAD = frozenset({"content-length", "transfer-encoding"})
HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
WRITTEN_URL = re.compile(r"([^/?#]*//[^/?#]*)([^?#]*)([^#]*)")
VISIBLE_ASCII = re.compile(r"[!-~]*")
FORBIDDEN_IN_VALUES = re.compile(r"[\r\n\0]")
HIGHEST_PORT = 65_535
LARGE_BODY_BYTES = 16_384


class Unsendable(Exception):
    """The action makes no request; the sentence says what to change. It never quotes values."""


class RequestFactory:
    """Makes the requests of attempts; keeps what is built of up to `size` actions, the latest used.

    An action is recognised by identity: comparing payloads costs more than building. Requests with large
    bodies are not kept, so that the memory stays within `size` times 16 KiB.
    """

    def __init__(self, user_agent: str, *, size: int = 1024) -> None:
        self._user_agent = user_agent
        self._size = size
        self._built: OrderedDict[int, tuple[Action, Outgoing]] = OrderedDict()

    def request(self, call: Call) -> Outgoing:
        """A request of its own for one attempt. Raises `Unsendable`."""
        return self._template(call.action).stamped(marks(call))

    def _template(self, action: Action) -> Outgoing:
        # The entry holds the action itself: its id is not given to another object as long as it is here.
        entry = self._built.get(id(action))
        if entry is not None:
            self._built.move_to_end(id(action))
            return entry[1]
        template = build(action, self._user_agent)
        if len(template.content) <= LARGE_BODY_BYTES:
            self._built[id(action)] = (action, template)
            if len(self._built) > self._size:
                self._built.popitem(last=False)
        return template


def marks(call: Call) -> dict[str, str]:
    """What tells the receiver which attempt this is; headers of the user's own with these names win."""
    told = {
        IDEMPOTENCY_KEY: str(call.execution_id),
        ATTEMPT: str(call.number),
        DUE_AT: timestamp(call.due_at),
    }
    if call.once:
        told[CONNECTION] = "close"  # it serves no other request
    return told


def timestamp(instant: datetime) -> str:
    """An instant in UTC to the millisecond, as RFC 3339 writes it."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def build(action: Action, user_agent: str) -> Outgoing:
    """The action's request without the marks of an attempt. Raises `Unsendable`."""
    where, target = taken_apart(action.url)
    site, authorization = site_of(where)
    fields: CIMultiDict[str] = CIMultiDict()
    for name, value in action.headers.items():
        check_header(name, value)
        if name.lower() not in FOLLOWS_FROM_THE_PAYLOAD:
            fields[name.lower()] = value
    content, implied_type = body(action.payload, fields.get("content-type"))
    defaults = (
        ("user-agent", user_agent),
        ("accept", "*/*"),
        ("accept-encoding", "identity"),
        ("content-type", implied_type),
        ("authorization", authorization),
    )
    for name, default in defaults:
        if default is not None:
            fields.setdefault(name, default)
    return Outgoing(action.method, site, target, fields, content or b"")


@lru_cache(maxsize=4096)
def site_of(where: str) -> tuple[str, str | None]:
    """Scheme and authority as they are called, and what a user and password there mean as a header.

    Raises `Unsendable`.
    """
    url = parsed(where)
    return f"{url.scheme}://{url.netloc.decode()}", basic_authorization(url)


def parsed(url: str) -> httpx.URL:
    """The URL, if it can be called. Raises `Unsendable`."""
    try:
        result = httpx.URL(url)
    except httpx.InvalidURL:
        raise Unsendable("the URL cannot be parsed; correct action.url") from None
    if result.scheme not in ("http", "https") or not result.raw_host:
        raise Unsendable("the URL is not an absolute http or https URL; correct action.url")
    if result.port is not None and not 0 < result.port <= HIGHEST_PORT:
        raise Unsendable("the URL's port is not between 1 and 65535; correct action.url")
    return result


def taken_apart(url: str) -> tuple[str, str]:
    """Scheme and authority of an absolute URL; and its path and query as they are written.

    Any other spelling breaks a signature. Raises `Unsendable`.
    """
    written = WRITTEN_URL.match(url)
    if written is None:
        raise Unsendable("the URL is not an absolute http or https URL; correct action.url")
    where, path, query = written.groups()
    if not VISIBLE_ASCII.fullmatch(path + query):
        raise Unsendable("the URL has characters that must be percent-encoded; correct action.url")
    return where, (path or "/") + query


def basic_authorization(url: httpx.URL) -> str | None:
    """What the URL's own user name and password mean as a header (RFC 7617, UTF-8)."""
    if not url.userinfo:
        return None
    user, _, password = url.userinfo.partition(b":")
    return "Basic " + base64.b64encode(unquote_to_bytes(user) + b":" + unquote_to_bytes(password)).decode()


def check_header(name: str, value: str) -> None:
    """That a header can be sent, its value in ISO 8859-1. Raises `Unsendable`."""
    if HEADER_NAME.fullmatch(name) is None:
        raise Unsendable(f"{name!r} is not a header name (RFC 9110 token); correct action.headers")
    if FORBIDDEN_IN_VALUES.search(value):
        raise Unsendable(f"the value of header {name} has a line break or NUL in it; correct action.headers")
    try:
        value.encode(HEADER_ENCODING)
    except UnicodeEncodeError:
        raise Unsendable(
            f"the value of header {name} has characters that ISO 8859-1 lacks; correct action.headers"
        ) from None


def body(payload: Any, content_type: str | None) -> tuple[bytes | None, str | None]:
    """The bytes to send and the Content-Type that they imply. Raises `Unsendable`.

    A string under a Content-Type of the user's own goes out as it is; everything else is JSON.
    """
    if payload is None:
        return None, None
    if not isinstance(payload, str) or content_type is None:
        return msgspec.json.encode(payload), "application/json"
    charset = named_charset(content_type) or "utf-8"
    codec = codec_of(charset)
    if codec is None:
        raise Unsendable(f"Content-Type names the charset {charset}, which is not known; use utf-8")
    try:
        return payload.encode(codec), None
    except UnicodeEncodeError:
        raise Unsendable(f"the payload has characters that {charset} lacks; use utf-8") from None
