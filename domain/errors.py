"""Refusals: the class is the meaning, its attributes are the data, its sentence is what a user reads."""

from __future__ import annotations

import unicodedata
from datetime import UTC
from typing import TYPE_CHECKING
from uuid import UUID

from msgspec import Struct

from domain.identity import due_at_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from domain.identity import Month

_LONGEST_SHOWN = 80
# Control characters, lone surrogates, line and paragraph separators: they break logs, or cannot be stored.
_UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}


def shown(value: object) -> str:
    """The value in quotes, cut to 80 characters, with everything that is not printable escaped."""
    return f'"{printed(str(value))}"'


def printed(text: str) -> str:
    """The text, cut to 80 characters, with everything that is not printable escaped."""
    cut = text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…"
    return "".join(map(_printable, cut))


def _printable(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()


def instant(moment: datetime) -> str:
    """The instant in UTC, as exact as it is and as answers write it."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def unprintable(text: str) -> str | None:
    """The first character that a line of text must not hold; None: there is none."""
    if text.isprintable():  # then there is none, which is told at once
        return None
    return next((mark for mark in text if unicodedata.category(mark) in _UNPRINTABLE), None)


def pointer(*names: str) -> str:
    """A JSON pointer (RFC 6901) to a member of the request's body; always valid UTF-8."""
    return "".join("/" + _printed_utf8(name).replace("~", "~0").replace("/", "~1") for name in names)


def _printed_utf8(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()


class FieldError(Struct, frozen=True, gc=False, kw_only=True):
    """One wrong field: a JSON pointer (RFC 6901) into the request body, and what to change."""

    pointer: str
    detail: str


class Refused(Exception):
    """A command that the rules do not allow; nothing was stored."""


class ValidationFailed(Refused):
    """The task's definition breaks rules; `errors` names each field."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        # The pointer to the whole document is empty, and says nothing.
        super().__init__(" ".join(f"{error.pointer}: {error.detail}".removeprefix(": ") for error in errors))
        self.errors = tuple(errors)


class InvalidBody(ValidationFailed):
    """What was sent with a command breaks rules; `errors` names each field."""


class TaskNotFound(Refused):
    """There is no such task; check the id."""

    def __init__(self, task_id: UUID) -> None:
        super().__init__(f"There is no task {task_id}; check the id.")
        self.task_id = task_id


class TaskNotThereYet(TaskNotFound):
    """There was no such task at that moment yet; ask for a later one."""

    def __init__(self, task_id: UUID, since: datetime, position: int) -> None:
        Refused.__init__(
            self,
            f"There was no task {task_id} yet: it is there since {instant(since)}, position {position:,} of "
            "the log; ask for that moment or a later one.",
        )
        self.task_id = task_id
        self.since = since
        self.position = position


class ExecutionNotFound(Refused):
    """There is no such execution; check the id and the namespace."""

    def __init__(self, execution_id: UUID) -> None:
        super().__init__(f"There is no execution {execution_id}; check the id and the namespace.")
        self.execution_id = execution_id


class MonthArchived(Refused):
    """The month is archived: nothing is recorded in it any more unless it is restored first."""

    def __init__(self, month: Month) -> None:
        super().__init__(
            f"The executions of {month} are archived: begin with {month.next}, or restore the month first "
            f"(`chronoledger archive restore {month}`)."
        )
        self.month = month


class ExecutionAlreadyOver(Refused):
    """The execution has ended and cannot be cancelled; trigger the task to run it once more."""

    def __init__(self, execution_id: UUID, status: str) -> None:
        super().__init__(
            f"Execution {execution_id} is over ({status}): nothing is left to cancel; "
            "trigger its task to run it once more."
        )
        self.execution_id = execution_id
        self.status = status


class TaskAlreadyOver(Refused):
    """The task is completed, failed or cancelled and can no longer change; create a new task instead."""

    def __init__(self, task_id: UUID, status: str) -> None:
        super().__init__(f"Task {task_id} is {status} and can no longer change; create a new task instead.")
        self.task_id = task_id
        self.status = status


class RevisionNotFound(Refused):
    """The task has no revision of this number; list its revisions."""

    def __init__(self, task_id: UUID, number: int, latest: int) -> None:
        super().__init__(
            f"Task {task_id} has no revision {number}; give one from 1 to {latest}, which is the latest."
        )
        self.task_id = task_id
        self.number = number
        self.latest = latest


class RevisionIsCurrent(Refused):
    """The task has the definition of this revision already; nothing is left to roll back."""

    def __init__(self, task_id: UUID, number: int) -> None:
        super().__init__(
            f"Task {task_id} has the definition of revision {number} already; give another revision."
        )
        self.task_id = task_id
        self.number = number


class RevisionInvalid(ValidationFailed):
    """The definition of the revision breaks rules by now; update the task to one that does not.

    `errors` point into the definition of the revision.
    """

    def __init__(self, task_id: UUID, number: int, errors: Sequence[FieldError]) -> None:
        super().__init__(errors)
        self.task_id = task_id
        self.number = number

    def __str__(self) -> str:
        return (
            f"Revision {self.number} of task {self.task_id} is not admissible any more: {super().__str__()} "
            "Change its definition there and PUT it."
        )


class VersionMismatch(Refused):
    """The task has changed since the version in If-Match; read it again and repeat the change."""

    def __init__(self, task_id: UUID, expected: int, actual: int) -> None:
        super().__init__(
            f"Task {task_id} is at version {actual}, not {expected}; read it again and repeat the change."
        )
        self.task_id = task_id
        self.expected = expected
        self.actual = actual


class IdempotencyKeyReused(Refused):
    """The Idempotency-Key was used with a different body; use a new key for a new request."""

    def __init__(self, key: str) -> None:
        super().__init__(f"Idempotency-Key {key!r} was used with a different body; use a new key.")
        self.key = key


class TaskNotOver(Refused):
    """Only a task that is over can be redacted; cancel it first."""

    def __init__(self, task_id: UUID, status: str) -> None:
        super().__init__(
            f"Task {task_id} is {status}: only a task that is over can be redacted; cancel it first."
        )
        self.task_id = task_id
        self.status = status


class ExecutionsNotOver(Refused):
    """Executions of the task still go on; wait until they are over, or cancel them."""

    def __init__(self, task_id: UUID, execution_id: UUID, count: int) -> None:
        others = f" and {count - 1:,} more" if count > 1 else ""
        super().__init__(
            f"Execution {execution_id}{others} of task {task_id} still goes on: wait until it is over, or "
            "cancel it, and redact the task then."
        )
        self.task_id = task_id
        self.execution_id = execution_id
        self.count = count


class ExecutionsArchived(Refused):
    """Executions of the task have left the log for an archive; restore it first."""

    def __init__(self, task_id: UUID, execution_id: UUID, count: int) -> None:
        month = due_at_of(execution_id).strftime("%Y-%m")
        others = f" and {count - 1:,} more" if count > 1 else ""
        super().__init__(
            f"Execution {execution_id}{others} of task {task_id} is not in the log: restore the archive of "
            f"{month}, and redact the task then."
        )
        self.task_id = task_id
        self.execution_id = execution_id
        self.month = month


class RevisionRedacted(Refused):
    """The task was redacted: what its revisions held is erased; create a new task instead."""

    def __init__(self, task_id: UUID, number: int) -> None:
        super().__init__(
            f"Revision {number} of task {task_id} is redacted: what it held is erased and cannot come back; "
            "create a new task instead."
        )
        self.task_id = task_id
        self.number = number
