"""Groups that wait to be appended, and which of them may go into one call of the database."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from infrastructure.event_store.mapper import encode

if TYPE_CHECKING:
    from uuid import UUID

    from application.ports import Group

MAX_EVENTS = 1_000
MAX_BYTES = 8 * 1024 * 1024


@dataclass(slots=True, eq=False)
class Pending:
    """A group and the future that its caller awaits.

    `tried`: an earlier call with it was not answered. `alone`: it goes into a call of its own, because the
    database refused a call that held it.
    """

    group: Group
    answer: asyncio.Future[int | None] = field(init=False)
    states: list[bytes] = field(init=False)
    size: int = field(init=False)
    streams: frozenset[UUID] = field(init=False)
    touched: frozenset[UUID] = field(init=False)
    tried: bool = False
    alone: bool = False

    def __post_init__(self) -> None:
        self.answer = asyncio.get_running_loop().create_future()
        self.states = [encode(new.fact, self.group.meta) for new in self.group.facts]
        self.size = sum(map(len, self.states))
        self.streams = frozenset(new.stream for new in self.group.facts)
        self.touched = self.streams.union(guard.stream for guard in self.group.guards)

    def succeed(self, position: int | None) -> None:
        """Answer the caller, unless it has left."""
        if not self.answer.done():
            self.answer.set_result(position)

    def fail(self, error: Exception) -> None:
        """Refuse the caller, unless it has left."""
        if not self.answer.done():
            self.answer.set_exception(error)


class Queue:
    """What waits, in the order in which it came."""

    def __init__(self) -> None:
        self._waiting: deque[Pending] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, pending: Pending) -> None:
        """Put it last."""
        self._waiting.append(pending)

    def put_back(self, batch: list[Pending]) -> None:
        """Put what `take` gave first again, in its order."""
        self._waiting.extendleft(reversed(batch))

    def take(self) -> list[Pending]:
        """The next groups in order; one that meets a stream of an earlier one waits for the next call."""
        batch: list[Pending] = []
        later: list[Pending] = []
        written: set[UUID] = set()
        touched: set[UUID] = set()
        room, space = MAX_EVENTS, MAX_BYTES
        # A long run of groups on one stream is not searched to its end for every one of them.
        while self._waiting and room > 0 and space > 0 and len(later) < MAX_EVENTS:
            pending = self._waiting.popleft()
            if pending.answer.done():
                continue
            if pending.alone and batch:
                later.append(pending)
                break
            if pending.streams.isdisjoint(touched) and pending.touched.isdisjoint(written):
                batch.append(pending)
                room -= len(pending.group.facts)
                space -= pending.size
            else:
                later.append(pending)
            if pending.alone:
                break
            # What waits holds its streams too: groups on one stream are appended in the order they came.
            written |= pending.streams
            touched |= pending.touched
        self.put_back(later)
        return batch

    def fail_all(self, error: Exception) -> None:
        """Refuse everything that waits."""
        while self._waiting:
            self._waiting.popleft().fail(error)
