"""Answers what would have happened, or will, if tasks were defined otherwise; nothing is written."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from application.past.moment import Moment
from application.what_if import answering
from application.what_if.budget import Budget
from application.what_if.gathering import Gathering

if TYPE_CHECKING:
    from collections.abc import Callable

    from application.explanation.claims import Now, Streams
    from application.what_if.comparing import Accounts
    from application.what_if.question import Moments, Question, Runs, Window

LEAD = timedelta(seconds=1)
"""Claims are made ahead: what is due when a window begins was claimed a moment before."""
_HEAD = 2**63 - 1


class Simulator:
    """Reads, and computes in a thread, so that other requests are served meanwhile; answers take turns.

    Both raise `TaskNotFound`, `Inadmissible`, `TooMuchToSimulate`, `NotYet` and `LogUnavailable`; that of the
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
            return await _apart(lambda budget: answering.past(question, read, moment.at, window, budget))

    async def future(self, question: Question, window: Window) -> Accounts:
        """What a window of the future comes to as tasks are defined, and as they would be."""
        async with self._turn:
            now = Moment(_HEAD, self._clock.now())
            gathering = Gathering(self._log, self._runs, question)
            read = [await gathering.of(each, now, now.at) for each in question.subjects]
            return await _apart(lambda budget: answering.future(question, read, now.at, window, budget))


async def _apart[T](work: Callable[[Budget], T]) -> T:
    """What is computed in another thread, which stops when nobody waits for it any more."""
    budget = Budget()
    try:
        return await asyncio.to_thread(work, budget)
    finally:
        budget.give_up()
