"""From an action to the request that is sent: built once a definition, then stamped for each attempt."""

from __future__ import annotations

import base64
import copy
import re
from collections import OrderedDict
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes
from uuid import UUID

import httpx
import msgspec

from infrastructure.http_caller.text import codec_of, named_charset
from infrastructure.http_caller.verbatim import HEADER_ENCODING, TARGET

if TYPE_CHECKING:
    from domain.definition import Action

IDEMPOTENCY_KEY = "Idempotency-Key"
ATTEMPT = "X-Chronoledger-Attempt"

# The first two are stamped on each attempt; the framing follows from the payload.
NOT_FOR_THE_USER = frozenset(
    {IDEMPOTENCY_KEY.lower(), ATTEMPT.lower(), "content-length", "transfer-encoding"}
)
HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
WRITTEN_URL = re.compile(r"[^/?#]*//[^/?#]*(?P<path>[^?#]*)(?P<query>[^#]*)")
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
        self._built: OrderedDict[int, tuple[Action, httpx.Request]] = OrderedDict()

    def request(self, action: Action, execution_id: UUID, number: int) -> httpx.Request:
        """A request of its own for one attempt. Raises `Unsendable`."""
        return stamped(self._template(action), execution_id, number)

    def _template(self, action: Action) -> httpx.Request:
        # The entry holds the action itself: its id is not given to another object as long as it is here.
        entry = self._built.get(id(action))
        if entry is not None:
            self._built.move_to_end(id(action))
            return entry[1]
        request = build(action, self._user_agent)
        if len(request.content) <= LARGE_BODY_BYTES:
            self._built[id(action)] = (action, request)
            if len(self._built) > self._size:
                self._built.popitem(last=False)
        return request


def stamped(template: httpx.Request, execution_id: UUID, number: int) -> httpx.Request:
    """A copy for one attempt: those of one definition may overlap, so none changes the template."""
    request = copy.copy(template)
    request.stream, request.extensions = template.stream, template.extensions
    request.headers = httpx.Headers(
        [
            *template.headers.raw,
            (IDEMPOTENCY_KEY.encode(), str(execution_id).encode()),
            (ATTEMPT.encode(), str(number).encode()),
        ],
        encoding=HEADER_ENCODING,
    )
    return request


def build(action: Action, user_agent: str) -> httpx.Request:
    """The action's request without the marks of an attempt. Raises `Unsendable`."""
    url = parsed(action.url)
    headers = {name.lower(): (name, value) for name, value in action.headers.items()}
    content_type = headers["content-type"][1] if "content-type" in headers else None
    content, implied_type = body(action.payload, content_type)
    defaults = {
        "User-Agent": user_agent,
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "Content-Type": implied_type,
        "Authorization": basic_authorization(url),
    }
    for name, value in defaults.items():
        if value is not None:
            headers.setdefault(name.lower(), (name, value))
    pairs = [encoded(*pair) for name, pair in headers.items() if name not in NOT_FOR_THE_USER]
    if url.userinfo:
        url = url.copy_with(username=None, password=None)
    extensions = {TARGET: target(action.url)}
    return httpx.Request(action.method, url, headers=pairs, content=content, extensions=extensions)


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


def target(url: str) -> bytes:
    """The path and query of an absolute URL as they are written: any other spelling breaks a signature.

    Raises `Unsendable`.
    """
    written = WRITTEN_URL.match(url)
    if written is None or not VISIBLE_ASCII.fullmatch(path_and_query := written["path"] + written["query"]):
        raise Unsendable("the URL has characters that must be percent-encoded; correct action.url")
    return (path_and_query if written["path"] else f"/{path_and_query}").encode()


def basic_authorization(url: httpx.URL) -> str | None:
    """What the URL's own user name and password mean as a header (RFC 7617, UTF-8)."""
    if not url.userinfo:
        return None
    user, _, password = url.userinfo.partition(b":")
    return "Basic " + base64.b64encode(unquote_to_bytes(user) + b":" + unquote_to_bytes(password)).decode()


def encoded(name: str, value: str) -> tuple[bytes, bytes]:
    """A header as bytes, its value in ISO 8859-1. Raises `Unsendable`."""
    if HEADER_NAME.fullmatch(name) is None:
        raise Unsendable(f"{name!r} is not a header name (RFC 9110 token); correct action.headers")
    if FORBIDDEN_IN_VALUES.search(value):
        raise Unsendable(f"the value of header {name} has a line break or NUL in it; correct action.headers")
    try:
        return name.encode(), value.encode(HEADER_ENCODING)
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
