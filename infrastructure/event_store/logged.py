"""A row of the log as it is shown: the stored JSON itself, with who asked and in which namespace."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec
from msgspec import Raw, Struct

from application.events import LoggedEvent, Origin
from application.ports import Meta
from domain.redaction import original_digest

if TYPE_CHECKING:
    from infrastructure.event_store.log import Row

BEGINNING_BYTES = 4_096
"""Of each stored event: its meta, and the namespace and the task that it names before anything long."""

# Quotes within strings are escaped, so this is a member; and no other of that name comes before it.
_NAMESPACE = re.compile(rb'"namespace":("(?:[^"\\]|\\.)*")')


class _Stored(Struct, frozen=True):
    meta: Meta
    fact: Raw


class _Occurrence(Struct, frozen=True):
    task_id: UUID | None = None


class _Naming(Struct, frozen=True):
    task_id: UUID | None = None
    occurrence: _Occurrence = _Occurrence()


_stored = msgspec.json.Decoder(_Stored)
_naming = msgspec.json.Decoder(_Naming)


def logged(row: Row, beginning: bytes | None) -> LoggedEvent:
    """An event of the log; `beginning` is that of its stream's first event, None: it is the first."""
    position, stream, version, topic, state, recorded_at = row
    stored = _read(state)
    return LoggedEvent(
        position=position,
        recorded_at=recorded_at,
        stream=stream,
        version=version,
        topic=topic,
        namespace=_namespace(state[:BEGINNING_BYTES] if beginning is None else beginning),
        actor=stored.meta.actor if stored else "unknown",
        correlation_id=stored.meta.correlation_id if stored else "",
        address=stored.meta.address if stored else None,
        reason=stored.meta.reason if stored else None,
        redacted=original_digest(state) is not None,
        data=stored.fact if stored else None,
    )


def names_task(event: LoggedEvent, task_id: UUID) -> bool:
    """Whether an event is in the task's stream, or about the task."""
    if event.stream == task_id:
        return True
    try:
        naming = _naming.decode(event.data or b"{}")
    except msgspec.DecodeError:
        return False
    return task_id in {naming.task_id, naming.occurrence.task_id}


def origin(topic: str, beginning: bytes) -> Origin:
    """What a stream is about that begins so."""
    kind = topic.partition(".")[0]
    return Origin(
        kind="task" if kind == "task" else "execution" if kind == "execution" else "other",
        namespace=_namespace(beginning),
    )


def beginning_of_actor(actor: str) -> bytes:
    """How every event of an actor begins."""
    return b'{"meta":{"actor":' + msgspec.json.encode(actor)


def member(name: str, value: str) -> bytes:
    """How a member stands in what is stored."""
    return msgspec.json.encode({name: value})[1:-1]


def _read(state: bytes) -> _Stored | None:
    try:
        state.decode()  # a part that is only passed on is not looked into
        return _stored.decode(state)
    except (ValueError, RecursionError):
        return None


def _namespace(beginning: bytes) -> str | None:
    found = _NAMESPACE.search(beginning)
    try:
        return msgspec.json.decode(found[1], type=str) if found else None
    except ValueError:  # it is no JSON: the rest of the page is told all the same
        return None
