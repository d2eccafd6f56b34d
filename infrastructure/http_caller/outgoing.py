"""A request as it will stand on the wire; httpx takes it apart only for those who look at it."""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import httpx
from multidict import CIMultiDict
from yarl import URL

if TYPE_CHECKING:
    from collections.abc import Mapping

TARGET = "target"
"""The extension of a request that holds its path and query, as httpcore has it."""

HEADER_ENCODING = "iso-8859-1"
"""Of values; RFC 9110, 5.5."""


class Outgoing(httpx.Request):
    """An `httpx.Request` that is made without httpx's work: no hot path needs its URL and headers parsed.

    `address` and `fields` are what aiohttp sends; `site` is the scheme and authority of the URL. Its target
    goes out byte by byte.
    """

    def __init__(self, method: str, site: str, target: str, fields: CIMultiDict[str], content: bytes) -> None:
        self.method = method
        self.site = site
        self.fields = fields
        self.extensions = {TARGET: target.encode()}
        self.address = address_of(site, target)
        self._content = content

    def stamped(self, marks: Mapping[str, str]) -> Outgoing:
        """A copy with marks of its own, but where a header of the user's has the name of one."""
        copy = object.__new__(Outgoing)
        copy.method, copy.site, copy._content = self.method, self.site, self._content
        copy.extensions, copy.address = self.extensions, self.address
        copy.fields = self.fields.copy()
        for name, value in marks.items():
            copy.fields.setdefault(name, value)
        return copy

    @cached_property
    def url(self) -> httpx.URL:  # type: ignore[override]  # httpx assigns it when a request is made
        """See `httpx.Request.url`."""
        return httpx.URL(self.site + self.extensions[TARGET].decode())

    @cached_property
    def headers(self) -> httpx.Headers:  # type: ignore[override]
        """See `httpx.Request.headers`."""
        pairs = [(name.encode(), value.encode(HEADER_ENCODING)) for name, value in self.fields.items()]
        return httpx.Headers(pairs, encoding=HEADER_ENCODING)

    @cached_property
    def stream(self) -> httpx.ByteStream:  # type: ignore[override]
        """See `httpx.Request.stream`."""
        return httpx.ByteStream(self._content)


def address_of(site: str, target: str) -> URL:
    """The URL for aiohttp. As a path, the target keeps even a `?` that nothing follows."""
    return place_of(site).with_path(target, encoded=True)


@lru_cache(maxsize=4096)
def place_of(site: str) -> URL:
    """A site, taken apart once: many calls go to the same."""
    return URL(site, encoded=True)
