"""Schedulers in a world where a test drives the time: every port is a fake, and nothing waits for real."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from application.executions import ExecutionCommands
from application.ports import Beat, Group, HeartbeatPayload, LogUnavailable, Meta, NewFact
from application.scheduler.context import Context, SchedulerNode
from application.scheduler.scheduler import Scheduler
from application.tasks import Request, TaskCommands
from domain import execution as executions
from domain.facts import (
    ExecutionQueued,
    ExecutionSkipped,
    ExecutionStarted,
    Occurrence,
)
from domain.identity import due_at_of, execution_id
from domain.requesting import Period
from tests.support.archived import ArchivedMonths
from tests.support.fake_caller import FakeCaller
from tests.support.fake_clock import ClockAhead, FakeClock
from tests.support.fake_log import FakeDueTasks, FakeFollower, FlakyLog
from tests.support.given import NOON, definition
from tests.support.observations import Observations

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
    from typing import Any

    from application.executions import Backfilled
    from application.ports import Clock, Follower
    from domain.execution import Running
    from domain.facts import AnyFact, SkippedBy
    from tests.support.fake_caller import Seen

LEASE = timedelta(seconds=60)
GRACE = timedelta(seconds=20)
REQUEST = Request(namespace="default", actor="tester", correlation_id="test")


class FakeNodes:
    """`Nodes` in memory. A node whose beat a test puts here itself never beats again; one of `alive` does.

    Neither claims. The database's clock is a test's own `now`, unless that says otherwise.
    """

    def __init__(self, clock: Clock) -> None:
        self.now: Callable[[], datetime] = clock.now
        self.known: dict[str, datetime] = {}
        self.pulses: dict[str, HeartbeatPayload] = {}
        self.alive: set[str] = set()
        self.away = False
        self.meanwhile: Callable[[], Awaitable[object]] | None = None

    async def beat(self, node: str, pulse: HeartbeatPayload | None = None) -> datetime:
        """See `application.ports.Nodes`."""
        self._answering()
        assert pulse is not None
        self.known[node], self.pulses[node] = self.now(), pulse
        return self.now()

    async def beats(self) -> Mapping[str, Beat]:
        """See `application.ports.Nodes`; what happens `meanwhile` comes after the snapshot."""
        self._answering()
        now = self.now()
        seen = {
            node: Beat(at, now - at, node in self.pulses and self.pulses[node].claims)
            for node, at in (self.known | dict.fromkeys(self.alive, now)).items()
        }
        if self.meanwhile is not None:
            happening, self.meanwhile = self.meanwhile, None
            await happening()
        return seen

    async def leave(self, node: str) -> None:
        """See `application.ports.Nodes`."""
        self._answering()
        self.known.pop(node, None)
        self.pulses.pop(node, None)

    def _answering(self) -> None:
        if self.away:
            raise LogUnavailable("the nodes are away")


class World:
    """A log, a clock, a target and the users' commands; and schedulers, as many as a test runs.

    `readings` has, by the command, what the clock of a scheduler's machine said when that appended it.
    """

    def __init__(self, now: datetime = NOON) -> None:
        self.clock = FakeClock(now)
        self.database = ClockAhead(self.clock)
        self.log = FlakyLog(self.database.now)
        self.caller = FakeCaller(self.clock)
        self.follower = FakeFollower(self.log)
        self.due_tasks = FakeDueTasks(self.log)
        self.nodes = FakeNodes(self.database)
        self.readings: dict[UUID, datetime] = {}
        self.observed = Observations()
        self.linger = self.short_linger = timedelta()
        self.ids = count(1 << 100)
        self.commands = TaskCommands(self.log, self.clock, lambda: UUID(int=next(self.ids)))
        self.archived = ArchivedMonths()
        self.executions = ExecutionCommands(
            self.log, self.clock, lambda: UUID(int=next(self.ids)), self.archived
        )

    @property
    def calls(self) -> list[Seen]:
        """What the target has seen."""
        return self.caller.calls

    def context(self, name: str = "node-1", *, clock: Clock | None = None) -> Context:
        """What the parts of one scheduler share; `clock` is its machine's, if that is not the world's."""
        return Context(
            log=self.log,
            clock=clock or self.clock,
            caller=self.caller,
            observer=self.observed,
            node=SchedulerNode(name=name, margin=LEASE),
            chance=lambda: 0.5,
            linger=self.linger,
            short_linger=self.short_linger,
        )

    @contextlib.asynccontextmanager
    async def scheduler(
        self,
        name: str = "node-1",
        *,
        concurrency: int = 10,
        per_host: int = 100,
        grace: timedelta = GRACE,
        follower: Follower | None = None,
        clock: Clock | None = None,
        context: Context | None = None,
    ) -> AsyncIterator[asyncio.Task[None]]:
        """A scheduler that runs for the length of the block, unless it ends before; its errors are raised."""
        engine = Scheduler(
            context or self.context(name, clock=clock),
            self.due_tasks,
            follower or self.follower,
            self.nodes,
            concurrency=concurrency,
            per_host=per_host,
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

    async def pause(self, task_id: UUID, note: str | None = None) -> None:
        """No more starts, until `resume`."""
        await self.commands.pause(task_id, note, REQUEST, if_match=None)

    async def resume(self, task_id: UUID) -> None:
        """Go on after a pause."""
        await self.commands.resume(task_id, REQUEST, if_match=None)

    async def trigger(self, task_id: UUID) -> UUID:
        """Run a task now; the execution."""
        return (await self.executions.trigger(task_id, REQUEST, if_match=None)).state.id

    async def backfill(self, task_id: UUID, start: datetime, end: datetime, limit: int = 100) -> Backfilled:
        """Run what was not."""
        return await self.executions.backfill(task_id, Period(start=start, end=end, limit=limit), REQUEST)

    async def cancel_execution(self, run: UUID, note: str | None = None) -> None:
        """Break an execution off."""
        await self.executions.cancel(run, note, REQUEST)

    async def append(self, stream: UUID, *facts: AnyFact) -> None:
        """Facts that others have left in the log."""
        version = len(self.log.facts(stream)) + 1
        new = tuple(NewFact(stream, place, fact) for place, fact in enumerate(facts, start=version))
        meta = Meta(actor="tester", correlation_id="", command_id=uuid4())
        assert await self.log.append(Group(facts=new, meta=meta)) is not None

    async def claim(
        self,
        task_id: UUID,
        due_at: datetime = NOON,
        *,
        node: str = "node-2",
        task_version: int = 1,
        lease_until: datetime = NOON + timedelta(hours=2),
        next_run_at: datetime | None = None,
    ) -> Running:
        """Somebody's claim of an occurrence, whatever the scheduler under test knows of it."""
        occurrence = _occurrence(task_id, due_at, task_version)
        fact = ExecutionStarted(
            at=due_at, occurrence=occurrence, node=node, lease_until=lease_until, next_run_at=next_run_at
        )
        run = execution_id(task_id, due_at, "scheduled")
        await self.append(run, fact)
        return executions.start(run, fact, len(self.log.facts(run)))

    async def queue(
        self, task_id: UUID, due_at: datetime, behind: UUID, next_run_at: datetime | None
    ) -> UUID:
        """Somebody's finding that an occurrence has to wait; its execution."""
        occurrence = _occurrence(task_id, due_at)
        fact = ExecutionQueued(at=due_at, occurrence=occurrence, behind=behind, next_run_at=next_run_at)
        run = execution_id(task_id, due_at, "scheduled")
        await self.append(run, fact)
        return run

    @contextlib.contextmanager
    def outage(self) -> Iterator[None]:
        """The whole database is away for the length of the block."""
        self.due_tasks.away = self.nodes.away = True
        try:
            with self.log.away():
                yield
        finally:
            self.due_tasks.away = self.nodes.away = False

    def facts[F: AnyFact](self, kind: type[F]) -> list[F]:
        """Everything of one kind that has happened, in order."""
        return [fact for fact in self.log.facts() if isinstance(fact, kind)]

    def runs(self) -> list[tuple[float, float]]:
        """Of each call the occurrence that it was for, and when it was made: in seconds after noon."""
        return [(_seconds(due_at_of(call.execution_id)), _seconds(call.at)) for call in self.calls]

    def skips(self, by: SkippedBy) -> list[float]:
        """The occurrences that a policy has left out, in seconds after noon."""
        return [_seconds(fact.occurrence.due_at) for fact in self.facts(ExecutionSkipped) if fact.by == by]

    def names(self, stream: UUID) -> list[str]:
        """What has happened to one task or execution."""
        return [type(fact).__name__ for fact in self.log.facts(stream)]


def _occurrence(task_id: UUID, due_at: datetime, task_version: int = 1) -> Occurrence:
    return Occurrence(
        task_id=task_id, task_version=task_version, task_name="report", namespace="default", due_at=due_at
    )


def _seconds(instant: datetime) -> float:
    """To the tenth after noon: what is begun within two quanta is on time."""
    return round((instant - NOON).total_seconds(), 1)
