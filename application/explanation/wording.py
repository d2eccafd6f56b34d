"""How instants, spans and policies are put into words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal, assert_never
from uuid import UUID

import msgspec
from msgspec import Struct

from application.ports import Undecodable
from domain.definition import Bounds
from domain.facts import Answered, Unanswered

if TYPE_CHECKING:
    from application.ports import Recorded
    from domain.definition import RetryPolicy, Trigger
    from domain.facts import Answer

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


_SECOND = timedelta(seconds=1)
_RULES_OF_THEIR_OWN = frozenset({"on_gone", "disable_after_failures"})
_UNITS = (("d", timedelta(days=1)), ("h", timedelta(hours=1)), ("min", timedelta(minutes=1)), ("s", _SECOND))


def instant(moment: datetime) -> str:
    """UTC by ISO 8601, to the millisecond where it has any."""
    utc = moment.astimezone(UTC)
    return utc.isoformat(timespec="milliseconds" if utc.microsecond else "seconds").replace("+00:00", "Z")


def span(length: timedelta) -> str:
    """The two largest units of a time span that is not negative."""
    if length < _SECOND:
        return f"{length // timedelta(milliseconds=1)} ms"
    if length < timedelta(minutes=1):
        return f"{length / _SECOND:.1f} s".replace(".0 s", " s")
    counts: list[tuple[int, str]] = []
    for name, unit in _UNITS:
        count, length = divmod(length, unit)
        counts.append((count, name))
    first = next(place for place, (count, _) in enumerate(counts) if count)
    return " ".join(f"{count} {name}" for count, name in counts[first : first + 2] if count)


def seconds(count: float) -> str:
    """The same of a number of seconds."""
    return span(timedelta(seconds=count))


def counted(count: int, noun: str) -> str:
    """So many of something."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def schedule(trigger: Trigger) -> str:
    """A trigger by its stored members, so that one of a later kind is told as well."""
    members = _members(trigger)
    kind = members.pop("type")
    shared = Bounds.__struct_fields__
    ordered = sorted(members, key=lambda name: shared.index(name) if name in shared else -1)
    told = ", ".join(f"{name} {members[name]}" for name in ordered if members[name] != "0")
    return told if kind in members else f"{kind}: {told}"


def policy(retry: RetryPolicy) -> str:
    """A retry policy by its stored members, so that later ones are told as well.

    Those that decide about the task, and not about the next attempt, are rules of their own.
    """
    members = _members(retry)
    return ", ".join(f"{name} {members[name]}" for name in members if name not in _RULES_OF_THEIR_OWN)


def _members(stored: Trigger | RetryPolicy) -> dict[str, str]:
    plain = msgspec.to_builtins(stored)
    return {name: _told(value) for name, value in plain.items() if value is not None and value != ()}


def _told(value: object) -> str:
    match value:
        case float():
            return f"{value:g}"
        case tuple():
            return " ".join(map(str, value))
        case _:
            return str(value)


def answer(brought: Answer) -> str:
    """What a call brought."""
    match brought:
        case Answered(status_code=status):
            return f"the server answered with status {status}"
        case Unanswered(error=error):
            return f"there was no usable answer: {error}"
        case _:
            assert_never(brought)


LIFECYCLE = Rule(name="lifecycle", text="A task fires from its creation until it is cancelled or completed.")
ONE_CLAIM = Rule(
    name="claim",
    text="An occurrence starts by one claim: the log takes it once, and only from the task as it then is.",
)
CHANGED_FIRST = Rule(
    name="change_before_send",
    text="A change of the task that is in the log before a call is sent decides about that call.",
)
REQUEST = Rule(
    name="request",
    text="A run that was asked for is claimed by the first scheduler that sees it; the schedule stays.",
)
NO_FURTHER_ATTEMPT = Rule(name="cancel", text="Nothing more is sent for what is cancelled.")
ROOM = Rule(
    name="concurrency",
    text="A scheduler makes so many calls at a time, in all and to one host; what is claimed beyond waits.",
)
ACCOUNTING = Rule(
    name="accounting",
    text="Every occurrence is recorded in its order, with what came of it or why it did not run.",
)
READING = Rule(
    name="reading", text="This release tells what it knows; later releases may write further events."
)


def scheduled_by(trigger: Trigger) -> Rule:
    """The schedule that an instant is, or is not, an occurrence of."""
    return Rule(name="schedule", text=schedule(trigger))
