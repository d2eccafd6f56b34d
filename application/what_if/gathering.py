"""Reading what the log tells of a task: its stream, what had gone on, and what came in a window."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import batched
from statistics import median
from typing import TYPE_CHECKING

from msgspec import Struct

from application.explanation.history import history_of
from application.past.moment import Cut
from application.past.places import placing_events
from application.streams import last_claim
from application.what_if.question import MOST_OCCURRENCES, USUAL_DURATION, TooMuchToSimulate
from application.what_if.simulation import Assumption
from domain.errors import FieldError, InvalidBody, TaskNotFound

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from application.explanation.claims import Streams
    from application.explanation.history import History
    from application.past.moment import Moment
    from application.ports import Recorded
    from application.what_if.question import Question, Runs

AT_ONCE = 500


class Usual(Struct, frozen=True):
    """How long a run takes of which nothing is recorded: the median of `calls`; of 0: given, or guessed."""

    duration: timedelta
    calls: int

    @property
    def assumption(self) -> Assumption:
        """The same for a simulation."""
        return Assumption(duration=self.duration)


class Gathering:
    """Reads for one answer: at most so many executions as one is worth."""

    def __init__(self, log: Streams, runs: Runs, question: Question) -> None:
        self._log = log
        self._runs = runs
        self._question = question
        self._room = MOST_OCCURRENCES

    async def task(self, task_id: UUID) -> History:
        """The task's own history. Raises `TaskNotFound` and `LogUnavailable`."""
        history = history_of(task_id, await self._log.read_stream(task_id))
        if history is None or history.task.namespace != self._question.namespace:
            raise TaskNotFound(task_id)
        return history

    async def past_of(self, task_id: UUID) -> History:
        """The same, of a task whose past can be lived through. Raises `InvalidBody` for a redacted one."""
        history = await self.task(task_id)
        if history.task.redacted_at is not None:
            detail = (
                f"Task {task_id} is redacted: what its answers were judged by is erased, so its past cannot "
                "be lived through once more. Leave this out, or name other tasks."
            )
            raise InvalidBody([FieldError(pointer="/past", detail=detail)])
        return history

    async def events(self, history: History, moment: Moment, until: datetime) -> Sequence[Recorded]:
        """The task's events and, of its executions, those of what went on at a moment or came before `until`.

        In the order of the log. Raises `TooMuchToSimulate` and `LogUnavailable`.
        """
        task_id = history.task.id
        earlier = history_of(
            task_id, [event for event in history.events if event.position <= moment.position]
        )
        placing = () if earlier is None else await placing_events(Cut(self._log, moment), earlier, moment.at)
        since = moment.at if earlier is None else min(moment.at, _place(earlier, placing) or moment.at)
        runs = await self._runs.of_task(task_id, since, until, moment.position, self._room + 1)
        self._room -= len(runs)
        if self._room < 0:
            raise TooMuchToSimulate
        found = {event.position: event for event in history.events}
        for some in batched({*runs, *(event.stream for event in placing)}, AT_ONCE):
            found |= {event.position: event for event in await self._runs.streams(some)}
        return [found[position] for position in sorted(found)]

    async def usual(self, task_id: UUID | None) -> Usual:
        """How long a run of a task usually takes. Raises `LogUnavailable`."""
        if self._question.duration is not None:
            return Usual(self._question.duration, 0)
        known = () if task_id is None else await self._runs.durations_ms(task_id)
        if not known:
            return Usual(USUAL_DURATION, 0)
        return Usual(timedelta(milliseconds=median(known)), len(known))


def _place(history: History, placing: Sequence[Recorded]) -> datetime | None:
    claim = last_claim(placing)
    return history.stints[-1].placed_at if claim is None else claim.next_run_at
