"""Answers what would have happened, or will, if tasks were defined otherwise; nothing is written."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from application.past.moment import Moment
from application.what_if.comparing import Basis, Comparison, accounts
from application.what_if.downtimes import Downtimes
from application.what_if.gathering import Gathering
from application.what_if.recording import recorded
from application.what_if.starting import WARMING, newborn, present

if TYPE_CHECKING:
    from application.explanation.claims import Now, Streams
    from application.what_if.comparing import Accounts
    from application.what_if.question import Moments, Question, Runs, Subject, Window

LEAD = timedelta(seconds=1)
"""Claims are made ahead: what is due when a window begins was claimed a moment before."""
_HEAD = 2**63 - 1


class Simulator:
    """Simulates in slices, between which other requests are served; answers take turns.

    Both raise `TaskNotFound`, `Inadmissible`, `TooMuchToSimulate`, `NotYet` and `LogUnavailable`.
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
            bases = [await _past(question, gathering, each, moment, window) for each in question.subjects]
            downtimes = Downtimes(span for basis in bases for span in basis.record.downtimes)
            comparison = Comparison(window, downtimes)
            tasks = [await comparison.account(basis, moment.at) for basis in bases]
            return accounts(window, tasks, question.limit, downtimes.spans)

    async def future(self, question: Question, window: Window) -> Accounts:
        """What a window of the future comes to as tasks are defined, and as they would be."""
        async with self._turn:
            now = Moment(_HEAD, self._clock.now())
            gathering, comparison = (
                Gathering(self._log, self._runs, question),
                Comparison(window, Downtimes()),
            )
            tasks = []
            for subject in question.subjects:
                basis = await _present(question, gathering, subject, now, window)
                tasks.append(await comparison.account(basis, max(now.at, window.start - WARMING)))
            return accounts(window, tasks, question.limit, ())


async def _past(
    question: Question, gathering: Gathering, subject: Subject, moment: Moment, window: Window
) -> Basis:
    usual = await gathering.usual(subject.task_id)
    if subject.task_id is None:
        definition = subject.redefine(None, moment.at)
        record = newborn(question.namespace, definition, moment.at, moment.at, window.end)
    else:
        history = await gathering.past_of(subject.task_id)
        record = recorded(await gathering.events(history, moment, window.end), moment.at, window.end)
    return Basis(record, subject, moment.at, usual, happened=True)


async def _present(
    question: Question, gathering: Gathering, subject: Subject, now: Moment, window: Window
) -> Basis:
    usual, start = await gathering.usual(subject.task_id), max(now.at, window.start - WARMING)
    if subject.task_id is None:
        definition = subject.redefine(None, now.at)
        record = newborn(question.namespace, definition, now.at, start, window.end)
    else:
        history = await gathering.task(subject.task_id)
        record = present(await gathering.events(history, now, now.at), now.at, start, window.end)
    return Basis(record, subject, now.at, usual, happened=False)
