"""A request as it will stand on the wire; httpx takes it apart only for those who look at it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from collections.abc import Mapping

TARGET = "target"
"""The extension of a request that holds its path and query, as httpcore has it."""

HEADER_ENCODING = "iso-8859-1"
"""Of values; RFC 9110, 5.5."""

# Whose requests have no content unless they say so (RFC 9110, 8.6).
SILENT_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
END_OF_LINE = b"\r\n"


class Outgoing(httpx.Request):
    """An `httpx.Request` that is made without httpx's work: no hot path needs its URL and headers parsed.

    `head` is sent byte by byte, and then the content; `site` is the scheme and authority of the URL.
    """

    def __init__(
        self, method: str, site: str, extensions: Mapping[str, bytes], head: bytes, content: bytes
    ) -> None:
        """`extensions` hold the target, which `head` names, too."""
        self.method = method
        self.site = site
        self.extensions = extensions  # type: ignore[assignment]  # nobody changes them
        self.head = head
        self._content = content

    @cached_property
    def url(self) -> httpx.URL:  # type: ignore[override]  # httpx assigns it when a request is made
        """See `httpx.Request.url`."""
        return httpx.URL(self.site + self.extensions[TARGET].decode())

    @cached_property
    def headers(self) -> httpx.Headers:  # type: ignore[override]
        """See `httpx.Request.headers`."""
        _, *lines, _, _ = self.head.split(END_OF_LINE)
        pairs = [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]
        return httpx.Headers(pairs, encoding=HEADER_ENCODING)

    @cached_property
    def stream(self) -> httpx.ByteStream:  # type: ignore[override]
        """See `httpx.Request.stream`."""
        return httpx.ByteStream(self._content)


def outgoing(request: httpx.Request) -> Outgoing:
    """Any request of httpx's, to be sent as it is."""
    if isinstance(request, Outgoing):
        return request
    site = f"{request.url.scheme}://{request.url.netloc.decode()}"
    fields = [(name.decode(), value.decode(HEADER_ENCODING)) for name, value in request.headers.raw]
    framed = any(name.lower() == "content-length" for name, _ in fields)
    fields += [] if framed else framing(request.method, len(request.content))
    line = request_line(request.method, request.extensions[TARGET].decode())
    head = line + written(fields) + END_OF_LINE
    return Outgoing(request.method, site, request.extensions, head, request.content)


def framing(method: str, size: int) -> list[tuple[str, str]]:
    """The field that tells where a content of so many bytes ends, where it takes one."""
    if not size and method in SILENT_METHODS:
        return []
    return [("content-length", str(size))]


def request_line(method: str, target: str) -> bytes:
    """The first line. Raises ValueError when it would be taken for more."""
    if not (method.isalpha() and target.isprintable()) or " " in target:
        raise ValueError("the request line has characters that would end it")
    return f"{method} {target} HTTP/1.1\r\n".encode("ascii")


def written(fields: list[tuple[str, str]]) -> bytes:
    """The lines of some fields. Raises ValueError when one would be taken for two."""
    text = "".join([f"{name}: {value}\r\n" for name, value in fields])
    if not len(fields) == text.count("\r") == text.count("\n") or "\0" in text:
        raise ValueError("a header has a line break or NUL in it")
    return text.encode(HEADER_ENCODING)
