"""Which rewritten events the log itself accounts for, and what else of them would be a forgery."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, get_args
from uuid import UUID

import msgspec
from msgspec import Struct

from domain.facts import (
    AttemptFailed,
    AttemptStarted,
    ExecutionCancelled,
    ExecutionFact,
    ExecutionFailed,
    ExecutionQueued,
    ExecutionRequested,
    ExecutionSkipped,
    ExecutionStarted,
    ExecutionSucceeded,
    ExecutionTakenOver,
    IdempotencyKeyUsed,
    TaskCreated,
    TaskFact,
)
from domain.identity import redaction_stream
from domain.redaction import MARK, erased, holds_something, tasks_of
from domain.redaction_facts import EventsRedacted, Rewritten
from domain.sealing import state_digest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from domain.facts import AnyFact

_FACTS = (
    *get_args(TaskFact.__value__),
    *get_args(ExecutionFact.__value__),
    IdempotencyKeyUsed,
    EventsRedacted,
)


class _Meta(Struct, frozen=True, gc=False):
    address: str | None = None
    reason: str | None = None


class _Stored[F](Struct, frozen=True, gc=False):
    meta: _Meta
    fact: F


_decoders: dict[str, msgspec.json.Decoder[_Stored[Any]]] = {
    fact.topic: msgspec.json.Decoder(_Stored[fact])  # type: ignore[valid-type]
    for fact in _FACTS
}


def told_by(state: bytes) -> EventsRedacted | None:
    """What the stored state of an `events.redacted` tells; None for bytes that are none."""
    stored = _read(EventsRedacted.topic, state)
    return stored.fact if stored else None


def _read(topic: str, state: bytes) -> _Stored[Any] | None:
    try:
        return _decoders[topic].decode(state)
    except (KeyError, ValueError, RecursionError):
        return None


class RewrittenEvent(Struct, frozen=True, gc=False):
    """An event whose state says that it was rewritten; `digest` is the SHA-256 of what stands there now.

    `task_id` is the task that it is about, None: that cannot be told, or of several. `is_erased`: there is
    nothing to erase in it any more. `beside`: the redaction of another task may have left it as it was, but
    for the id of its command.
    """

    position: int
    stream: UUID
    digest: bytes
    task_id: UUID | None = None
    is_erased: bool = False
    beside: bool = False

    def may_be_of(self, task_id: UUID) -> bool:
        """Whether the redaction of a task can have led to what stands there now."""
        return self.is_erased if task_id == self.task_id else self.beside


def rewritten_event(position: int, stream: UUID, topic: str, state: bytes) -> RewrittenEvent:
    """An event by its rewritten state. No redaction leads to one that this release cannot read."""
    digest, stored = state_digest(state), _read(topic, state)
    if stored is None or not holds_something(stored.fact):
        return RewrittenEvent(position, stream, digest)
    fact: AnyFact = stored.fact
    return RewrittenEvent(
        position,
        stream,
        digest,
        task_id=_task_of(stream, fact),
        is_erased=erased(fact) == fact and {stored.meta.address, stored.meta.reason} <= {None, MARK},
        beside=isinstance(fact, TaskCreated)
        or (isinstance(fact, IdempotencyKeyUsed) and fact.execution_id is None),
    )


def _task_of(stream: UUID, fact: AnyFact) -> UUID | None:
    match fact:
        case IdempotencyKeyUsed(task_id=task_id):
            return task_id if tasks_of(fact) == {task_id} else None
        case ExecutionRequested() | ExecutionQueued() | ExecutionStarted() | ExecutionSkipped():
            return fact.occurrence.task_id
        case (
            AttemptFailed()
            | AttemptStarted()
            | ExecutionTakenOver()
            | ExecutionSucceeded()
            | ExecutionFailed()
            | ExecutionCancelled()
            | EventsRedacted()
        ):
            return fact.task_id
        case _:
            return stream


class Rewritings:
    """Tells which rewritten events the log itself accounts for, whatever order it is read in.

    One is accounted for by the last `EventsRedacted` behind it, in the stream of its task's redactions, that
    names its position, if that names its stream and its present state, and if what stands there is what the
    redaction of that task leaves. Nobody has changed it since then, nor put in what was to be erased.
    Numbers, instants and statuses in it could have been others before: the seal is of the original.
    """

    def __init__(self) -> None:
        self._found: list[RewrittenEvent] = []
        self._told: dict[int, tuple[int, UUID, Rewritten]] = {}

    def found(self, event: RewrittenEvent) -> None:
        """There is a rewritten event."""
        self._found.append(event)

    def told(self, position: int, stream: UUID, fact: EventsRedacted) -> None:
        """The event at a position of the log, of a stream, tells of such."""
        if stream != redaction_stream(fact.task_id):
            return
        for each in fact.rewritten:
            before = self._told.get(each.position)
            if position > max(each.position, before[0] if before else 0):
                self._told[each.position] = (position, fact.task_id, each)

    def unaccounted(self) -> Iterator[RewrittenEvent]:
        """Those that were rewritten by nothing that the log tells of."""
        return (event for event in self._found if self._redacted(event) is None)

    def accounted(self) -> Counter[UUID]:
        """How many events the redaction of each task has rewritten."""
        return Counter(task_id for task_id in map(self._redacted, self._found) if task_id is not None)

    def _redacted(self, event: RewrittenEvent) -> UUID | None:
        """The task that was redacted when an event was rewritten."""
        told = self._told.get(event.position)
        if told is None:
            return None
        _, task_id, rewritten = told
        as_told = (rewritten.stream, rewritten.sha256) == (event.stream, event.digest.hex())
        return task_id if as_told and event.may_be_of(task_id) else None
