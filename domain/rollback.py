"""Making an old definition the present one: a change like any other, judged by the rules of today."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from domain import task as tasks
from domain.errors import (
    RevisionInvalid,
    RevisionIsCurrent,
    RevisionRedacted,
    TaskAlreadyOver,
    ValidationFailed,
)
from domain.task import FinishedTask
from domain.validation import validate

if TYPE_CHECKING:
    from datetime import datetime

    from domain.definition import Definition
    from domain.facts import TaskUpdated
    from domain.task import Task


def roll_back(
    task: Task, number: int, earlier: Definition, now: datetime, expected_version: int | None
) -> TaskUpdated:
    """Replace the definition by that of the revision `number`. An unchanged trigger keeps its place.

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
