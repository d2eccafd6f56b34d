"""The revisions of a task's definition: what it was, by whom it was changed, and what was changed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

from msgspec import UNSET, Struct

from application.ports import EventLog, Recorded
from application.streams import fold_task, readable, task_states
from domain.definition import Definition
from domain.errors import RevisionNotFound, TaskNotFound
from domain.facts import TaskUpdated
from domain.task import Difference, Task, changed_members, differences


class Revision(Struct, frozen=True, kw_only=True):
    """A definition that a task had, numbered from 1, and the change that brought it.

    `version` is that of the task right after the change; `changed` names the members that differ from the
    revision before; `rolled_back_to` is the revision whose definition it took again, if it did.
    """

    number: int
    version: int
    position: int
    at: datetime
    actor: str
    correlation_id: str
    address: str | None
    reason: str | None
    kind: Literal["created", "updated", "rolled_back"]
    rolled_back_to: int | None
    changed: tuple[str, ...]
    definition: Definition


class Compared(Struct, frozen=True, kw_only=True):
    """What changed from one revision to another, whichever came first."""

    old: Revision
    new: Revision
    changes: tuple[Difference, ...]


class Revisions:
    """What the log tells of definitions. Raises `LogUnavailable` when it cannot be reached."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    async def all(self, namespace: str, task_id: UUID) -> Sequence[Revision]:
        """Every revision, the first one first. Raises `TaskNotFound`."""
        events = await self._log.read_stream(task_id)
        task = fold_task(task_id, events)
        if task is None or task.namespace != namespace:
            raise TaskNotFound(task_id)
        return revisions_of(task_id, events)

    async def one(self, namespace: str, task_id: UUID, number: int) -> Revision:
        """One revision. Raises `TaskNotFound` and `RevisionNotFound`."""
        return numbered(await self.all(namespace, task_id), task_id, number)

    async def compare(self, namespace: str, task_id: UUID, old: int | None, new: int | None) -> Compared:
        """What changed from `old` (None: the one before `new`) to `new` (None: the latest).

        Raises `TaskNotFound` and `RevisionNotFound`.
        """
        revisions = await self.all(namespace, task_id)
        newer = numbered(revisions, task_id, len(revisions) if new is None else new)
        older = numbered(revisions, task_id, max(1, newer.number - 1) if old is None else old)
        return Compared(old=older, new=newer, changes=differences(older.definition, newer.definition))


def revisions_of(task_id: UUID, events: Sequence[Recorded]) -> list[Revision]:
    """The revisions that a task's stream tells of. Raises `Unreadable`.

    What only gives a task another place is none: the definition stays.
    """
    revisions: list[Revision] = []
    for event, task in task_states(task_id, events):
        before = revisions[-1].definition if revisions else None
        if task.definition is before:
            continue
        changed = changed_members(before, task.definition) if before else ()
        if changed or before is None or _was_given(event):
            revisions.append(_revision(len(revisions) + 1, event, task, changed))
    return revisions


def _was_given(event: Recorded) -> bool:
    """Whether it was an update, whose difference may have been erased since, and not only a new place."""
    fact = readable(event)
    return isinstance(fact, TaskUpdated) and fact.next_run_at is None


def _revision(number: int, event: Recorded, task: Task, changed: tuple[str, ...]) -> Revision:
    fact = readable(event)
    source = fact.rolled_back_to if isinstance(fact, TaskUpdated) else UNSET
    rolled_back_to = None if source is UNSET else source
    return Revision(
        number=number,
        version=event.version,
        position=event.position,
        at=fact.at,
        actor=event.meta.actor,
        correlation_id=event.meta.correlation_id,
        address=event.meta.address,
        reason=event.meta.reason,
        kind="created" if number == 1 else "updated" if rolled_back_to is None else "rolled_back",
        rolled_back_to=rolled_back_to,
        changed=changed,
        definition=task.definition,
    )


def numbered(revisions: Sequence[Revision], task_id: UUID, number: int) -> Revision:
    """The revision of a number. Raises `RevisionNotFound`."""
    if not 1 <= number <= len(revisions):
        raise RevisionNotFound(task_id, number, len(revisions))
    return revisions[number - 1]
