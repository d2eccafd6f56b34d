"""Why a claim came late, as far as the log tells: it holds what users did, not which schedulers ran."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from application.explanation import policies, rules, wording
from application.explanation.account import decided_at

if TYPE_CHECKING:
    from datetime import datetime

    from application.explanation.account import Rule
    from application.explanation.history import History
    from application.ports import Recorded
    from domain.facts import ExecutionStarted

LATE = timedelta(seconds=1)
"""What starts within this after its instant is on time for an explanation."""
NOBODY = "(none was running, none could reach the log, or none had room for its call)"


def why_late(history: History, fact: ExecutionStarted) -> tuple[str, Rule, tuple[Recorded, ...]]:
    """What is known of it, the rule that decided, and the task's events that tell it."""
    due_at = fact.occurrence.due_at
    definition = history.definition(fact.occurrence.task_version)
    if fact.occurrence.kind != "scheduled":
        return "no scheduler had seen the request before, or none had room for its call", rules.REQUEST, ()
    stint = history.stint_of(due_at)
    if stint is not None and decided_at(stint.opened) > due_at:
        why = f"the task was put on this instant only at {wording.instant(decided_at(stint.opened))}"
        return why + _after(decided_at(stint.opened), fact), rules.LIFECYCLE, (stint.opened,)
    pause = history.pause_of(due_at)
    if len(pause) == 2:
        why = f"the task was paused until {wording.instant(decided_at(pause[1]))}"
        return why + _after(decided_at(pause[1]), fact), policies.paused(definition), pause
    return f"no scheduler had claimed it before {NOBODY}", policies.catch_up(definition), ()


def _after(possible_since: datetime, fact: ExecutionStarted) -> str:
    """What else made it late, when it was not claimed soon after it could be."""
    return f", and then no scheduler claimed it at once {NOBODY}" if fact.at - possible_since > LATE else ""


def beside(behind: timedelta) -> str:
    """How far from its instant something was; negative is ahead of it."""
    if not behind:
        return "at its instant"
    return f"{wording.span(abs(behind))} {'ahead of' if behind < timedelta() else 'after'} its instant"
