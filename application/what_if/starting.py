"""Where simulations begin that no record leads up to: a task that there is not yet, and the future."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING
from uuid import UUID

from application.what_if.question import MOST_OCCURRENCES
from application.what_if.record import Record
from application.what_if.recording import recorded
from application.what_if.state import Key, State
from domain import task as tasks
from domain.neighbours import first_from
from domain.schedule import occurrences_between, spent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from application.ports import Recorded
    from application.what_if.budget import Budget
    from domain.definition import Definition

UNBORN = UUID(int=1 << 80)
"""The id of a task that there is not yet: its jitter is drawn from it."""
WARMING = timedelta(hours=1)
"""So long before a window of the future its simulation begins."""


def newborn(
    namespace: str, definition: Definition, now: datetime, start: datetime, until: datetime, budget: Budget
) -> Record:
    """A task that is created now, as it will have come to `start`."""
    task = tasks.begin(UNBORN, tasks.create(namespace, definition, now))
    state = State.of(task, Key(now, 0))
    return Record(start=_later(state, start, budget) if start > now else state, until=until)


def present(
    events: Sequence[Recorded], now: datetime, start: datetime, until: datetime, budget: Budget
) -> Record:
    """A task as it is now; of a later `start`, as it will be then, if nothing goes on an hour before."""
    record = recorded(events, now, now)
    record.commands, record.facts, record.downtimes, record.until = [], [], [], until
    if start > now:
        record.start = _later(record.start, start, budget)
    return record


def _later(state: State, start: datetime, budget: Budget) -> State:
    """The place that a schedule has come to by then, and the runs that it has made."""
    trigger, later = state.task.definition.trigger, State.of(state.task, Key(start, 0))
    later.place, later.runs = state.place, state.runs
    if state.place is None or state.place >= start:
        return later
    if trigger.max_runs is not None:
        passed = occurrences_between(trigger, state.place, start - timedelta(milliseconds=1))
        few = islice(passed, min(trigger.max_runs, MOST_OCCURRENCES))
        later.runs += 1 + sum(1 for _ in budget.over(few))
    over = spent(trigger, later.runs)
    later.place = None if over else first_from(trigger, start)
    return later
