"""Claiming what users ask for out of turn: runs by hand, and occurrences of the past."""

from __future__ import annotations

import asyncio
import heapq
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from application.scheduler.claimer import MAX_EARLY
from application.scheduler.claimer import MAX_READY as MAX_DUE
from application.scheduler.jobs import Job
from application.scheduler.timing import (
    UNABLE_PAUSE,
    isolate_errors,
    race,
    retry_on_outage,
    retry_pause,
    shield_until_done,
)
from application.streams import load_execution, load_latest, load_task
from domain import execution as executions
from domain import requesting
from domain import requesting as queueing
from domain.execution import Lease, Requested
from domain.facts import ExecutionCancelled, ExecutionRequested, ExecutionStarted
from domain.task import FinishedTask

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from application.ports import Recorded
    from application.scheduler.context import Context
    from domain.requesting import QueuedOutcome
    from domain.task import Task


class StartAppender:
    """Appends what such an execution comes to, guarded by its task, and begins it if it was started."""

    def __init__(self, context: Context, start: Callable[[Job], None]) -> None:
        self._log = context.log
        self._node = context.node
        self._jobs = context.jobs
        self._open_executions = context.open_executions
        self._start = start

    def lease(self, task: Task, send_at: datetime) -> Lease:
        """A lease on the first attempt."""
        until = send_at + task.definition.action.timeout + self._node.margin
        return Lease(node=self._node.name, task_version=task.version, until=until)

    async def append(self, execution: Requested, fact: QueuedOutcome, task: Task, send_at: datetime) -> bool:
        """Whether the log accepts it: not when task or execution have moved on. Waits through any outage."""
        if not isinstance(fact, ExecutionStarted):
            return await self._end(execution, fact, task)
        running = executions.start(execution.id, fact, execution.version + 1)
        job = Job(running, task.definition, task.version, send_at, task_over=isinstance(task, FinishedTask))
        # In hand before the log has it: a change that commits right after the claim is not overlooked.
        self._jobs.add(job)
        position = None
        try:
            position = await self._append(execution, fact, task)
        finally:
            if position is None:
                self._jobs.done(job)
        if position is not None:
            self._open_executions.begun(position, running.id, running.version, fact)
            self._start(job)
        return position is not None

    async def _end(self, execution: Requested, fact: QueuedOutcome, task: Task) -> bool:
        if await self._append(execution, fact, task) is None:
            return False
        self._open_executions.ended(task.id, execution.id, execution.version + 1)
        return True

    async def _append(self, execution: Requested, fact: QueuedOutcome, task: Task) -> int | None:
        group = self._node.group((execution.id, execution.version + 1, fact), guard=(task.id, task.version))
        return await self._log.append(group, patience="patient")


# Like the claims of what is due, with those that came early: more would only make leases grow old.
MAX_READY = MAX_DUE + MAX_EARLY
TOGETHER = 100
QUEUED, REQUESTED = "starting what is queued of task", "claiming requested execution"


class FailoverQueue:
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
        self._queue: dict[UUID, timedelta] = {}
        self._errors: dict[UUID, int] = {}
        self._heap: list[tuple[timedelta, UUID]] = []
        self._changed = asyncio.Event()
        context.members.tell(self._members_changed)

    def add(self, subject: UUID) -> None:
        """Wait for the turn; what waits already goes on waiting."""
        if subject not in self._heard:
            self._heard[subject] = self._clock.steady()
            self._push(subject)
        self._changed.set()

    def retry(self, subject: UUID) -> None:
        """Wait for the turn again after an error: 1 s, 2 s, 4 s … 60 s longer than the first time."""
        errors = self._errors.get(subject, 0)
        self._errors[subject] = errors + 1
        self._heard[subject] = self._clock.steady() + retry_pause(errors)
        self._push(subject)
        self._changed.set()

    def succeeded(self, subject: UUID) -> None:
        """Forget the errors that there were."""
        self._errors.pop(subject, None)

    def discard(self, subject: UUID) -> None:
        """Wait no longer."""
        self._heard.pop(subject, None)
        self._queue.pop(subject, None)
        self._errors.pop(subject, None)

    async def take(self, claim: Callable[[UUID], Awaitable[bool | None]]) -> None:
        """Claim for ever, each once; `claim` tells whether it won, None: there was nothing to claim."""
        while True:
            await self._wait()
            if not self._members.able() or self._waiting() >= MAX_READY:
                await self._clock.pause(UNABLE_PAUSE)
                continue
            tried = await shield_until_done(asyncio.gather(*map(claim, self._due())))
            if any(each is not None for each in tried):
                self._observer.claimed(tried.count(True), tried.count(False))

    async def _wait(self) -> None:
        """Until it is this node's turn with one of them."""
        self._changed.clear()
        turn = self._next()
        if turn is None:
            await self._changed.wait()
        elif turn > self._clock.steady():
            await race(self._clock.pause(turn - self._clock.steady()), self._changed.wait())

    def _due(self) -> list[UUID]:
        now = self._clock.steady()
        due: list[UUID] = []
        while len(due) < TOGETHER and (turn := self._next()) is not None and turn <= now:
            due.append(heapq.heappop(self._heap)[1])
            self._heard.pop(due[-1], None)
            self._queue.pop(due[-1], None)
        return due

    def _next(self) -> timedelta | None:
        """The earliest turn; lines of what waits no longer, or since later, go as they surface."""
        while self._heap:
            turn, subject = self._heap[0]
            if self._queue.get(subject) == turn:
                return turn
            heapq.heappop(self._heap)
        return None

    def _push(self, subject: UUID) -> None:
        self._queue[subject] = turn = self._heard[subject] + self._members.takeover_delay(subject)
        heapq.heappush(self._heap, (turn, subject))

    def _members_changed(self) -> None:
        self._heap.clear()
        for subject in self._heard:
            self._push(subject)
        self._changed.set()


