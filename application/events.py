"""Reading the log as it is stored: what may be asked for, and what a page holds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

from msgspec import Raw, Struct


class LoggedEvent(Struct, frozen=True, gc=False, kw_only=True):
    """An event as the log holds it, whether or not this release knows its topic.

    `data` is the stored JSON of its fact, None: what is stored is no such thing. `namespace` is that of its
    stream, None: the stream's first event does not tell it. `redacted`: parts of it were erased. The rest is
    `application.ports.Meta`.
    """

    position: int
    recorded_at: datetime
    stream: UUID
    version: int
    topic: str
    namespace: str | None
    actor: str
    correlation_id: str
    address: str | None
    reason: str | None
    redacted: bool
    data: Raw | None


class EventFilter(Struct, frozen=True, kw_only=True):
    """Which events; None lets all through. Instants are those of `recorded_at`, UTC.

    `topic` is how the topic begins; `task_id` lets through the task's own stream and what names the task, as
    its executions do; `recorded_from` is included, `recorded_to` is not.
    """

    topic: str | None = None
    task_id: UUID | None = None
    namespace: str | None = None
    actor: str | None = None
    recorded_from: datetime | None = None
    recorded_to: datetime | None = None


class EventPage(Struct, frozen=True, kw_only=True):
    """Some events in their order; the next page begins after `next_after`.

    `more`: there is something to look at behind that by now, though it may not match.
    """

    items: Sequence[LoggedEvent]
    next_after: int
    more: bool


class Origin(Struct, frozen=True, kw_only=True):
    """What a stream is about, by its first event."""

    kind: Literal["task", "execution", "other"]
    namespace: str | None
