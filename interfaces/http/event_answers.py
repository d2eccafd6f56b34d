"""The JSON of events, in pages or line by line."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import msgspec
from litestar import Request, Response
from litestar.response import Stream
from msgspec import Meta, Struct

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from application import events

LINES = "application/x-ndjson"
LINES_AT_ONCE = 200
"""Events that are read at a time for whoever reads all of them; no more are in memory."""

_lines = msgspec.json.Encoder()


class Event(Struct, frozen=True, kw_only=True):
    """Something that has happened, as the log holds it."""

    position: Annotated[int, Meta(description="Its place in the log, the one order of all events.")]
    recorded_at: Annotated[datetime, Meta(description="When it was stored, by the database's clock.")]
    stream: Annotated[UUID, Meta(description="The task, the execution or the idempotency key it is about.")]
    version: Annotated[int, Meta(description="Its number in that stream, from 1.")]
    topic: Annotated[str, Meta(description="What kind of event it is; a topic never changes its meaning.")]
    namespace: Annotated[str | None, Meta(description="Of its stream; null: that cannot be told.")]
    actor: Annotated[str, Meta(description="Who decided.")]
    correlation_id: Annotated[
        str,
        Meta(description="The `X-Request-ID` of the request that led to it; of schedulers, the execution."),
    ]
    address: Annotated[
        str | None, Meta(description="The IP address that it was asked for from; null: none is known.")
    ]
    reason: Annotated[str | None, Meta(description="The `X-Change-Reason` of the request, if it had one.")]
    redacted: Annotated[bool, Meta(description="Whether parts of it were erased: they read as `[redacted]`.")]
    data: Annotated[
        dict[str, Any] | None, Meta(description="What was decided, as it is stored; null: it is unreadable.")
    ]


class EventPage(Struct, frozen=True, kw_only=True):
    """Some events, in their order."""

    # Events are held as the reader made them, which have the very members of `Event`: none is copied.

    items: list[Event]
    next_after: Annotated[
        int, Meta(description="`after` of the next page: whoever goes on from there misses no event.")
    ]
    more: Annotated[
        bool,
        Meta(
            description="Whether the next page has something to look at by now. A page looks at a bounded "
            "number of events, so one with filters may be short, or empty, before the end."
        ),
    ]

    @classmethod
    def of(cls, page: events.EventPage) -> EventPage:
        """A page as it is shown."""
        items: list[Any] = list(page.items)
        return cls(items=items, next_after=page.next_after, more=page.more)


def lines(
    request: Request[Any, Any, Any],
    read: Callable[[int, int], Awaitable[events.EventPage]],
    after: int,
    most: int | None,
    headers: Mapping[str, str],
) -> Response[Any]:
    """All that `read` gives page by page after a place, at most so many: a line an event, sent once read."""
    if request.scope["state"]["without_content"]:
        most = 0
    return Stream(_each_line(read, after, most), media_type=LINES, headers=headers)


async def _each_line(
    read: Callable[[int, int], Awaitable[events.EventPage]], after: int, most: int | None
) -> AsyncIterator[bytes]:
    more = True
    while more and most != 0:
        page = await read(after, LINES_AT_ONCE if most is None else min(most, LINES_AT_ONCE))
        if page.items:
            yield _lines.encode_lines(page.items)
        after, more = page.next_after, page.more
        most = None if most is None else most - len(page.items)
