"""From a response to the answer that is recorded: bounded, and always text."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from domain.facts import Answered
from infrastructure.http_caller.connection import SWITCHING_PROTOCOLS
from infrastructure.http_caller.text import decoded
from infrastructure.http_caller.wire import Incoming

if TYPE_CHECKING:
    from collections.abc import Iterable

    import httpx


async def captured(response: httpx.Response, max_body_bytes: int, max_header_bytes: int) -> Answered:
    """Read the response up to the caps. The caller closes it: what was not read costs the connection."""
    own = response if isinstance(response, Incoming) else None
    headers = captured_headers(response.headers.raw if own is None else own.raw_headers, max_header_bytes)
    if response.status_code == SWITCHING_PROTOCOLS:
        body = b""  # what follows is no body and has no end
    elif own is None:
        body = b"".join([chunk async for chunk in cast("httpx.AsyncByteStream", response.stream)])
    else:
        body = await own.bounded()
    return _answered(response.status_code, headers, body, max_body_bytes)


def answered(
    status: int,
    fields: Iterable[tuple[bytes, bytes]],
    body: bytes,
    max_body_bytes: int,
    max_header_bytes: int,
) -> Answered:
    """The answer of which this has come; of a body that is longer than the cap, one byte more at least."""
    return _answered(status, captured_headers(fields, max_header_bytes), body, max_body_bytes)


def _answered(status: int, headers: dict[str, str], body: bytes, max_body_bytes: int) -> Answered:
    truncated = len(body) > max_body_bytes
    text = decoded(body[:max_body_bytes], headers.get("content-type"), cut=truncated)
    return Answered(status_code=status, headers=headers, body=text, truncated=truncated)


def captured_headers(raw: Iterable[tuple[bytes, bytes]], limit: int) -> dict[str, str]:
    """Lower-case names; latin-1, the bytes that HTTP allows; repeated ones joined as `Answered` says.

    Fields that would take names and values together over `limit` bytes are left out.
    """
    kept: dict[str, str] = {}
    size = 0
    for name, value in raw:
        size += len(name) + len(value)
        if size > limit:
            size -= len(name) + len(value)
            continue
        key, text = name.decode("latin-1").lower(), value.decode("latin-1").replace("\0", "\ufffd")
        kept[key] = f"{kept[key]}{separator(key)}{text}" if key in kept else text
    return kept


def separator(name: str) -> str:
    """What joins repeated headers. A cookie may hold a comma (RFC 9110, 5.3), but nothing a line break."""
    return "\n" if name == "set-cookie" else ", "
