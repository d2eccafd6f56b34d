"""Answers why: reads the streams that tell it and puts the account together."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

from msgspec import Struct

from application.explanation import policies, wording
from application.explanation import policies as consequences
from application.explanation import wording as rules
from application.explanation.execution import LATE, tell
from application.explanation.history import (
    Claims,
    Runs,
    history_of,
    occurrence_of,
    perhaps_replaced,
    spoken_of,
)
from application.explanation.wording import Explanation, Rule, Statement, Verdict, decided_at
from domain.errors import ExecutionNotFound, TaskNotFound
from domain.facts import TaskCancelled, TaskCompleted, TaskUpdated
from domain.identity import execution_id
from domain.schedule import fires_at
from domain.task import FinishedTask, Paused

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from application.explanation.history import History, Now, Stint, Streams
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
        return _while_paused(history, stint, instant, now)
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


def _while_paused(history: History, stint: Stint, instant: datetime, now: datetime) -> Silence:
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


def explain_standing(history: History, now: datetime) -> Silence:
    """Where a task stands now, and by which policies an occurrence of it may not run."""
    match history.task:
        case FinishedTask(status=status):
            return _over(history, status)
        case Paused():
            return _paused_now(history, history.task)
        case _:
            return _scheduled(history, now)


def _over(history: History, status: str) -> Silence:
    created, end = history.events[0], history.ended_by()
    summary = f"The task is {status} since {wording.instant(decided_at(end))}: nothing further is due."
    besides = consequences.decided_by(history, end)
    return Silence.of("over", summary, rules.LIFECYCLE, created, end, besides=besides)


def _paused_now(history: History, task: Paused) -> Silence:
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


_STEP = timedelta(milliseconds=1)


class Explainer:
    """Explains instants and executions. Every method raises `LogUnavailable`."""

    def __init__(self, log: Streams, clock: Now) -> None:
        self._log = log
        self._clock = clock

    async def history(self, namespace: str, task_id: UUID) -> History:
        """A task's past. Raises `TaskNotFound`."""
        history = history_of(task_id, await self._log.read_stream(task_id))
        if history is None or history.task.namespace != namespace:
            raise TaskNotFound(task_id)
        return history

    async def task(self, namespace: str, task_id: UUID, at: datetime | None) -> Explanation:
        """What happened, or will, at an instant of a task (None: where it stands). Raises `TaskNotFound`."""
        history, now = await self.history(namespace, task_id), self._clock.now()
        if at is None:
            found = explain_standing(history, now)
            previous, following = history.previous(now), history.first_from(now)
            return Explanation(
                task_id=task_id,
                execution_id=None,
                at=None,
                verdict=found.verdict,
                summary=found.summary,
                lateness_ms=None,
                previous=previous,
                next=following,
                statements=found.statements,
            )
        execution = execution_id(task_id, at, "scheduled")
        events = await self._log.read_stream(execution)
        if events:
            return await self._told(history, execution, at, events)
        return await self._silent(history, execution, at, now)

    async def execution(self, namespace: str, execution: UUID) -> Explanation:
        """What became of an execution. Raises `ExecutionNotFound`."""
        events = await self._log.read_stream(execution)
        occurrence = occurrence_of(events)
        if occurrence is None or occurrence.namespace != namespace:
            raise ExecutionNotFound(execution)
        history = history_of(occurrence.task_id, await self._log.read_stream(occurrence.task_id))
        if history is None:
            raise ExecutionNotFound(execution)
        return await self._told(history, execution, occurrence.due_at, events)

    async def end_of(self, history: History) -> datetime | None:
        """The last occurrence that `max_runs` allows, once it is claimed; None: none is known to be."""
        claims = Claims(self._log, history.task.id, history.stints[-1])
        last = await claims.last_allowed(self._clock.now())
        return None if last is None else last.occurrence.due_at

    async def _silent(self, history: History, execution: UUID, at: datetime, now: datetime) -> Explanation:
        found, following = await self._why_silent(history, at, now)
        return Explanation(
            task_id=history.task.id,
            execution_id=None if found.verdict == "no_occurrence" else execution,
            at=at,
            verdict=found.verdict,
            summary=found.summary,
            lateness_ms=None,
            previous=history.previous(at),
            next=following,
            statements=found.statements,
        )

    async def _why_silent(
        self, history: History, at: datetime, now: datetime
    ) -> tuple[Silence, datetime | None]:
        stint = history.stint_of(at)
        if stint is None:
            return explain_silence(history, at, now, None), history.first_from(at + _STEP)
        claims = Claims(self._log, history.task.id, stint)
        last = await claims.last_allowed(now)
        if last is not None and at > last.occurrence.due_at:
            return explain_spent(stint, last.event), None
        later = await claims.after(at, now)
        return explain_silence(history, at, now, later), history.first_from(at + _STEP)

    async def _told(
        self, history: History, execution: UUID, at: datetime, events: Sequence[Recorded]
    ) -> Explanation:
        others = {*spoken_of(events), *perhaps_replaced(history, events)}
        runs = Runs({run: await self._log.read_stream(run) for run in others})
        story = tell(events, at, history, runs)
        return Explanation(
            task_id=history.task.id,
            execution_id=execution,
            at=at,
            verdict=story.verdict,
            summary=story.summary,
            lateness_ms=story.lateness_ms,
            previous=history.previous(at),
            next=history.first_from(at + _STEP),
            statements=story.statements,
        )


