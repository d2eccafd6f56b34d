"""What is asked: which tasks, how they are to be defined, and for which windows."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

from msgspec import Struct

from domain.definition import Definition

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from application.past import Moment
    from application.ports import Recorded

MOST_TASKS = 200
LONGEST_WINDOW = timedelta(days=31)
FARTHEST = timedelta(days=366)
"""How far ahead a window may end."""
MOST_OCCURRENCES = 60_000
"""So many are simulated for one answer, at most."""
MOST_EVENTS = 200_000
MOST_BODIES = 64 * 1024 * 1024
"""So many events, and characters of bodies, are read for one answer, at most."""
USUAL_DURATION = timedelta(seconds=1)

type Redefine = Callable[[Definition | None, datetime], Definition]
"""What becomes of a definition (None: there is none yet) by an instant. Raises `ValidationFailed`."""


class TooMuchToSimulate(Exception):
    """More than one answer is worth would have to be read or simulated; ask for less."""

    def __init__(self, surplus: str) -> None:
        """`surplus`: what is too much, a sentence without its full stop."""
        super().__init__(
            f"{surplus}: give a shorter window, fewer tasks, or a schedule that fires less often."
        )

    @classmethod
    def occurrences(cls, most: int) -> TooMuchToSimulate:
        """Of so many occurrences at most."""
        return cls(f"More than {most:,} occurrences would have to be simulated")


class Subject(Struct, frozen=True):
    """A task, and what it is to be; `task_id` None: one that there is not yet.

    `bodies`: the bodies of answers may decide by what it is to be.
    """

    task_id: UUID | None
    redefine: Redefine
    bodies: bool = True


class Window(Struct, frozen=True):
    """From `start` on and before `end`."""

    start: datetime
    end: datetime


class Question(Struct, frozen=True, kw_only=True):
    """What to simulate; up to `limit` differences are told of each window.

    `duration` is how long runs take of which nothing is recorded, None: as long as the task's others usually.
    """

    namespace: str
    subjects: tuple[Subject, ...]
    limit: int
    duration: timedelta | None = None


class Runs(Protocol):
    """Executions of tasks. Every method raises `LogUnavailable`."""

    async def of_task(
        self, task_id: UUID, since: datetime, until: datetime, position: int, limit: int
    ) -> Sequence[UUID]:
        """Up to `limit` executions that are due from `since` on and before `until`.

        And those due up to a week before that of which something is recorded after a position.
        """
        ...

    async def streams(self, runs: Sequence[UUID]) -> Sequence[Recorded]:
        """Every fact of these executions, stream by stream."""
        ...

    async def durations_ms(self, task_id: UUID) -> Sequence[int]:
        """What the latest calls of a task took that succeeded; at most 101 of them."""
        ...


class Moments(Protocol):
    """Places of the log."""

    async def at(self, instant: datetime) -> Moment:
        """The moment of an instant. Raises `NotYet` and `LogUnavailable`."""
        ...


SECONDS = 60.0


class Budget:
    """Seconds of the processor, of the thread that spends them; they count from the first time it asks."""

    def __init__(self, seconds: float = SECONDS, spent: Callable[[], float] = time.thread_time) -> None:
        self._seconds = seconds
        self._spent = spent
        self._until: float | None = None
        self._given_up = False

    def give_up(self) -> None:
        """Nobody waits for the answer any more; from any thread."""
        self._given_up = True

    def check(self) -> None:
        """Raises `TooMuchToSimulate` when the time is spent, or nobody waits for what it is spent on."""
        spent = self._spent()
        if self._until is None:
            self._until = spent + self._seconds
        if self._given_up or spent > self._until:
            raise TooMuchToSimulate(f"It takes more than {self._seconds:g} seconds of a processor")

    def over[T](self, items: Iterable[T]) -> Iterator[T]:
        """The same, each checked for. Raises as `check` does."""
        for item in items:
            self.check()
            yield item


class Downtimes:
    """Spans in which no scheduler claimed: from an instant on and before another, in order, apart."""

    def __init__(self, spans: Iterable[tuple[datetime, datetime]] = ()) -> None:
        self.spans: list[tuple[datetime, datetime]] = []
        for start, end in sorted(spans):
            if self.spans and start <= self.spans[-1][1]:
                first, latest = self.spans.pop()
                self.spans.append((first, max(end, latest)))
            else:
                self.spans.append((start, end))

    def after(self, instant: datetime) -> datetime:
        """When somebody claims what can be claimed from an instant on."""
        place = bisect_right(self.spans, instant, key=lambda span: span[0])
        return instant if place == 0 else max(instant, self.spans[place - 1][1])
