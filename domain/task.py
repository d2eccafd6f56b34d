"""A task's life: `decide` functions answer a command with facts, `evolve` follows what has happened.

```
            create                     one-off's last attempt is over
   (none) ─────────▶ scheduled ───────────────────────────────────────▶ completed | failed
                      │  ▲ update
                      │  └─┘
                      └──── cancel ───▶ cancelled
```
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal, assert_never
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from domain.definition import Definition, OneOff
from domain.errors import TaskAlreadyOver, VersionMismatch
from domain.facts import (
    Outcome,
    TaskCancelled,
    TaskCompleted,
    TaskCreated,
    TaskFact,
    TaskUpdated,
)
from domain.schedule import first_due, next_after

_MILLISECOND = timedelta(milliseconds=1)


class Known(Struct, frozen=True, kw_only=True):
    """What every state of a task tells. `version` counts its facts."""

    id: UUID
    namespace: str
    definition: Definition
    version: int
    created_at: datetime
    updated_at: datetime


class Scheduled(Known, frozen=True, kw_only=True):
    """Fires. `placed_at` is where the last change of the trigger put the first occurrence, in `placed_in`."""

    placed_at: datetime
    placed_in: int


class Over(Known, frozen=True, kw_only=True):
    """Fires no more: a one-off that is through, or a cancelled task."""

    status: Ending


type Ending = Literal["completed", "failed", "cancelled"]
type Task = Scheduled | Over


def create(namespace: str, definition: Definition, now: datetime) -> TaskCreated:
    """Accept an admitted definition; a cron's first occurrence is the first one after now."""
    return TaskCreated(
        at=now, namespace=namespace, definition=definition, next_run_at=first_due(definition.trigger, now)
    )


def update(
    task: Task, definition: Definition, now: datetime, expected_version: int | None
) -> TaskUpdated | None:
    """Replace the definition; None when it is the same. An unchanged trigger keeps its place.

    Raises `TaskAlreadyOver` and `VersionMismatch`.
    """
    _check_version(task, expected_version)
    match task:
        case Scheduled():
            if definition == task.definition:
                return None
            same = definition.trigger == task.definition.trigger
            place = None if same else first_due(definition.trigger, now)
            return TaskUpdated(at=now, definition=definition, next_run_at=place)
        case Over():
            raise TaskAlreadyOver(task.id, task.status)
        case _:
            assert_never(task)


def cancel(task: Task, now: datetime, expected_version: int | None) -> TaskCancelled | None:
    """Stop firing; None when it is cancelled already. Raises `TaskAlreadyOver` and `VersionMismatch`."""
    _check_version(task, expected_version)
    match task:
        case Scheduled():
            return TaskCancelled(at=now)
        case Over(status="cancelled"):
            return None
        case Over():
            raise TaskAlreadyOver(task.id, task.status)
        case _:
            assert_never(task)


def complete(
    task: Task, outcome: Outcome, due_at: datetime, execution_id: UUID, now: datetime
) -> TaskCompleted | None:
    """Close a one-off whose execution is over; None when it was moved to another instant, or is over."""
    match task:
        case Scheduled():
            if completes(task.definition, due_at):
                return TaskCompleted(at=now, outcome=outcome, execution_id=execution_id)
            return None
        case Over():
            return None
        case _:
            assert_never(task)


def pass_over(task: Scheduled, due_at: datetime, now: datetime) -> TaskUpdated | None:
    """Go on from an occurrence that was claimed before the last change of the trigger put the task on it.

    None: there is no further one. It takes a fact: the place of that older claim counts no more.
    """
    following = next_after(task.definition.trigger, due_at)
    if following is None:
        return None
    return TaskUpdated(at=now, definition=task.definition, next_run_at=following)


def completes(definition: Definition, due_at: datetime) -> bool:
    """Whether the end of the occurrence at `due_at` is the end of the task: it is its one and only."""
    return isinstance(definition.trigger, OneOff) and definition.trigger.datetime == due_at


def includes(definition: Definition, instant: datetime) -> bool:
    """Whether an instant is an occurrence of the definition's schedule."""
    return next_after(definition.trigger, instant - _MILLISECOND) == instant


def begin(task_id: UUID, fact: TaskCreated) -> Task:
    """The state after the first fact of a stream."""
    return Scheduled(
        id=task_id,
        namespace=fact.namespace,
        definition=fact.definition,
        version=1,
        created_at=fact.at,
        updated_at=fact.at,
        placed_at=fact.next_run_at,
        placed_in=1,
    )


def evolve(task: Task, fact: TaskFact) -> Task:
    """The state after a further fact. Never refuses: what is in the log has happened."""
    after = replace(task, version=task.version + 1, updated_at=fact.at)
    match fact:
        case TaskCreated():
            return replace(begin(task.id, fact), version=after.version, placed_in=after.version)
        case TaskUpdated():
            return _redefined(after, fact)
        case TaskCancelled():
            return _over(after, "cancelled")
        case TaskCompleted():
            return _over(after, "completed" if fact.outcome == "succeeded" else "failed")
        case _:
            assert_never(fact)


def _redefined(task: Task, fact: TaskUpdated) -> Task:
    task = replace(task, definition=fact.definition)
    if isinstance(task, Scheduled) and fact.next_run_at is not None:
        return replace(task, placed_at=fact.next_run_at, placed_in=task.version)
    return task


def _over(task: Task, ending: Ending) -> Over:
    return Over(**{name: getattr(task, name) for name in Known.__struct_fields__}, status=ending)


def _check_version(task: Task, expected: int | None) -> None:
    if expected is not None and expected != task.version:
        raise VersionMismatch(task.id, expected, task.version)
