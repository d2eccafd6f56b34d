"""Why nothing is recorded of an instant: not yet, not any more, never, or it was lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from application.explanation import consequences, policies, rules, wording
from application.explanation.account import Rule, Statement, Verdict, decided_at
from application.explanation.lateness import LATE
from domain.facts import TaskCancelled, TaskCompleted, TaskUpdated
from domain.schedule import fires_at
from domain.task import Paused

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from application.explanation.history import History, Stint
    from application.ports import Recorded


class Silence(Struct, frozen=True, kw_only=True):
    """Why nothing is recorded."""

    verdict: Verdict
    summary: str
    statements: tuple[Statement, ...]

    @classmethod
    def of(
        cls, verdict: Verdict, summary: str, rule: Rule, *events: Recorded, besides: Sequence[Statement] = ()
    ) -> Silence:
        """With the events that the summary rests on, and what is to be said `besides`."""
        return cls(
            verdict=verdict,
            summary=summary,
            statements=(Statement.of(verdict, summary, rule, *events), *besides),
        )


def explain_silence(history: History, instant: datetime, now: datetime, later: Recorded | None) -> Silence:
    """Why no fact tells of an instant; `later` is a claim of a later occurrence of the same schedule."""
    stint = history.stint_of(instant)
    if stint is None:
        return _no_occurrence(history, instant)
    if later is not None:
        return _unaccounted(stint, later)
    if stint.closed is not None:
        return _withdrawn(history, stint, stint.closed, instant)
    if isinstance(history.task, Paused) and instant >= history.task.since:
        return _paused(history, stint, instant, now)
    fires = fires_at(stint.trigger, history.task.id, instant)
    return _expected(history, stint, fires) if fires > now else _overdue(history, stint, fires, now)


def _no_occurrence(history: History, instant: datetime) -> Silence:
    created = history.events[0]
    for stint in reversed(history.stints):
        broken_off = stint.closed is not None and not isinstance(stint.closed.fact, TaskCompleted)
        if stint.closed is not None and broken_off and stint.would_include(instant):
            return _withdrawn(history, stint, stint.closed, instant)
    if instant < decided_at(created):
        summary = f"Nothing is due at this instant: the task was created only at {_told(created)}."
        return Silence.of("no_occurrence", summary, rules.LIFECYCLE, created)
    last = history.stints[-1]
    if last.closed is not None and last.end is not None and instant > last.end:
        summary = f"Nothing is due at this instant: {_ending(last.closed)}."
        return Silence.of("no_occurrence", summary, rules.LIFECYCLE, last.closed)
    in_force = next(
        (stint for stint in reversed(history.stints) if decided_at(stint.opened) <= instant),
        history.stints[0],
    )
    summary = "The schedule has no occurrence at this instant."
    return Silence.of("no_occurrence", summary, rules.scheduled_by(in_force.trigger), in_force.opened)


def explain_spent(stint: Stint, last: Recorded) -> Silence:
    """Why nothing follows the claim that was the last one of a schedule that is bounded by `max_runs`."""
    summary = (
        f"Nothing is due at this instant: the schedule ends after {stint.trigger.max_runs} runs, "
        f"and the last one was claimed at {_told(last)}."
    )
    return Silence.of("no_occurrence", summary, rules.scheduled_by(stint.trigger), stint.opened, last)


def _unaccounted(stint: Stint, later: Recorded) -> Silence:
    summary = (
        "This occurrence is unaccounted for: a later one was claimed, and nothing is recorded of this one. "
        "That must never happen; please report it."
    )
    return Silence.of("unaccounted", summary, rules.ACCOUNTING, stint.opened, later)


def _withdrawn(history: History, stint: Stint, closed: Recorded, instant: datetime) -> Silence:
    if instant > decided_at(closed):
        summary = f"It will not run: {_ending(closed)} before it was due."
    else:
        summary = f"It did not run: no scheduler had claimed it when {_ending(closed)}."
    besides = consequences.decided_by(history, closed)
    return Silence.of("withdrawn", summary, rules.LIFECYCLE, stint.opened, closed, besides=besides)


def _paused(history: History, stint: Stint, instant: datetime, now: datetime) -> Silence:
    pause = history.pause_of(instant)
    since = f"the task is paused since {_told(pause[0])}"
    if instant > now:
        summary = f"It will not run at its instant unless the task is resumed before: {since}."
    else:
        summary = f"It did not run: {since}. What fell into the pause is recorded once it is resumed."
    rule, besides = policies.paused(history.task.definition), consequences.decided_by(history, pause[0])
    return Silence.of("paused", summary, rule, stint.opened, *pause, besides=besides)


def _expected(history: History, stint: Stint, fires: datetime) -> Silence:
    most = stint.trigger.max_runs
    bound = f", unless it has started {most} times before (max_runs)" if most is not None else ""
    summary = f"It has not run yet: its call is due at {wording.instant(fires)}{bound}."
    rule, besides = rules.scheduled_by(stint.trigger), policies.told(history, "overlap", "catch_up")
    return Silence.of("expected", summary, rule, stint.opened, besides=besides)


def _overdue(history: History, stint: Stint, fires: datetime, now: datetime) -> Silence:
    since = wording.span(now - fires)
    if now - fires <= LATE:
        summary = f"It fell due {since} ago: that a scheduler has claimed it is not recorded yet."
    else:
        summary = (
            f"It is overdue by {since}: no scheduler has claimed it yet "
            "(none is running, none can reach the log, or none has room for its call)."
        )
    return Silence.of("overdue", summary, policies.catch_up(history.task.definition), stint.opened)


def _ending(event: Recorded) -> str:
    match event.fact:
        case TaskCancelled(reason=reason):
            return f"the task was cancelled at {_told(event)}" + (f" ({reason})" if reason else "")
        case TaskUpdated():
            return f"the schedule was replaced at {_told(event)}"
        case _:
            return f"the task was completed at {_told(event)}"


def _told(event: Recorded) -> str:
    return f"{wording.instant(decided_at(event))} by {event.meta.actor}"
