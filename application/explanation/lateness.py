"""Why a claim came late, as far as the log tells: it holds what users did, not which schedulers ran."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from application.explanation import policies, rules, wording
from application.explanation.account import decided_at

if TYPE_CHECKING:
    from application.explanation.account import Rule
    from application.explanation.history import History
    from application.ports import Recorded
    from domain.facts import ExecutionStarted

LATE = timedelta(seconds=1)
"""What starts within this after its instant is on time for an explanation."""


def why_late(history: History, fact: ExecutionStarted) -> tuple[str, Rule, tuple[Recorded, ...]]:
    """What is known of it, the rule that decided, and the task's events that tell it."""
    due_at = fact.occurrence.due_at
    definition = history.definition(fact.occurrence.task_version)
    if fact.occurrence.kind != "scheduled":
        return "no scheduler had seen the request before", rules.REQUEST, ()
    stint = history.stint_of(due_at)
    if stint is not None and decided_at(stint.opened) > due_at:
        put_there = wording.instant(decided_at(stint.opened))
        return f"the task was put on this instant only at {put_there}", rules.LIFECYCLE, (stint.opened,)
    pause = history.pause_of(due_at)
    if len(pause) == 2:
        resumed = wording.instant(decided_at(pause[1]))
        return f"the task was paused until {resumed}", policies.paused(definition), pause
    why = "none was running, none could reach the log, or none had room for its call"
    return f"no scheduler had claimed it before ({why})", policies.catch_up(definition), ()


def beside(behind: timedelta) -> str:
    """How far from its instant something was; negative is ahead of it."""
    if not behind:
        return "at its instant"
    return f"{wording.span(abs(behind))} {'ahead of' if behind < timedelta() else 'after'} its instant"
