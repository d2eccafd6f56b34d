"""What tells of erased data: that a task was redacted, and into what its stored events were rewritten."""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID

from msgspec import Struct

from domain.fact import Fact


class TaskRedacted(Fact, frozen=True, kw_only=True):
    """The payloads, headers and bodies of a task that is over were erased, all of them."""

    topic: ClassVar[str] = "task.redacted.v1"


class Rewritten(Struct, frozen=True, gc=False, array_like=True):
    """An event by its place, and the SHA-256 (hex) of the state that it has from now on."""

    position: int
    stream: UUID
    sha256: str


class EventsRedacted(Fact, frozen=True, kw_only=True):
    """These events were rewritten in the same transaction, to redact `task_id`."""

    topic: ClassVar[str] = "events.redacted.v1"

    task_id: UUID
    rewritten: tuple[Rewritten, ...]
