"""From an action to the request that is sent: built once a definition, then stamped for each attempt."""

from __future__ import annotations

import base64
import re
from collections import OrderedDict
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote_to_bytes

import httpx
import msgspec
from yarl import URL

from infrastructure.http_caller.marks import MARKS, marks
from infrastructure.http_caller.outgoing import (
    HEADER_ENCODING,
    TARGET,
    Outgoing,
    framing,
    request_line,
    written,
)
from infrastructure.http_caller.text import codec_of, named_charset

if TYPE_CHECKING:
    from application.ports import Call
    from domain.definition import Action

FOLLOWS_FROM_THE_PAYLOAD = frozenset({"content-length", "transfer-encoding"})
HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
WRITTEN_URL = re.compile(r"([^/?#]*//[^/?#]*)([^?#]*)([^#]*)")
VISIBLE_ASCII = re.compile(r"[!-~]*")
FORBIDDEN_IN_VALUES = re.compile(r"[\r\n\0]")
HIGHEST_PORT = 65_535
LARGE_BYTES = 16_384


class Unsendable(Exception):
    """The action makes no request; the sentence says what to change. It never quotes values."""


class RequestFactory:
    """Makes the requests of attempts; keeps what is built of up to `size` actions, the latest used.

    An action is recognised by identity: comparing payloads costs more than building. Large requests are not
    kept, so that the memory stays within `size` times 16 KiB.
    """

    def __init__(self, user_agent: str, *, size: int = 1024) -> None:
        self._user_agent = user_agent
        self._size = size
        self._built: OrderedDict[int, tuple[Action, Template]] = OrderedDict()

    def request(self, call: Call) -> Outgoing:
        """A request of its own for one attempt. Raises `Unsendable`."""
        return self._template(call.action).stamped(call)

    def _template(self, action: Action) -> Template:
        # The entry holds the action itself: its id is not given to another object as long as it is here.
        entry = self._built.get(id(action))
        if entry is not None:
            self._built.move_to_end(id(action))
            return entry[1]
        template = build(action, self._user_agent)
        if template.size <= LARGE_BYTES:
            self._built[id(action)] = (action, template)
            if len(self._built) > self._size:
                self._built.popitem(last=False)
        return template


class Template:
    """An action's request without the marks of an attempt."""

    __slots__ = ("_begun", "_line", "_site", "_unmarked", "content")

    def __init__(self, line: Line, front: Front, own: bytes, content: bytes) -> None:
        """`own` are the fields that only this request has."""
        self._line = line
        self._site = front.site
        self._begun = line.written + front.fields + own
        self._unmarked = front.unmarked
        self.content = content

    @property
    def size(self) -> int:
        """Bytes of what is kept of it."""
        return len(self._begun) + len(self.content)

    def stamped(self, call: Call) -> Outgoing:
        """The request of one attempt; a header of the user's stays in the place of a mark with its name."""
        head = self._begun + marks(call, self._unmarked)
        return Outgoing(self._line.method, self._site, self._line.extensions, head, self.content)


def build(action: Action, user_agent: str) -> Template:
    """The action's request without the marks of an attempt. Raises `Unsendable`."""
    line = line_of(action.method, action.url)
    front = front_of(line.where, tuple(action.headers.items()), user_agent)
    content, implied_type = body(action.payload, front.content_type)
    return Template(line, front, of_the_content(line.method, len(content), implied_type), content)


class Line(NamedTuple):
    """A request's method, where it goes, and its first line as it is `written`."""

    method: str
    where: str
    extensions: dict[str, bytes]
    written: bytes


@lru_cache(maxsize=1024)  # many tasks call the same, each with a payload of its own
def line_of(method: str, url: str) -> Line:
    """Raises `Unsendable`."""
    where, target = taken_apart(url)
    method = method.upper()
    return Line(method, where, {TARGET: target.encode()}, request_line(method, target))


@lru_cache(maxsize=1024)
def of_the_content(method: str, size: int, implied_type: str | None) -> bytes:
    """The fields that say how long the content is, and what, where the user does not."""
    fields = framing(method, size)
    if implied_type is not None:
        fields.append(("content-type", implied_type))
    return written(fields)


class Front(NamedTuple):
    """What all requests with the same headers to the same site have in common.

    `unmarked`: the marks whose names the user has taken.
    """

    site: str
    fields: bytes
    content_type: str | None
    unmarked: frozenset[str]


@lru_cache(maxsize=256)  # each holds up to 32 KiB of headers, twice, and saves checking and writing them
def front_of(where: str, headers: tuple[tuple[str, str], ...], user_agent: str) -> Front:
    """Raises `Unsendable`."""
    site, host, authorization = site_of(where)
    fields = {"host": host}
    for name, value in headers:
        check_header(name, value)
        if name.lower() not in FOLLOWS_FROM_THE_PAYLOAD:
            fields[name.lower()] = value
    for name, default in (("user-agent", user_agent), ("accept", "*/*"), ("accept-encoding", "identity")):
        fields.setdefault(name, default)
    if authorization is not None:
        fields.setdefault("authorization", authorization)
    return Front(site, written([*fields.items()]), fields.get("content-type"), MARKS & fields.keys())


@lru_cache(maxsize=4096)
def site_of(where: str) -> tuple[str, str, str | None]:
    """Scheme and authority as they are called, the Host, and what a user and password there mean as a header.

    Raises `Unsendable`.
    """
    url = parsed(where)
    site = f"{url.scheme}://{url.netloc.decode()}"
    host = URL(site, encoded=True).host_port_subcomponent
    assert host is not None
    return site, host, basic_authorization(url)


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


def body(payload: Any, content_type: str | None) -> tuple[bytes, str | None]:
    """The bytes to send and the Content-Type that they imply where there is none. Raises `Unsendable`.

    A string under a Content-Type of the user's own goes out as it is; everything else is JSON.
    """
    if payload is None:
        return b"", None
    if not isinstance(payload, str) or content_type is None:
        return msgspec.json.encode(payload), "application/json" if content_type is None else None
    charset = named_charset(content_type) or "utf-8"
    codec = codec_of(charset)
    if codec is None:
        raise Unsendable(f"Content-Type names the charset {charset}, which is not known; use utf-8")
    try:
        return payload.encode(codec), None
    except UnicodeEncodeError:
        raise Unsendable(f"the payload has characters that {charset} lacks; use utf-8") from None
