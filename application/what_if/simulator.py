"""Answers what would have happened, or will, if tasks were defined otherwise; nothing is written."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING
from uuid import UUID

from application.past import Moment
from application.what_if.comparison import Basis, Comparison, Gathering, accounts
from application.what_if.question import MOST_OCCURRENCES, Budget, Downtimes
from application.what_if.record import Record, recorded
from application.what_if.state import Key, State
from domain import task as tasks
from domain.schedule import first_from, occurrences_between, spent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from application.explanation.history import Now, Streams
    from application.ports import Recorded
    from application.what_if.comparison import Accounts, Read
    from application.what_if.question import Moments, Question, Runs, Window
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


def answer_past(
    question: Question, read: Sequence[Read], at: datetime, window: Window, budget: Budget
) -> Accounts:
    """A window of the past, simulated from an instant on. Raises `ValidationFailed`, `TooMuchToSimulate`."""

    def record_of(each: Read) -> Record:
        if (events := each.events) is None:
            definition = each.subject.redefine(None, at)
            return newborn(question.namespace, definition, at, at, window.end, budget)
        return recorded(events, at, window.end)

    bases = [
        Basis(record_of(each), each.subject, at, each.usual, happened=True) for each in budget.over(read)
    ]
    downtimes = Downtimes(span for basis in bases for span in basis.record.downtimes)
    comparison = Comparison(window, downtimes, budget)
    tasks = [comparison.account(basis, at) for basis in bases]
    return accounts(window, tasks, question.limit, downtimes.spans)


def answer_future(
    question: Question, read: Sequence[Read], now: datetime, window: Window, budget: Budget
) -> Accounts:
    """A window of the future, from how things stand now. Raises `ValidationFailed`, `TooMuchToSimulate`."""
    start, comparison = max(now, window.start - WARMING), Comparison(window, Downtimes(), budget)

    def record_of(each: Read) -> Record:
        if (events := each.events) is None:
            definition = each.subject.redefine(None, now)
            return newborn(question.namespace, definition, now, start, window.end, budget)
        return present(events, now, start, window.end, budget)

    bases = (Basis(record_of(each), each.subject, now, each.usual, happened=False) for each in read)
    return accounts(window, [comparison.account(basis, start) for basis in bases], question.limit, ())


LEAD = timedelta(seconds=1)
"""Claims are made ahead: what is due when a window begins was claimed a moment before."""
_HEAD = 2**63 - 1


class Simulator:
    """Reads, and computes in a thread, so that other requests are served meanwhile; answers take turns.

    Both raise `TaskNotFound`, `ValidationFailed`, `TooMuchToSimulate`, `NotYet` and `LogUnavailable`; that of
    the
    past `InvalidBody` for a redacted task.
    """

    def __init__(self, log: Streams, runs: Runs, moments: Moments, clock: Now) -> None:
        self._log = log
        self._runs = runs
        self._moments = moments
        self._clock = clock
        # A simulation is work for a processor that also serves the other requests.
        self._turn = asyncio.Lock()

    async def past(self, question: Question, window: Window) -> Accounts:
        """What happened in a window of the past, and what would have."""
        async with self._turn:
            moment = await self._moments.at(window.start - LEAD)
            gathering = Gathering(self._log, self._runs, question)
            read = [await gathering.of(each, moment, window.end, past=True) for each in question.subjects]
            return await _apart(lambda budget: answer_past(question, read, moment.at, window, budget))

    async def future(self, question: Question, window: Window) -> Accounts:
        """What a window of the future comes to as tasks are defined, and as they would be."""
        async with self._turn:
            now = Moment(_HEAD, self._clock.now())
            gathering = Gathering(self._log, self._runs, question)
            read = [await gathering.of(each, now, now.at) for each in question.subjects]
            return await _apart(lambda budget: answer_future(question, read, now.at, window, budget))


async def _apart[T](work: Callable[[Budget], T]) -> T:
    """What is computed in another thread, which stops when nobody waits for it any more."""
    budget = Budget()
    try:
        return await asyncio.to_thread(work, budget)
    finally:
        budget.give_up()
