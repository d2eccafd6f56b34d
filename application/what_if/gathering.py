"""Reading what the log tells of a task: its stream, what had gone on, and what came in a window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import batched
from statistics import median
from typing import TYPE_CHECKING

from msgspec import Struct

from application.explanation.history import history_of
from application.past.moment import Cut
from application.past.places import placing_events
from application.ports import Recorded
from application.streams import last_claim
from application.what_if.question import (
    MOST_BODIES,
    MOST_EVENTS,
    MOST_OCCURRENCES,
    USUAL_DURATION,
    Subject,
    TooMuchToSimulate,
)
from application.what_if.simulation import Assumption
from application.what_if.thinning import body_length, thinned
from domain.errors import FieldError, InvalidBody, TaskNotFound
from domain.facts import TaskCreated, TaskUpdated
from domain.success import looks_at_bodies

if TYPE_CHECKING:
    from uuid import UUID

    from application.explanation.claims import Streams
    from application.explanation.history import History
    from application.past.moment import Moment
    from application.what_if.question import Question, Runs

AT_ONCE = 100


class Usual(Struct, frozen=True):
    """How long a run takes of which nothing is recorded: the median of `calls`; of 0: given, or guessed."""

    duration: timedelta
    calls: int

    @property
    def assumption(self) -> Assumption:
        """The same for a simulation."""
        return Assumption(duration=self.duration)


class Read(Struct, frozen=True):
    """What was read of a task, `found` by position; None: there is none yet."""

    subject: Subject
    usual: Usual
    found: Mapping[int, Recorded] | None

    @property
    def events(self) -> Sequence[Recorded] | None:
        """In the order of the log. To put many in order takes a while, which others need not wait for."""
        return None if self.found is None else [self.found[position] for position in sorted(self.found)]


class Gathering:
    """Reads for one answer: at most so many executions, events and bodies as one is worth."""

    def __init__(self, log: Streams, runs: Runs, question: Question) -> None:
        self._log = log
        self._runs = runs
        self._question = question
        self._room = MOST_OCCURRENCES
        self._events_left = MOST_EVENTS
        self._bodies_left = MOST_BODIES

    async def of(self, subject: Subject, moment: Moment, until: datetime, *, past: bool = False) -> Read:
        """What a simulation of a task from a moment on needs.

        Raises `TaskNotFound`, `TooMuchToSimulate` and `LogUnavailable`; of the past of a redacted task
        `InvalidBody`.
        """
        usual = await self._usual(subject.task_id)
        if subject.task_id is None:
            return Read(subject, usual, None)
        history = await self._task(subject.task_id)
        if past and history.task.redacted_at is not None:
            detail = (
                f"Task {subject.task_id} is redacted: what its answers were judged by is erased, so its past "
                "cannot be lived through once more. Leave this out, or name other tasks."
            )
            raise InvalidBody([FieldError(pointer="/past", detail=detail)])
        bodies = subject.bodies or any(_by_bodies(event.fact) for event in history.events)
        return Read(subject, usual, await self._events(history, moment, until, bodies=bodies))

    async def _task(self, task_id: UUID) -> History:
        """The task's own history. Raises `TaskNotFound` and `LogUnavailable`."""
        history = history_of(task_id, await self._log.read_stream(task_id))
        if history is None or history.task.namespace != self._question.namespace:
            raise TaskNotFound(task_id)
        return history

    async def _events(
        self, history: History, moment: Moment, until: datetime, *, bodies: bool
    ) -> Mapping[int, Recorded]:
        """The task's events and, of its executions, those of what went on at a moment or came before `until`.

        By position. Raises `TooMuchToSimulate` and `LogUnavailable`.
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
            raise TooMuchToSimulate.occurrences(MOST_OCCURRENCES)
        found = {event.position: event for event in history.events}
        self._take(history.events)
        for some in batched({*runs, *(event.stream for event in placing)}, AT_ONCE):
            thin = [thinned(event, bodies=bodies) for event in await self._runs.streams(some)]
            self._take(thin)
            found |= {event.position: event for event in thin}
        return found

    def _take(self, events: Sequence[Recorded]) -> None:
        """Raises `TooMuchToSimulate`."""
        self._events_left -= len(events)
        if self._events_left < 0:
            raise TooMuchToSimulate(f"More than {MOST_EVENTS:,} events would have to be read")
        self._bodies_left -= sum(map(body_length, events))
        if self._bodies_left < 0:
            raise TooMuchToSimulate(
                f"More than {MOST_BODIES:,} characters of bodies would have to be read, as `success` asks for"
            )

    async def _usual(self, task_id: UUID | None) -> Usual:
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


def _by_bodies(fact: object) -> bool:
    """Whether a task is defined so that bodies decide."""
    return isinstance(fact, TaskCreated | TaskUpdated) and looks_at_bodies(fact.definition.success)
