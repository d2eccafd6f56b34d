"""What the end of an execution did to its task, by the task's own policies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from application.explanation import policies, wording
from application.explanation.account import Statement, decided_at
from application.explanation.runs import named
from domain.facts import TaskCancelled, TaskFailuresCounted, TaskPaused

if TYPE_CHECKING:
    from application.explanation.history import History
    from application.ports import Recorded

MOST_NAMED = 20
"""Of so many failures in a row, the last ones are named."""


def of_end(history: History, event: Recorded) -> list[Statement]:
    """What was decided together with an execution's last event."""
    beside = history.beside(event)
    decided = [statement for each in beside for statement in decided_by(history, each)]
    return decided or [statement for each in beside for statement in _counted(history, each)]


def decided_by(history: History, change: Recorded) -> list[Statement]:
    """Why a scheduler paused or cancelled the task by itself; nothing when a user did, or none was it."""
    match change.fact:
        case TaskPaused():
            return _disabled(history, change)
        case TaskCancelled(reason=str(reason)):
            at = wording.instant(decided_at(change))
            rule = policies.on_gone(history.definition(change.version))
            return [
                Statement.of("task_cancelled", f"The task was cancelled at {at}: {reason}.", rule, change)
            ]
        case _:
            return []


def failing(history: History) -> list[Statement]:
    """How many executions have failed in a row by now, if any have and they are counted."""
    row = history.row_of_failures(history.events[-1])
    if not row:
        return []
    failed = "execution" if len(row) == 1 else f"{len(row)} executions"
    rule = policies.disable_after_failures(history.task.definition)
    return [Statement.of("failures_counted", f"The last {failed} failed.", rule, *row[-MOST_NAMED:])]


def _disabled(history: History, pause: Recorded) -> list[Statement]:
    for each in history.beside(pause):
        if isinstance(each.fact, TaskFailuresCounted):
            row = history.row_of_failures(each)[-MOST_NAMED:]
            failed = wording.counted(each.fact.failures, "execution")
            said = (
                f"The task was paused at {wording.instant(decided_at(pause))}: {failed} failed in a row, "
                f"last {named(each.fact.execution_id)}."
            )
            rule = policies.disable_after_failures(history.definition(pause.version))
            return [Statement.of("task_paused", said, rule, *row, pause)]
    return []


def _counted(history: History, event: Recorded) -> list[Statement]:
    match event.fact:
        case TaskFailuresCounted(failures=failures):
            said = f"That is failure {failures} in a row." if failures else "That ended a row of failures."
            rule = policies.disable_after_failures(history.definition(event.version))
            return [Statement.of("failures_counted", said, rule, event)]
        case _:
            return []
