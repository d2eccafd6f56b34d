"""A target in memory: who is called, and what it answers, from a script."""

from __future__ import annotations

import errno
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from application.ports import ResourcesExhausted
from domain.facts import Answered, Attempt
from tests.support.exchanging import TaskExchange

if TYPE_CHECKING:
    from uuid import UUID

    from application.ports import Call, Clock
    from domain.facts import Answer
    from tests.support.fake_clock import ClockAhead


@dataclass
class Seen:
    """What the target of a call would see, and when by the clock of whoever calls; and what it answers.

    `come_to` is the latest instant that this clock had come to by then, whatever it was set to since; `told`
    is how far the caller had followed the log.
    """

    at: datetime
    url: str
    execution_id: UUID
    number: int
    come_to: datetime
    told: int = 0
    answer: Answer | None = None
    over: bool = False


class FakeCaller:
    """`HttpCaller` that answers from a script, then with 200; each call `takes` its time, or its URL's.

    With `room` calls under way its machine has none for another one: it is `without` what that number means.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._script: deque[Answer] = deque()
        self.calls: list[Seen] = []
        self.takes = timedelta()
        self.takes_at: dict[str, timedelta] = {}
        self.error: Exception | None = None
        self.room: int | None = None
        self.without = errno.EMFILE
        self.refused = 0

    def answers(self, *script: Answer | int) -> None:
        """What the next calls bring; a number stands for the status of an answer."""
        self._script.extend(Answered(status_code=each) if isinstance(each, int) else each for each in script)

    def exchange(self, call: Call) -> TaskExchange:
        """See `application.ports.HttpCaller`."""
        return TaskExchange(lambda: self.call(call))

    async def call(self, call: Call, clock: ClockAhead | None = None, told: int = 0) -> Attempt:
        """Make one; `clock` is that of the caller's machine."""
        if self.room is not None and sum(not seen.over for seen in self.calls) >= self.room:
            self.refused += 1
            raise ResourcesExhausted(self.without)
        started_at, began = (clock or self._clock).now(), self._clock.steady()
        come_to = clock.look() if clock else started_at
        seen = Seen(started_at, call.action.url, call.execution_id, call.number, come_to, told)
        self.calls.append(seen)
        if self.error is not None:
            raise self.error
        seen.answer = answer = self._script.popleft() if self._script else Answered(status_code=200)
        await self._clock.pause(self.takes_at.get(call.action.url, self.takes))
        seen.over = True
        duration_ms = (self._clock.steady() - began) // timedelta(milliseconds=1)
        return Attempt(number=call.number, started_at=started_at, duration_ms=duration_ms, answer=answer)
