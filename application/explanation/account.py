"""What an explanation consists of."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal
from uuid import UUID

from msgspec import Struct

from application.ports import Undecodable

if TYPE_CHECKING:
    from application.ports import Recorded

EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
"""No task was ever due before the first, or may be due from the second on."""

type Verdict = Literal[
    # What the execution came to, or comes to now.
    "pending",
    "running",
    "waiting",
    "succeeded",
    "failed",
    "skipped",
    "cancelled",
    # Nothing has been recorded of this instant.
    "expected",
    "overdue",
    "paused",
    "withdrawn",
    "unaccounted",
    "no_occurrence",
    # No instant was asked for: where the task stands.
    "scheduled",
    "over",
]


class Event(Struct, frozen=True, kw_only=True):
    """An event of the log that a statement rests on; `at` is the instant of its decision, UTC.

    `reason` is why a user wanted it, None: that was not said.
    """

    position: int
    topic: str
    stream: UUID
    version: int
    at: datetime
    actor: str
    reason: str | None

    @classmethod
    def of(cls, event: Recorded) -> Event:
        """The event as it is named."""
        fact = event.fact
        return cls(
            position=event.position,
            topic=fact.topic,
            stream=event.stream,
            version=event.version,
            at=decided_at(event),
            actor=event.meta.actor,
            reason=event.meta.reason,
        )


class Rule(Struct, frozen=True, kw_only=True):
    """What decided: its stable name, and what it says."""

    name: str
    text: str


class Statement(Struct, frozen=True, kw_only=True):
    """One thing that is known: a stable code, a sentence, the rule that decided, the events that tell it."""

    code: str
    text: str
    rule: Rule
    events: tuple[Event, ...]

    @classmethod
    def of(cls, code: str, text: str, rule: Rule, *events: Recorded) -> Statement:
        """What is said of events of the log."""
        return cls(code=code, text=text, rule=rule, events=tuple(Event.of(event) for event in events))


class Explanation(Struct, frozen=True, kw_only=True):
    """What is known of an instant of a task, or (`at` None) of where it stands now.

    `lateness_ms` is how long after its instant the first call was sent (None: none is known to be sent);
    `previous` and `next` are the nearest occurrences of the task's schedules before and after.
    """

    task_id: UUID
    execution_id: UUID | None
    at: datetime | None
    verdict: Verdict
    summary: str
    lateness_ms: int | None
    previous: datetime | None
    next: datetime | None
    statements: tuple[Statement, ...]


def decided_at(event: Recorded) -> datetime:
    """When an event was decided; of one that cannot be read, when it was recorded."""
    fact = event.fact
    return event.recorded_at if isinstance(fact, Undecodable) else fact.at
