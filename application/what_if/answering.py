"""From what was read of tasks to both accounts of a window: it only computes, for seconds at times."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from application.what_if.comparing import Basis, Comparison, accounts
from application.what_if.downtimes import Downtimes
from application.what_if.recording import recorded
from application.what_if.starting import WARMING, newborn, present

if TYPE_CHECKING:
    from collections.abc import Sequence

    from application.what_if.budget import Budget
    from application.what_if.comparing import Accounts
    from application.what_if.gathering import Read
    from application.what_if.question import Question, Window
    from application.what_if.record import Record


def past(question: Question, read: Sequence[Read], at: datetime, window: Window, budget: Budget) -> Accounts:
    """A window of the past, lived through from an instant on. Raises `Inadmissible`, `TooMuchToSimulate`."""

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


def future(
    question: Question, read: Sequence[Read], now: datetime, window: Window, budget: Budget
) -> Accounts:
    """A window of the future, from how things stand now. Raises `Inadmissible`, `TooMuchToSimulate`."""
    start, comparison = max(now, window.start - WARMING), Comparison(window, Downtimes(), budget)

    def record_of(each: Read) -> Record:
        if (events := each.events) is None:
            definition = each.subject.redefine(None, now)
            return newborn(question.namespace, definition, now, start, window.end, budget)
        return present(events, now, start, window.end, budget)

    bases = (Basis(record_of(each), each.subject, now, each.usual, happened=False) for each in read)
    return accounts(window, [comparison.account(basis, start) for basis in bases], question.limit, ())
