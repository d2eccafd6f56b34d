"""Names of occurrences: the same occurrence always has the same id, whoever computes it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Self
from uuid import UUID

from msgspec import Struct

from domain.facts import OccurrenceKind

MILLISECONDS_BITS = 47
_EPOCH_BITS_MASK = (1 << MILLISECONDS_BITS) - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def execution_id(task_id: UUID, due_at: datetime, kind: OccurrenceKind, nonce: UUID | None = None) -> UUID:
    """A UUIDv8 (RFC 9562): a marker bit, the due instant in 47 bits of milliseconds, a hash of the whole.

    The marker bit keeps executions behind all tasks (UUIDv7) in an index; the instant keeps inserts local.
    A backfilled occurrence is the scheduled one, so it never runs twice; `nonce` tells manual ones apart.
    """
    due_ms = milliseconds(due_at)
    name = b"manual" if kind == "manual" else b"scheduled"
    digest = blake2b(task_id.bytes + due_ms.to_bytes(8, "big") + name, digest_size=10)
    if nonce is not None:
        digest.update(nonce.bytes)
    value = 1 << 127 | (due_ms & _EPOCH_BITS_MASK) << 80 | int.from_bytes(digest.digest(), "big")
    return _version_8(value)


def due_at_of(execution: UUID) -> datetime:
    """The due instant of the occurrence that an execution's id names, to the millisecond."""
    return _EPOCH + (execution.int >> 80 & _EPOCH_BITS_MASK) * _MILLISECOND


def first_execution_due_at(instant: datetime) -> UUID:
    """A bound in the order of ids: executions due at the instant or later are not less, earlier ones are."""
    return UUID(int=1 << 127 | (milliseconds(instant) & _EPOCH_BITS_MASK) << 80)


def is_execution(stream: UUID) -> bool:
    """Whether a stream is that of an execution, not of a task or anything else."""
    return stream.int >> 127 == 1


def key_stream(namespace: str, key: str) -> UUID:
    """The stream of a client's idempotency key; its first 48 bits are zero, before every task."""
    digest = blake2b(f"{namespace}\n{key}".encode(), digest_size=10)
    return _version_8(int.from_bytes(digest.digest(), "big"))


def redaction_stream(task_id: UUID) -> UUID:
    """The stream that tells which events were rewritten to redact a task; it begins like the task's id."""
    digest = blake2b(task_id.bytes + b"redaction", digest_size=10)
    return _version_8(task_id.int >> 80 << 80 | int.from_bytes(digest.digest(), "big"))


def disguised(command_id: UUID) -> UUID:
    """What takes the place of a random id that must not be known any more: the same for the same one."""
    return _version_8(int.from_bytes(blake2b(command_id.bytes, digest_size=16).digest(), "big"))


def milliseconds(instant: datetime) -> int:
    """Milliseconds since 1970, exactly (a float would round)."""
    return (instant - _EPOCH) // _MILLISECOND


def _version_8(value: int) -> UUID:
    value = value & ~(0xF << 76) | 8 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=value)


_WRITTEN = re.compile(r"([1-9]\d{3})-(0[1-9]|1[0-2])", re.ASCII)


class Month(Struct, frozen=True, order=True):
    """A month of the calendar, such as `2026-01`."""

    year: int
    month: int

    @classmethod
    def of(cls, instant: datetime) -> Self:
        """The month that an aware instant falls into."""
        inside = instant.astimezone(UTC)
        return cls(inside.year, inside.month)

    @classmethod
    def read(cls, text: str) -> Self:
        """The month that is written as `str` writes it. Raises `ValueError`."""
        found = _WRITTEN.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is no month such as 2026-01")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.year:04}-{self.month:02}"

    @property
    def start(self) -> datetime:
        """Its first instant."""
        return datetime(self.year, self.month, 1, tzinfo=UTC)

    @property
    def next(self) -> Month:
        """The one after it."""
        return Month(self.year + self.month // 12, self.month % 12 + 1)

    @property
    def first_execution(self) -> UUID:
        """Ids of executions that are due in it are this one or greater."""
        return first_execution_due_at(self.start)

    @property
    def end_of_executions(self) -> UUID:
        """Ids of executions that are due in it are less than this one."""
        return self.next.first_execution
