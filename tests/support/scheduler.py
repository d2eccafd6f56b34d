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
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
    from typing import Any
    from uuid import UUID

    from application.ports import Follower, Place, Recorded
    from domain.definition import Action
    from domain.facts import Answer, AnyFact, ExecutionFailed, ExecutionSucceeded, Occurrence

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
    """A log that can store what is appended and lose the answer, or refuse to take it.

    `meanwhile` holds what happens, once, between the storing of the first fact of a kind and the answer.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        super().__init__(now)
        self._losing = False
        self.poison: type[AnyFact] | None = None
        self.meanwhile: dict[type[AnyFact], Callable[[], Awaitable[object]]] = {}

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
        for new in group.facts if position else ():
            if happening := self.meanwhile.pop(type(new.fact), None):
                await happening()
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
        self._told = 0

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
            self._told = batch[-1].position if batch else self._told

    async def told(self) -> None:
        """Once the scheduler has heard of all that is in the log."""
        for _ in range(MAX_TURNS):
            if self._told == len(self._log.recorded):
                return
            await asyncio.sleep(0)
        raise AssertionError("nobody listens to the follower")


class FakeDueTasks:
    """`DueTasks` from the projections' own folds over the log; `projected` holds them back at a position."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self.projected: int | None = None
        self.away = False
        self.pages = 0
        self.meanwhile: Callable[[], Awaitable[object]] | None = None

    async def page(self, after: Place | None, until: datetime, limit: int) -> tuple[int, Sequence[DueTask]]:
        """See `application.ports.DueTasks`; what happens `meanwhile` comes after the snapshot."""
        self.pages += 1
        events = self._events()
        rows = tasks.fold({}, events).rows.values()
        places = sorted(
            (row.next_run, row.id, row.version, row.namespace, row.definition)
            for row in rows
            if row.next_run is not None and row.definition is not None
        )
        due = [
            DueTask(task_id=task_id, version=version, namespace=namespace, definition=known, due_at=due_at)
            for due_at, task_id, version, namespace, known in places
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


class FakeNodes:
    """`Nodes` in memory; a node whose beat a test puts here itself never beats again."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.known: dict[str, datetime] = {}
        self.away = False

    async def beat(self, node: str) -> None:
        """See `application.ports.Nodes`."""
        self._answering()
        self.known[node] = self._clock.now()

    async def beats(self) -> Mapping[str, datetime]:
        """See `application.ports.Nodes`."""
        self._answering()
        return dict(self.known)

    async def leave(self, node: str) -> None:
        """See `application.ports.Nodes`."""
        self._answering()
        self.known.pop(node, None)

    def _answering(self) -> None:
        if self.away:
            raise LogUnavailable("the nodes are away")


@dataclass
class Observations:
    """`SchedulerObserver` that keeps what it hears."""

    claims: list[tuple[int, int]] = field(default_factory=list)
    calls: list[int] = field(default_factory=list)
    entries: list[int] = field(default_factory=list)
    ends: list[tuple[Occurrence, ExecutionSucceeded | ExecutionFailed]] = field(default_factory=list)

    def claimed(self, won: int, refused: int) -> None:
        """See `application.ports.SchedulerObserver`."""
        self.claims.append((won, refused))

    def in_flight(self, calls: int) -> None:
        """See `application.ports.SchedulerObserver`."""
        self.calls.append(calls)

    def indexed(self, entries: int) -> None:
        """See `application.ports.SchedulerObserver`."""
        self.entries.append(entries)

    def finished(self, occurrence: Occurrence, outcome: ExecutionSucceeded | ExecutionFailed) -> None:
        """See `application.ports.SchedulerObserver`."""
        self.ends.append((occurrence, outcome))


class World:
    """A log, a clock, a target and the users' commands; and schedulers, as many as a test runs."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.log = FlakyLog(self.clock.now)
        self.caller = FakeCaller(self.clock)
        self.follower = FakeFollower(self.log)
        self.due_tasks = FakeDueTasks(self.log)
        self.nodes = FakeNodes(self.clock)
        self.observed = Observations()
        self.commands = TaskCommands(self.log, self.clock, uuid7)

    @property
    def calls(self) -> list[Call]:
        """What the target has seen."""
        return self.caller.calls

    def context(self, name: str = "node-1") -> Context:
        """What the parts of one scheduler share."""
        return Context(
            log=self.log,
            clock=self.clock,
            caller=self.caller,
            observer=self.observed,
            node=Node(name=name, margin=LEASE),
            chance=lambda: 0.5,
        )

    @contextlib.asynccontextmanager
    async def scheduler(
        self,
        name: str = "node-1",
        *,
        concurrency: int = 10,
        grace: timedelta = GRACE,
        follower: Follower | None = None,
    ) -> AsyncIterator[asyncio.Task[None]]:
        """A scheduler that runs for the length of the block, unless it ends before; its errors are raised."""
        engine = Scheduler(
            self.context(name),
            self.due_tasks,
            follower or self.follower,
            self.nodes,
            concurrency=concurrency,
            grace=grace,
        )
        running = asyncio.create_task(engine.run())
        await self.clock.settle()
        try:
            yield running
        finally:
            running.cancel()
            await self.clock.until(running.done)
            if not running.cancelled():
                running.result()

    async def create(self, **words: Any) -> UUID:
        """A task, by the words of `tests.support.given.definition`."""
        return (await self.commands.create(definition(**words), REQUEST)).task_id

    async def update(self, task_id: UUID, **words: Any) -> None:
        """Another definition for a task."""
        await self.commands.update(task_id, definition(**words), REQUEST, if_match=None)

    async def cancel(self, task_id: UUID) -> None:
        """The user's end of a task."""
        await self.commands.cancel(task_id, REQUEST, if_match=None)

    async def append(self, stream: UUID, *facts: AnyFact) -> None:
        """Facts that others have left in the log."""
        version = len(self.log.facts(stream)) + 1
        new = tuple(NewFact(stream, place, fact) for place, fact in enumerate(facts, start=version))
        meta = Meta(actor="tester", correlation_id="", command_id=uuid7())
        assert await self.log.append(Group(facts=new, meta=meta)) is not None

    def facts[F: AnyFact](self, kind: type[F]) -> list[F]:
        """Everything of one kind that has happened, in order."""
        return [fact for fact in self.log.facts() if isinstance(fact, kind)]

    def names(self, stream: UUID) -> list[str]:
        """What has happened to one task or execution."""
        return [type(fact).__name__ for fact in self.log.facts(stream)]
