"""Where a redirect leads: the next request of the same attempt (RFC 9110, 15.4), or why there is none."""

from __future__ import annotations

import re

import httpx

from domain.validation.action import url_advice
from infrastructure.http_caller.outgoing import HEADER_ENCODING, TARGET

MOVED_PERMANENTLY, FOUND, SEE_OTHER = 301, 302, 303

CREDENTIALS = frozenset({b"authorization", b"cookie", b"proxy-authorization"})
OF_THE_CONTENT = re.compile(rb"content-.+|digest|expect|last-modified|repr-digest", re.IGNORECASE)

REFERENCE = re.compile(  # RFC 3986, appendix B
    r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):)?(?P<authority>//[^/?#]*)?(?P<path>[^?#]*)(?P<query>\?[^#]*)?"
)
NOT_FOR_URLS = re.compile(rb"[^!-~]")
DEFAULT_PORTS = {"http": 80, "https": 443}


class Astray(Exception):
    """The redirect is not followed; the sentence says why and what to change. It quotes no Location."""


def followed(request: httpx.Request, response: httpx.Response) -> httpx.Request:
    """The request that a redirect with a Location asks for.

    After a 303, and after the 301 or 302 of a POST, it is a GET (or the HEAD that it was) without content.
    Credentials stay with scheme, host and port. Raises `Astray`.
    """
    url, target = destination(request, response)
    method, content, dropped = request.method, request.content, set[bytes]()
    if rewritten(request.method, response.status_code):
        method, content = ("HEAD" if method == "HEAD" else "GET"), b""
        dropped |= {name.lower() for name, _ in request.headers.raw if OF_THE_CONTENT.fullmatch(name)}
    if origin(url) != origin(request.url):
        dropped |= CREDENTIALS | {b"host"}
    headers = [pair for pair in request.headers.raw if pair[0].lower() not in dropped]
    result = httpx.Request(method, url, headers=headers, content=content or None, extensions={TARGET: target})
    result.headers.encoding = HEADER_ENCODING
    return result


def rewritten(method: str, status: int) -> bool:
    """Whether the redirect asks for another representation, not for the same request elsewhere."""
    return status == SEE_OTHER or (status in (MOVED_PERMANENTLY, FOUND) and method == "POST")


def origin(url: httpx.URL) -> tuple[str, bytes, int | None]:
    """What credentials are meant for."""
    return url.scheme, url.raw_host, url.port or DEFAULT_PORTS.get(url.scheme)


def destination(request: httpx.Request, response: httpx.Response) -> tuple[httpx.URL, bytes]:
    """The URL that the Location means, without a fragment, and its path and query as they are written.

    Its host is held to the rules of action.url. Raises `Astray`.
    """
    site, target = resolved(location(request, response), request)
    if url_advice(f"{site}/") is not None:
        raise uncallable(request)
    try:
        return httpx.URL(site + target), target.encode()
    except httpx.InvalidURL:  # it is too long
        raise uncallable(request) from None


def location(request: httpx.Request, response: httpx.Response) -> str:
    """The one Location; what no URL may hold is percent-encoded, as browsers do. Raises `Astray`."""
    places = {value for name, value in response.headers.raw if name.lower() == b"location"}
    if len(places) > 1:
        raise uncallable(request)
    return NOT_FOR_URLS.sub(lambda octet: b"%%%02X" % octet[0][0], places.pop()).decode("ascii")


def too_many(request: httpx.Request) -> Astray:
    """Redirects lead on, or around, and enough of them were followed."""
    return Astray(
        f"{request.url.netloc.decode()} redirects once more than action.max_redirects allows;"
        " raise it, or have action.url name the place where the redirects end"
    )


def uncallable(request: httpx.Request) -> Astray:
    """The Location names no place for a call."""
    return Astray(
        f"{request.url.netloc.decode()} redirects, but not to one http or https URL with a valid host and no"
        " user name; correct that server, or have action.url name the right place"
    )


def resolved(reference: str, request: httpx.Request) -> tuple[str, str]:
    """Scheme and authority, and path and query, that a reference in the answer means (RFC 3986, 5.2.2).

    Dots are resolved in a relative path only: any other change may break a signed URL.
    """
    parts = REFERENCE.match(reference)
    assert parts is not None  # it may be empty
    scheme, authority, path, query = parts.group("scheme", "authority", "path", "query")
    if scheme is None and authority is None:
        base: bytes = request.extensions[TARGET]
        base_path, mark, base_query = base.decode().partition("?")
        if not path:
            path, query = base_path, mark + base_query if query is None else query
        elif not path.startswith("/"):
            path = merged(base_path, path)
        authority = f"//{request.url.netloc.decode()}"
    site = f"{(scheme or request.url.scheme).lower()}:{authority or ''}"
    return site, (path or "/") + (query or "")


def merged(base: str, reference: str) -> str:
    """A relative path as seen from another path, without dot segments (RFC 3986, 5.2.3 and 5.2.4)."""
    *folders, _ = base.split("/")
    *steps, last = reference.split("/")
    kept: list[str] = []
    for segment in [*folders[1:], *steps, last]:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    return "/" + "/".join([*kept, ""] if last in (".", "..") else kept)
