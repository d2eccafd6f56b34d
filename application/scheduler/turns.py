"""What waits for this node's turn: the owner's is at once, the others' when it has done nothing."""

from __future__ import annotations

import asyncio
import heapq
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from application.scheduler.claimer import MAX_EARLY
from application.scheduler.claimer import MAX_READY as MAX_DUE
from application.scheduler.waiting import UNABLE_PAUSE, first_of, to_its_end

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from application.scheduler.context import Context

# Like the claims of what is due, with those that came early: more would only make leases grow old.
MAX_READY = MAX_DUE + MAX_EARLY
TOGETHER = 100


class Turns:
    """Tasks or executions, each with the moment at which it was heard of, in the order of their turns.

    A turn follows from who the members are, so all are reckoned anew when these change, and only then.
    """

    def __init__(self, context: Context, waiting: Callable[[], int]) -> None:
        """`waiting` tells how many won claims wait to be sent, but for those of full hosts."""
        self._clock = context.clock
        self._members = context.members
        self._observer = context.observer
        self._waiting = waiting
        self._heard: dict[UUID, timedelta] = {}
        self._turns: dict[UUID, timedelta] = {}
        self._heap: list[tuple[timedelta, UUID]] = []
        self._changed = asyncio.Event()
        context.members.tell(self._members_changed)

    def add(self, subject: UUID) -> None:
        """Wait for the turn; what waits already goes on waiting."""
        if subject not in self._heard:
            self._heard[subject] = self._clock.steady()
            self._push(subject)
        self._changed.set()

    def discard(self, subject: UUID) -> None:
        """Wait no longer."""
        self._heard.pop(subject, None)
        self._turns.pop(subject, None)

    async def take(self, claim: Callable[[UUID], Awaitable[bool | None]]) -> None:
        """Claim for ever, each once; `claim` tells whether it won, None: there was nothing to claim."""
        while True:
            await self._wait()
            if not self._members.able() or self._waiting() >= MAX_READY:
                await self._clock.pause(UNABLE_PAUSE)
                continue
            tried = await to_its_end(asyncio.gather(*map(claim, self._due())))
            if any(each is not None for each in tried):
                self._observer.claimed(tried.count(True), tried.count(False))

    async def _wait(self) -> None:
        """Until it is this node's turn with one of them."""
        self._changed.clear()
        turn = self._next()
        if turn is None:
            await self._changed.wait()
        elif turn > self._clock.steady():
            await first_of(self._clock.pause(turn - self._clock.steady()), self._changed.wait())

    def _due(self) -> list[UUID]:
        now = self._clock.steady()
        due: list[UUID] = []
        while len(due) < TOGETHER and (turn := self._next()) is not None and turn <= now:
            due.append(heapq.heappop(self._heap)[1])
            self.discard(due[-1])
        return due

    def _next(self) -> timedelta | None:
        """The earliest turn; lines of what waits no longer, or since later, go as they surface."""
        while self._heap:
            turn, subject = self._heap[0]
            if self._turns.get(subject) == turn:
                return turn
            heapq.heappop(self._heap)
        return None

    def _push(self, subject: UUID) -> None:
        self._turns[subject] = turn = self._heard[subject] + self._members.patience(subject)
        heapq.heappush(self._heap, (turn, subject))

    def _members_changed(self) -> None:
        self._heap.clear()
        for subject in self._heard:
            self._push(subject)
        self._changed.set()
