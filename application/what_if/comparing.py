"""Two accounts of one window, side by side: what happened, or will, and what would."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from msgspec import Struct

from application.what_if.books import Books, Call, Counts, Difference, Entry, count, differences
from application.what_if.downtimes import Downtimes
from application.what_if.gathering import Usual
from application.what_if.load import Loads, crowding, histogram, load
from application.what_if.question import MOST_OCCURRENCES, Subject, TooMuchToSimulate, Window
from application.what_if.record import Record
from application.what_if.simulation import Simulation
from domain.definition import Trigger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from application.what_if.budget import Budget
    from application.what_if.simulation import Change


class Basis(Struct, frozen=True):
    """What a simulation of a task starts from; definitions change as they would be admitted `at` an instant.

    `happened`: the record tells what came before the change; else that has to be simulated as well.
    """

    record: Record
    subject: Subject
    at: datetime
    usual: Usual
    happened: bool


class Side(Struct, frozen=True):
    """What a window comes to for one task, by one account, and which triggers were in force since when."""

    triggers: tuple[tuple[datetime, Trigger], ...]
    entries: dict[UUID, Entry]
    calls: tuple[Call, ...]

    @property
    def counts(self) -> Counts:
        """How many occurrences came to what."""
        return count(self.entries.values())


class Account(Struct, frozen=True, kw_only=True):
    """A task by both accounts; `task_id` None: there is none yet.

    `assumed` are the executions that rest on an assumption, by either.
    """

    task_id: UUID | None
    name: str
    before: Side
    after: Side
    assumed: frozenset[UUID]
    usual: Usual


class Accounts(Struct, frozen=True, kw_only=True):
    """All tasks by both accounts, and the first of the `total` differences.

    `downtimes` are spans in which nobody claimed, by what late claims tell.
    """

    window: Window
    tasks: tuple[Account, ...]
    differences: tuple[Difference, ...]
    total: int
    loads: Loads
    downtimes: tuple[tuple[datetime, datetime], ...]


class Comparison:
    """Lives through a window for one task after the other, as many occurrences as one answer is worth."""

    def __init__(self, window: Window, downtimes: Downtimes, budget: Budget) -> None:
        self._window = window
        self._downtimes = downtimes
        self._budget = budget
        self._room = MOST_OCCURRENCES

    def account(self, basis: Basis, start: datetime) -> Account:
        """What the window comes to when it is lived through from `start` on. Raises `TooMuchToSimulate`."""
        before, assumed = self._before(basis, start)
        simulation = self._lived(basis, start, lambda old: basis.subject.redefine(old, basis.at))
        after = self._side(Books(basis.record.start, basis.record.before, simulation.facts))
        return Account(
            task_id=basis.subject.task_id,
            name=simulation.state.task.definition.name,
            before=before,
            after=after,
            assumed=frozenset(assumed | simulation.assumed),
            usual=basis.usual,
        )

    def _before(self, basis: Basis, start: datetime) -> tuple[Side, set[UUID]]:
        record = basis.record
        if basis.subject.task_id is None:
            return Side((), {}, ()), set()
        if basis.happened:
            return self._side(Books(record.start, record.before, record.facts)), set()
        simulation = self._lived(basis, start, lambda same: same)
        books = Books(record.start, record.before, simulation.facts)
        return self._side(books), simulation.assumed

    def _lived(self, basis: Basis, start: datetime, change: Change) -> Simulation:
        simulation = Simulation(basis.record, change, basis.usual.assumption, self._downtimes)
        known = len(simulation.state.executions)
        for _ in self._budget.over(simulation.steps(start)):
            if len(simulation.state.executions) - known > self._room:
                raise TooMuchToSimulate.occurrences(MOST_OCCURRENCES)
        self._room -= len(simulation.state.executions) - known
        return simulation

    def _side(self, books: Books) -> Side:
        start, end = self._window.start, self._window.end
        calls = tuple(call for call in books.calls if start <= call.sent_at < end)
        return Side(tuple(books.triggers), books.within(start, end), calls)


def accounts(
    window: Window, tasks: Sequence[Account], limit: int, downtimes: Sequence[tuple[datetime, datetime]]
) -> Accounts:
    """The accounts of all tasks, and up to `limit` differences, in the order of the occurrences."""
    before = {run: entry for task in tasks for run, entry in task.before.entries.items()}
    after = {run: entry for task in tasks for run, entry in task.after.entries.items()}
    found = differences(before, after)
    return Accounts(
        window=window,
        tasks=tuple(tasks),
        differences=tuple(found[:limit]),
        total=len(found),
        loads=_loads(window, tasks),
        downtimes=tuple(span for span in downtimes if span[1] > window.start and span[0] < window.end),
    )


def _loads(window: Window, tasks: Sequence[Account]) -> Loads:
    before, after = _sent([task.before for task in tasks]), _sent([task.after for task in tasks])
    instants = [[call.sent_at for calls in account.values() for call in calls] for account in (before, after)]
    width, buckets = histogram(window.start, window.end, *instants)
    return Loads(
        before=load(instants[0]),
        after=load(instants[1]),
        width=width,
        buckets=tuple(buckets),
        crowding=tuple(crowding(before, after, window.end)),
    )


def _sent(sides: Sequence[Side]) -> dict[str, list[Call]]:
    """Calls by their destination."""
    sent: dict[str, list[Call]] = {}
    for side in sides:
        for call in side.calls:
            sent.setdefault(call.destination, []).append(call)
    return sent
