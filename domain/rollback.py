"""Rolling a task back to an earlier definition: an update, validated by the rules of today."""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from domain import task as tasks
from domain.definition import Definition
from domain.errors import (
    RevisionInvalid,
    RevisionIsCurrent,
    RevisionRedacted,
    TaskAlreadyOver,
    ValidationFailed,
)
from domain.facts import TaskUpdated
from domain.task import FinishedTask, Task
from domain.validation import validate


def roll_back(
    task: Task, number: int, earlier: Definition, now: datetime, expected_version: int | None
) -> TaskUpdated:
    """Replace the definition by that of revision `number`. An unchanged trigger keeps the next run.

    Raises `TaskAlreadyOver`, `RevisionRedacted`, `VersionMismatch`, `RevisionIsCurrent` and
    `RevisionInvalid`.
    """
    tasks.check_version(task, expected_version)
    if task.redacted_at is not None:
        raise RevisionRedacted(task.id, number)
    if isinstance(task, FinishedTask):
        raise TaskAlreadyOver(task.id, task.status)
    try:
        admitted = validate(earlier, now, current=task.definition.trigger)
    except ValidationFailed as error:
        raise RevisionInvalid(task.id, number, error.errors) from None
    fact = tasks.update(task, admitted, now, expected_version)
    if fact is None:
        raise RevisionIsCurrent(task.id, number)
    return replace(fact, rolled_back_to=number)