class QueuedExecutions:
    """Tasks with a queue, each looked at when something has happened that may give its first one room.

    Only the first by what this node knows may start. What it knows lacks nothing that was begun before the
    first one was queued, and nothing newer starts beside a queue: so when several nodes try, they try the
    same one, and the log decides.
    """

    def __init__(self, context: Context, start: Callable[[Job], None], waiting: Callable[[], int]) -> None:
        """`waiting` tells how many won claims wait to be sent, but for those of full hosts."""
        self._log = context.log
        self._clock = context.clock
        self._observer = context.observer
        self._open_executions = context.open_executions
        self._starts = StartAppender(context, start)
        self._queue = FailoverQueue(context, waiting)
        context.open_executions.tell(self._queue.add)

    async def run(self) -> None:
        """Start what is queued for ever."""
        await self._queue.take(self._look)

    async def _look(self, task_id: UUID) -> bool | None:
        """Whether this node has started something; None: there was nothing to start.

        What happens to the task from now on has it looked at again.
        """
        moved: list[bool] = []
        if await isolate_errors(QUEUED, task_id, self._move_up(task_id, moved), self._observer.failed):
            self._queue.succeeded(task_id)
        else:
            self._queue.retry(task_id)
        return any(moved) if moved else None

    async def _move_up(self, task_id: UUID, moved: list[bool]) -> None:
        while (first := self._open_executions.open_runs(task_id).queued[:1]) and (
            task := await self._task(task_id)
        ):
            execution = await self._queued(*first)
            open_runs = self._open_executions.open_runs(task_id)
            if execution is None or open_runs.queued[:1] != first:
                continue
            if not queueing.moves(task, open_runs):
                return
            moved.append(await self._moved(execution, task))

    async def _task(self, task_id: UUID) -> Task | None:
        """None: the queue stands still, or the task has changed beyond what has been followed.

        Following that change has the task looked at again.
        """
        latest = await retry_on_outage(self._clock, lambda: load_latest(self._log, task_id))
        if latest is None or latest.position > self._open_executions.position:
            return None
        return latest.task if queueing.moves(latest.task, self._open_executions.open_runs(task_id)) else None

    async def _queued(self, execution_id: UUID) -> Requested | None:
        execution = await retry_on_outage(self._clock, lambda: load_execution(self._log, execution_id))
        assert execution is not None, "what is queued is in the log"
        self._open_executions.learn(execution)
        return execution if isinstance(execution, Requested) else None

    async def _moved(self, execution: Requested, task: Task) -> bool:
        now = self._clock.now()
        send_at = max(now, execution.occurrence.send_at)
        fact = queueing.start_queued(execution, task, self._starts.lease(task, send_at), now)
        return await self._starts.append(execution, fact, task, send_at)


class RequestedExecutions:
    """Requested executions that wait for a claim; shared like what is due, and the log decides."""

    def __init__(self, context: Context, start: Callable[[Job], None], waiting: Callable[[], int]) -> None:
        """`waiting` tells how many won claims wait to be sent, but for those of full hosts."""
        self._log = context.log
        self._clock = context.clock
        self._jobs = context.jobs
        self._observer = context.observer
        self._starts = StartAppender(context, start)
        self._queue = FailoverQueue(context, waiting)

    def add(self, execution_id: UUID) -> None:
        """Claim a requested execution when it is this node's turn; what is known already changes nothing."""
        if execution_id not in self._jobs:
            self._queue.add(execution_id)

    def follow(self, event: Recorded) -> None:
        """Follow one fact of the log."""
        match event.fact:
            case ExecutionRequested():
                self.add(event.stream)
            case ExecutionStarted() | ExecutionCancelled():
                self._queue.discard(event.stream)
            case _:
                pass

    async def run(self) -> None:
        """Claim for ever."""
        await self._queue.take(self._claim_isolated)

    async def _claim_isolated(self, execution_id: UUID) -> bool:
        """Whether this node has it now."""
        if await isolate_errors(REQUESTED, execution_id, self._claim(execution_id), self._observer.failed):
            self._queue.discard(execution_id)
        else:
            self._queue.retry(execution_id)
        return execution_id in self._jobs

    async def _claim(self, execution_id: UUID) -> None:
        """From the task as it is now, if the log still allows it; again when that changes meanwhile."""
        while execution := await self._requested(execution_id):
            task = await self._task(execution.occurrence.task_id)
            if task is None or await self._begun(execution, task):
                return

    async def _task(self, task_id: UUID) -> Task | None:
        return await retry_on_outage(self._clock, lambda: load_task(self._log, task_id))

    async def _requested(self, execution_id: UUID) -> Requested | None:
        execution = await retry_on_outage(self._clock, lambda: load_execution(self._log, execution_id))
        return execution if isinstance(execution, Requested) else None

    async def _begun(self, execution: Requested, task: Task) -> bool:
        now = self._clock.now()
        fact = requesting.start(execution, task, self._starts.lease(task, now), now)
        return await self._starts.append(execution, fact, task, now)
