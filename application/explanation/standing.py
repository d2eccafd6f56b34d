"""Where a task stands: that it is scheduled, who paused it and why, or what ended it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from application.explanation import consequences, policies, rules, wording
from application.explanation.account import decided_at
from application.explanation.silence import Silence
from domain.task import Over, Paused

if TYPE_CHECKING:
    from datetime import datetime

    from application.explanation.history import History


def explain_standing(history: History, now: datetime) -> Silence:
    """Where a task stands now, and by which policies an occurrence of it may not run."""
    match history.task:
        case Over(status=status):
            return _over(history, status)
        case Paused():
            return _paused(history, history.task)
        case _:
            return _scheduled(history, now)


def _over(history: History, status: str) -> Silence:
    created, end = history.events[0], history.ended_by()
    summary = f"The task is {status} since {wording.instant(decided_at(end))}: nothing further is due."
    besides = consequences.decided_by(history, end)
    return Silence.of("over", summary, rules.LIFECYCLE, created, end, besides=besides)


def _paused(history: History, task: Paused) -> Silence:
    pause = history.pause_of(task.since)
    noted = f" ({task.note})" if task.note else ""
    summary = (
        f"The task is paused since {wording.instant(task.since)} by {pause[0].meta.actor}{noted}: "
        "nothing starts until it is resumed."
    )
    besides = (*consequences.decided_by(history, pause[0]), *policies.told(history))
    return Silence.of("paused", summary, policies.paused(task.definition), *pause, besides=besides)


def _scheduled(history: History, now: datetime) -> Silence:
    stint = history.stints[-1]
    following = stint.first_from(now)
    due = f"it is due next at {wording.instant(following)}" if following else "nothing further is due"
    rule = rules.scheduled_by(stint.trigger)
    besides = (*consequences.failing(history), *policies.told(history))
    return Silence.of("scheduled", f"The task is scheduled: {due}.", rule, stint.opened, besides=besides)
