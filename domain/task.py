"""A task's life: `decide` functions answer a command with facts, `evolve` follows what has happened.

```
            create                     the last occurrence is over
   (none) ─────────▶ scheduled ───────────────────────────────────────▶ completed | failed
                      │  ▲ update                                          ▲
                      │  └─┘                                               │
                      │  pause                                             │
                      ├─────────▶ paused ──────────────────────────────────┘
                      │ ◀─────── resume │
                      └──── cancel ─────┴───▶ cancelled
```
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, assert_never
from uuid import UUID

import msgspec
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from domain.definition import Definition, OneOff
from domain.errors import TaskAlreadyOver, VersionMismatch, pointer
from domain.facts import (
    Occurrence,
    Outcome,
    TaskCancelled,
    TaskCompleted,
    TaskCreated,
    TaskFact,
    TaskFailuresCounted,
    TaskPaused,
    TaskRedacted,
    TaskResumed,
    TaskUpdated,
)
from domain.schedule import ends, first_due, includes, instant_of, next_after, spent

if TYPE_CHECKING:
    from collections.abc import Iterator


class Difference(Struct, frozen=True, kw_only=True):
    """A member at a JSON pointer (RFC 6901), as it was and as it is; unset: there was, or is, none."""

    pointer: str
    old: Any | UnsetType = UNSET
    new: Any | UnsetType = UNSET


def differences(old: Definition, new: Definition) -> tuple[Difference, ...]:
    """Every member that differs, in the order of the definition; arrays are compared as a whole."""
    return tuple(_between((), msgspec.to_builtins(old), msgspec.to_builtins(new)))


def changed_members(old: Definition, new: Definition) -> tuple[str, ...]:
    """The members of a definition that differ, such as `trigger`."""
    return tuple(dict.fromkeys(found.pointer.split("/")[1] for found in differences(old, new)))


def _between(names: tuple[str, ...], old: Any, new: Any) -> Iterator[Difference]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in old | new:
            yield from _between((*names, name), old.get(name, UNSET), new.get(name, UNSET))
    elif not _same(old, new):
        yield Difference(pointer=pointer(*names), old=old, new=new)


def _same(old: Any, new: Any) -> bool:
    """As JSON has it: to Python, true is 1."""
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(map(_same, old, new))
    if isinstance(old, dict) and isinstance(new, dict):
        return old.keys() == new.keys() and all(_same(old[name], new[name]) for name in old)
    return isinstance(old, bool) == isinstance(new, bool) and bool(old == new)


class TaskBase(Struct, frozen=True, gc=False, kw_only=True):
    """What every state of a task tells. `version` counts its facts.

    `failures` is how many executions have failed in a row, if its retry policy has them counted; the last
    `counts` facts only counted them, which is no change that `updated_at` or a user's If-Match tells of.
    `redacted_at` is when the last of its sensitive data was erased.
    """

    id: UUID
    namespace: str
    definition: Definition
    version: int
    created_at: datetime
    updated_at: datetime
    failures: int = 0
    counts: int = 0
    redacted_at: datetime | None = None


class Pause(Struct, frozen=True, gc=False, kw_only=True):
    """A pause that is over: what was due from `since` on and before `until` did not start."""

    since: datetime
    until: datetime


class Placed(TaskBase, frozen=True, kw_only=True):
    """Has a place: the last change of the trigger put the first occurrence at `placed_at`, in `placed_in`.

    `placed_runs` is how many runs counted there already.
    """

    placed_at: datetime
    placed_in: int
    placed_runs: int = 0


class Scheduled(Placed, frozen=True, kw_only=True):
    """Fires. `pause` is the last one, if any."""

    pause: Pause | None = None


class Paused(Placed, frozen=True, kw_only=True):
    """Starts nothing by itself since `since`; what was started before goes on, and so do its retries."""

    since: datetime
    note: str | None = None


class FinishedTask(TaskBase, frozen=True, kw_only=True):
    """Fires no more: a schedule that is through, or a cancelled task."""

    status: Ending


type Ending = Literal["completed", "failed", "cancelled"]
type Task = Scheduled | Paused | FinishedTask


def create(namespace: str, definition: Definition, now: datetime) -> TaskCreated:
    """Accept an validated definition; all but a one-off start with the first occurrence after now."""
    return TaskCreated(
        at=now, namespace=namespace, definition=definition, next_run_at=first_due(definition.trigger, now)
    )


def update(
    task: Task, definition: Definition, now: datetime, expected_version: int | None
) -> TaskUpdated | None:
    """Replace the definition; None when its JSON is the same. An unchanged trigger keeps its place.

    Raises `TaskAlreadyOver` and `VersionMismatch`.
    """
    check_version(task, expected_version)
    match task:
        case Scheduled() | Paused():
            if not differences(task.definition, definition):
                return None
            moved = definition.trigger != task.definition.trigger
            place = first_due(definition.trigger, now) if moved else None
            return TaskUpdated(at=now, definition=definition, next_run_at=place)
        case FinishedTask():
            raise TaskAlreadyOver(task.id, task.status)
        case _:
            assert_never(task)


def pause(task: Task, note: str | None, now: datetime, expected_version: int | None) -> TaskPaused | None:
    """Start nothing until resumed; None when it is paused already.

    Raises `TaskAlreadyOver` and `VersionMismatch`.
    """
    check_version(task, expected_version)
    match task:
        case Scheduled():
            return TaskPaused(at=now, note=note)
        case Paused():
            return None
        case FinishedTask():
            raise TaskAlreadyOver(task.id, task.status)
        case _:
            assert_never(task)


def resume(task: Task, now: datetime, expected_version: int | None) -> TaskResumed | None:
    """Go on from where the task stood; None when it is not paused.

    Raises `TaskAlreadyOver` and `VersionMismatch`.
    """
    check_version(task, expected_version)
    match task:
        case Paused():
            return TaskResumed(at=now)
        case Scheduled():
            return None
        case FinishedTask():
            raise TaskAlreadyOver(task.id, task.status)
        case _:
            assert_never(task)


def cancel(task: Task, now: datetime, expected_version: int | None) -> TaskCancelled | None:
    """Stop firing; None when it is cancelled already. Raises `TaskAlreadyOver` and `VersionMismatch`."""
    check_version(task, expected_version)
    match task:
        case Scheduled() | Paused():
            return TaskCancelled(at=now)
        case FinishedTask(status="cancelled"):
            return None
        case FinishedTask():
            raise TaskAlreadyOver(task.id, task.status)
        case _:
            assert_never(task)


def complete(
    task: Task, outcome: Outcome, occurrence: Occurrence, execution_id: UUID, now: datetime
) -> TaskCompleted | None:
    """Close a task whose occurrence is over if none follows it; None when one does, or the task is over."""
    if isinstance(task, FinishedTask) or not ends_with(task, occurrence):
        return None
    return TaskCompleted(at=now, outcome=outcome, execution_id=execution_id)


def pass_over(task: Scheduled, due_at: datetime, runs: int, now: datetime) -> TaskUpdated | None:
    """Go on from an occurrence that was claimed before the last change of the trigger put the task on it.

    None: there is no further one. It takes a fact: the place of that older claim counts no more, and neither
    does its run; `runs` have been made since.
    """
    following = next_after(task.definition.trigger, due_at)
    if following is None:
        return None
    return TaskUpdated(at=now, definition=task.definition, next_run_at=following, runs=runs)


def completes(definition: Definition, occurrence: Occurrence) -> bool:
    """Whether the end of an occurrence that was claimed from this trigger is the end of the task.

    That of a backfill is not, unless it is all there is: earlier ones may still have to be accounted for, and
    who comes to its instant in turn ends the task.
    """
    trigger = definition.trigger
    if occurrence.kind == "manual" or not ends(trigger):
        return False
    if occurrence.kind == "backfill":
        return isinstance(trigger, OneOff) and instant_of(trigger) == occurrence.due_at
    return spent(trigger, occurrence.run) or next_after(trigger, occurrence.due_at) is None


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
    after = replace(task, version=task.version + 1, updated_at=fact.at, counts=0)
    match fact:
        case TaskCreated():
            return replace(begin(task.id, fact), version=after.version, placed_in=after.version)
        case TaskUpdated():
            return _redefined(after, fact)
        case TaskPaused():
            return _paused(after, fact)
        case TaskResumed():
            return _resumed(after, fact)
        case TaskCancelled():
            return _over(after, "cancelled")
        case TaskCompleted():
            return _over(after, "completed" if fact.outcome == "succeeded" else "failed")
        case TaskFailuresCounted():
            return replace(task, version=after.version, failures=fact.failures, counts=task.counts + 1)
        case TaskRedacted():
            return replace(after, redacted_at=fact.at)
        case _:
            assert_never(fact)


def ends_with(task: Placed, occurrence: Occurrence) -> bool:
    """Whether the end of an occurrence, whatever it was claimed from, is the end of the task as it is now."""
    if occurrence.task_version >= task.placed_in:
        return completes(task.definition, occurrence)
    # Claimed from another trigger: that run does not count, its instant may be none of this one's, and what
    # this one has before it may still have to be accounted for.
    foreign = replace(occurrence, run=0)
    if occurrence.due_at > task.placed_at or not completes(task.definition, foreign):
        return False
    return includes(task.definition.trigger, occurrence.due_at)


def _redefined(task: Task, fact: TaskUpdated) -> Task:
    task = replace(task, definition=fact.definition, failures=0)
    if isinstance(task, Placed) and fact.next_run_at is not None:
        return replace(task, placed_at=fact.next_run_at, placed_in=task.version, placed_runs=fact.runs)
    return task


def _paused(task: Task, fact: TaskPaused) -> Task:
    if isinstance(task, FinishedTask):
        return task
    return Paused(**_fields(task, Placed), since=fact.at, note=fact.note)


def _resumed(task: Task, fact: TaskResumed) -> Task:
    if not isinstance(task, Paused):
        return task
    kept = _fields(replace(task, failures=0), Placed)
    return Scheduled(**kept, pause=Pause(since=task.since, until=fact.at))


def _over(task: Task, ending: Ending) -> FinishedTask:
    return FinishedTask(**_fields(task, TaskBase), status=ending)


def _fields(task: Task, shape: type[TaskBase]) -> dict[str, Any]:
    return {name: getattr(task, name) for name in shape.__struct_fields__}


def check_version(task: Task, expected: int | None) -> None:
    """Raises `VersionMismatch` when the task has changed since the version that a user has seen (None: any).

    Counting failures is no change.
    """
    if expected is not None and not task.version - task.counts <= expected <= task.version:
        raise VersionMismatch(task.id, expected, task.version)