LONGEST_WINDOW = timedelta(days=366)


class Accounted(Struct, frozen=True, kw_only=True):
    """What the ledger says about one occurrence."""

    execution_id: UUID
    due_at: datetime
    status: str
    reason: str | None


class Ledger(Protocol):
    """The occurrence ledger."""

    async def accounted(
        self, namespace: str, task_id: UUID, start: datetime, end: datetime
    ) -> Sequence[Accounted]:
        """The scheduled and backfilled occurrences that are due from `start` and before `end`."""
        ...


class Instant(Struct, frozen=True, kw_only=True):
    """A nominal instant of a task: `outcome` is the ledger's status, or what `reason` says in a sentence."""

    due_at: datetime
    execution_id: UUID
    outcome: str
    reason: str | None


class Window(Struct, frozen=True, kw_only=True):
    """Instants from `start` and before `end`; `next_from` is where the rest begins (None: that is all)."""

    start: datetime
    end: datetime
    items: tuple[Instant, ...]
    next_from: datetime | None


class Occurrences:
    """Puts schedule and ledger side by side; what the ledger does not know yet is asked of the log."""

    def __init__(self, explainer: Explainer, ledger: Ledger, clock: Now) -> None:
        self._explainer = explainer
        self._ledger = ledger
        self._clock = clock

    async def window(
        self, namespace: str, task_id: UUID, start: datetime, end: datetime, limit: int
    ) -> Window:
        """Up to `limit` instants from `start` and before `end`.

        Raises `TaskNotFound` and `LogUnavailable`.
        """
        history = await self._explainer.history(namespace, task_id)
        last = await self._explainer.end_of(history)
        nominal_end = end if last is None else min(end, last + _STEP)
        nominal = [
            due_at
            for due_at, _ in zip(
                nominal_instants(history, start, nominal_end), range(limit + 1), strict=False
            )
        ]
        reach = nominal[limit] if len(nominal) > limit else end
        known = await self._ledger.accounted(namespace, task_id, start, reach)
        rows = {row.due_at: row for row in known}
        instants = sorted({*nominal, *rows})
        shown, rest = instants[:limit], instants[limit:]
        items = [
            _of_row(rows[due_at]) if due_at in rows else await self._without_row(history, due_at)
            for due_at in shown
        ]
        return Window(start=start, end=end, items=tuple(items), next_from=rest[0] if rest else None)

    async def _without_row(self, history: History, due_at: datetime) -> Instant:
        task, now = history.task, self._clock.now()
        execution = execution_id(task.id, due_at, "scheduled")
        if due_at > now:
            found = explain_silence(history, due_at, now, None)
            return Instant(due_at=due_at, execution_id=execution, outcome=found.verdict, reason=found.summary)
        told = await self._explainer.task(task.namespace, task.id, due_at)
        return Instant(due_at=due_at, execution_id=execution, outcome=told.verdict, reason=told.summary)


def nominal_instants(history: History, start: datetime, end: datetime) -> Iterator[datetime]:
    """Every occurrence from `start` and before `end`, in order, found one at a time."""
    due_at = history.first_from(start)
    while due_at is not None and due_at < end:
        yield due_at
        due_at = history.first_from(due_at + _STEP)


def _of_row(row: Accounted) -> Instant:
    return Instant(due_at=row.due_at, execution_id=row.execution_id, outcome=row.status, reason=row.reason)
