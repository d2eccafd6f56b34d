"""Groups that wait to be appended, and which of them may go into one call of the database."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from infrastructure.event_store.mapper import encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from application.ports import Answer, Group

MAX_EVENTS = 1_000
MAX_BYTES = 8 * 1024 * 1024


class Answers:
    """What becomes of groups that were handed over together; their caller awaits all of it in `future`."""

    __slots__ = ("_given", "_missing", "future")

    def __init__(self, count: int) -> None:
        self.future: asyncio.Future[list[Answer]] = asyncio.get_running_loop().create_future()
        self._given: list[Answer] = [None] * count
        self._missing = count

    def give(self, place: int, answer: Answer) -> None:
        """Answer one of them; the caller may have left."""
        self._given[place] = answer
        self._missing -= 1
        if self._missing == 0 and not self.future.done():
            self.future.set_result(self._given)

    def refuse(self, error: Exception) -> None:
        """Answer all of them by an exception, unless the caller has left."""
        if not self.future.done():
            self.future.set_exception(error)


class Pending:
    """A group, at its place among those that `answers` is about.

    `tried`: an earlier call with it was not answered. `alone`: it goes into a call of its own, because the
    database refused a call that held it. Streams are named by their numbers, which are quicker to compare.
    """

    __slots__ = (
        "_answered",
        "_answers",
        "_place",
        "alone",
        "group",
        "size",
        "states",
        "streams",
        "touched",
        "tried",
    )

    def __init__(self, group: Group, answers: Answers, place: int) -> None:
        self.group = group
        self._answers = answers
        self._place = place
        self._answered = False
        self.states = [encode(new.fact, group.meta) for new in group.facts]
        self.size = sum(map(len, self.states))
        self.streams = {new.stream.int for new in group.facts}
        guarded = [guard.stream.int for guard in group.guards]
        self.touched = self.streams.union(guarded) if guarded else self.streams
        self.tried = False
        self.alone = False

    @property
    def over(self) -> bool:
        """Whether it is answered, or nobody waits for that any more."""
        return self._answered or self._answers.future.done()

    def answer(self, answer: Answer) -> None:
        """Tell the caller what becomes of it, once: its last position; None when the log refuses it."""
        if not self._answered:
            self._answered = True
            self._answers.give(self._place, answer)

    def refuse(self, error: Exception) -> None:
        """Answer it, and all that were handed over with it, by an exception."""
        self._answers.refuse(error)


class Queue:
    """What waits, in the order in which it came."""

    def __init__(self) -> None:
        self._waiting: deque[Pending] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, pending: Sequence[Pending]) -> None:
        """Put them last."""
        self._waiting.extend(pending)

    def put_back(self, batch: list[Pending]) -> None:
        """Put what `take` gave first again, in its order."""
        self._waiting.extendleft(reversed(batch))

    def take(self) -> list[Pending]:
        """The next groups in order; one that meets a stream of an earlier one waits for the next call."""
        batch: list[Pending] = []
        later: list[Pending] = []
        written: set[int] = set()
        touched: set[int] = set()
        room, space = MAX_EVENTS, MAX_BYTES
        # A long run of groups on one stream is not searched to its end for every one of them.
        while self._waiting and room > 0 and space > 0 and len(later) < MAX_EVENTS:
            pending = self._waiting.popleft()
            if pending.over:
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
            self._waiting.popleft().refuse(error)
