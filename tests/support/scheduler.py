"""Schedulers in a world where a test drives the time: every port is a fake, and nothing waits for real."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING

from uuid_utils.compat import uuid7

from application.ports import DueTask, Group, LogUnavailable, Meta, NewFact, Patience, Undecodable, Unfinished
from application.scheduler.context import Context
from application.scheduler.node import Node
from application.scheduler.scheduler import Scheduler
from application.tasks import Request, TaskCommands
from domain.facts import Answered, Attempt
from projections import task_results, tasks
from tests.support.given import NOON, definition
from tests.support.log import MemoryLog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
    from typing import Any
    from uuid import UUID

    from application.ports import Follower, Place, Recorded
    from domain.definition import Action, Definition
    from domain.facts import AnyFact, Answer, ExecutionFailed, ExecutionSucceeded, Occurrence

LEASE = timedelta(seconds=60)
GRACE = timedelta(seconds=20)
REQUEST = Request(namespace="default", actor="tester", correlation_id="test")
# More turns than any test needs: who takes them all is going round in circles.
MAX_TURNS = 200_000

type Sleeper = tuple[datetime, int, asyncio.Future[None]]


class FakeClock:
    """`Clock` whose time moves only when a test moves it, and then from one sleeper's instant to the next."""

    def __init__(self, now: datetime = NOON) -> None:
        self._now = now
        self._sleepers: list[Sleeper] = []
        self._serial = count()

    def now(self) -> datetime:
        """See `application.ports.Clock`."""
        return self._now

    async def sleep_until(self, instant: datetime) -> None:
        """See `application.ports.Clock`."""
        if instant <= self._now:
            await asyncio.sleep(0)
            return
        waiting = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (instant, next(self._serial), waiting))
        await waiting

    async def settle(self) -> None:
        """Until nobody can go on without the time moving."""
        ready: deque[object] = asyncio.get_running_loop()._ready  # type: ignore[attr-defined]
        for _ in range(MAX_TURNS):
            await asyncio.sleep(0)
            if not ready:
                return
        raise AssertionError(f"something goes round in circles at {self._now}")

    async def reach(self, instant: datetime) -> None:
        """Let the time pass up to an instant, waking everybody at his own on the way."""
        await self.settle()
        while (wake_at := self._next_waking()) is not None and wake_at <= instant:
            self._now = wake_at
            while self._sleepers and self._sleepers[0][0] <= wake_at:
                waiting = heapq.heappop(self._sleepers)[2]
                if not waiting.done():
                    waiting.set_result(None)
            await self.settle()
        self._now = max(self._now, instant)
        await self.settle()

    async def pass_by(self, seconds: float) -> None:
        """Let some time pass."""
        await self.reach(self._now + timedelta(seconds=seconds))

    async def until(self, condition: Callable[[], bool], *, within: float = 600) -> None:
        """Let the time pass until a condition holds; fails when it does not within so many seconds."""
        deadline = self._now + timedelta(seconds=within)
        await self.settle()
        while not condition():
            wake_at = self._next_waking()
            assert wake_at is not None, "nobody waits for anything"
            assert wake_at <= deadline, f"did not happen within {within} s"
            await self.reach(wake_at)

    def _next_waking(self) -> datetime | None:
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None


class FlakyLog(MemoryLog):
    """A log that can store what is appended and lose the answer, or be too slow for a prompt append."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        super().__init__(now)
        self._losing = False
        self.poison: type[AnyFact] | None = None

    @contextlib.contextmanager
    def losing_answers(self) -> Iterator[None]:
        """Prompt appends are stored, but those who made them hear nothing."""
        self._losing = True
        try:
            yield
        finally:
            self._losing = False

    async def append(self, group: Group, *, patience: Patience = "prompt") -> int | None:
        """See `application.ports.EventLog`; facts of the kind `poison` are too much for the database."""
        if self.poison and any(isinstance(new.fact, self.poison) for new in group.facts):
            raise ValueError("the database refuses the statement")
        position = await super().append(group, patience=patience)
        if self._losing and patience == "prompt":
            raise LogUnavailable("the answer was lost")
        return position


@dataclass
class Call:
    """What the target of a call would see, and when."""

    at: datetime
    url: str
    execution_id: UUID
    number: int
    over: bool = False


class FakeCaller:
    """`HttpCaller` that answers from a script, then with 200; each call `takes` its time."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._script: deque[Answer] = deque()
        self.calls: list[Call] = []
        self.takes = timedelta()
        self.error: Exception | None = None

    def answers(self, *script: Answer | int) -> None:
        """What the next calls bring; a number stands for the status of an answer."""
        self._script.extend(Answered(status_code=each) if isinstance(each, int) else each for each in script)

    async def call(self, action: Action, execution_id: UUID, number: int) -> Attempt:
        """See `application.ports.HttpCaller`."""
        started_at = self._clock.now()
        call = Call(started_at, action.url, execution_id, number)
        self.calls.append(call)
        if self.error is not None:
            raise self.error
        answer = self._script.popleft() if self._script else Answered(status_code=200)
        await self._clock.sleep_until(started_at + self.takes)
        call.over = True
        duration_ms = (self._clock.now() - started_at) // timedelta(milliseconds=1)
        return Attempt(number=number, started_at=started_at, duration_ms=duration_ms, answer=answer)


class FakeFollower:
    """`Follower` over a log in memory that can be held back."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self._open = asyncio.Event()
        self._open.set()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Nothing is told for the length of the block."""
        self._open.clear()
        try:
            yield
        finally:
            self._open.set()

    async def follow(self, position: int) -> AsyncIterator[Sequence[Recorded]]:
        """See `application.ports.Follower`."""
        async for batch in self._log.follow(position):
            await self._open.wait()
            yield batch


class FakeDueTasks:
    """`DueTasks` from the projections' own folds over the log; `projected` holds them back at a position."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self.projected: int | None = None
        self.away = False
        self.pages = 0
        self.meanwhile: Callable[[], Any] | None = None

    async def page(self, after: Place | None, until: datetime, limit: int) -> tuple[int, Sequence[DueTask]]:
        """See `application.ports.DueTasks`; what happens `meanwhile` comes after the snapshot."""
        self.pages += 1
        events = self._events()
        rows = tasks.fold({}, events).rows.values()
        places = sorted(
            ((row.next_run, row.id, row) for row in rows if row.next_run is not None), key=lambda at: at[:2]
        )
        due = [
            DueTask(
                task_id=row.id,
                version=row.version,
                namespace=row.namespace,
                definition=row.definition,
                due_at=due_at,
            )
            for due_at, task_id, row in places
            if due_at <= until and (after is None or (due_at, task_id) > after)
        ]
        if self.meanwhile is not None:
            happening, self.meanwhile = self.meanwhile, None
            await happening()
        return len(self._log.recorded) if self.projected is None else self.projected, due[:limit]

    async def unfinished(self, limit: int) -> Sequence[Unfinished]:
        """See `application.ports.DueTasks`."""
        rows = task_results.fold({}, self._events()).rows.values()
        running = sorted(
            (row for row in rows if row.status == "running"),
            key=lambda row: (row.retry_at or row.lease_until or NOON, row.id),
        )
        return [
            Unfinished(
                execution_id=row.id, node=row.node or "", lease_until=row.lease_until, retry_at=row.retry_at
            )
            for row in running[:limit]
        ]

    def _events(self) -> list[Recorded]:
        if self.away:
            raise LogUnavailable("the read models are away")
        events = self._log.recorded[: self.projected]
        return [event for event in events if not isinstance(event.fact, Undecodable)]
