"""Claiming what falls due: the index proposes, the log decides, and each refusal says where to go on."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeGuard

from application.ports import LogUnavailable
from application.scheduler.waiting import first_of
from application.scheduler.work import Job
from application.streams import fold_execution, load_task
from domain import execution as executions
from domain.claiming import Claim, Due, claim
from domain.execution import Execution, Running
from domain.facts import ExecutionSkipped, ExecutionStarted
from domain.task import Scheduled

if TYPE_CHECKING:
    from collections.abc import Callable

    from application.ports import Group
    from application.scheduler.context import Context
    from application.scheduler.due_index import Entry

AHEAD = timedelta(milliseconds=20)
QUANTUM = timedelta(milliseconds=10)
# What is claimed is leased; more than can start soon would only make leases grow old.
MAX_READY = 1_000
OUTAGE_PAUSE = timedelta(milliseconds=500)


class Claimer:
    """Claims up to 20 ms ahead, in steps of 10 ms, and hands what was won to `start`."""

    def __init__(self, context: Context, start: Callable[[Job], None], ready: Callable[[], int]) -> None:
        """`ready` tells how many won claims wait for a free worker."""
        self._log = context.log
        self._clock = context.clock
        self._node = context.node
        self._index = context.index
        self._work = context.work
        self._observer = context.observer
        self._start = start
        self._ready = ready
        self.changed = asyncio.Event()

    async def run(self) -> None:
        """Claim for ever."""
        while True:
            await self._wait()
            room = MAX_READY - self._ready()
            entries = self._index.pop(self._clock.now() + AHEAD, room) if room > 0 else []
            if entries:
                await self._claim(entries)
            elif room <= 0:
                await self._clock.sleep_until(self._clock.now() + QUANTUM)

    async def _wait(self) -> None:
        """Until the next quantum has something due, or the index has changed."""
        self.changed.clear()
        due_at = self._index.next_due()
        if due_at is None:
            await self.changed.wait()
        elif (wake_at := due_at - QUANTUM) > self._clock.now():
            await first_of(self._clock.sleep_until(wake_at), self.changed.wait())

    async def _claim(self, entries: list[Entry]) -> None:
        now = self._clock.now()
        plans = [
            (entry, due, claim(due, self._node.name, self._node.margin, now))
            for entry, due in map(_due, entries)
        ]
        answers = await asyncio.gather(
            *(self._log.append(self._group(due, plan)) for _, due, plan in plans), return_exceptions=True
        )
        won = 0
        for (entry, due, plan), answer in zip(plans, answers, strict=True):
            if isinstance(answer, int):
                won += 1
                self._won(entry, due, plan)
            elif answer is None:
                await self._refused(entry, due, plan)
            elif isinstance(answer, LogUnavailable):
                self._put_back(entry, due)
            else:
                raise answer
        self._observer.claimed(won, len(plans) - won)
        if won == 0 and any(isinstance(answer, LogUnavailable) for answer in answers):
            await self._clock.sleep_until(self._clock.now() + OUTAGE_PAUSE)

    def _group(self, due: Due, plan: Claim) -> Group:
        facts = [(execution_id, 1, fact) for execution_id, fact in plan.facts()]
        return self._node.group(*facts, guard=(due.task_id, due.version))

    def _won(self, entry: Entry, due: Due, plan: Claim) -> None:
        self._place(entry, plan.next_run_at)
        if plan.started is not None:
            self._begin(executions.start(*plan.started), due)

    def _begin(self, execution: Running, due: Due) -> None:
        job = Job(execution, due.definition, due.version, execution.occurrence.due_at)
        self._work.add(job)
        self._start(job)

    def _place(self, entry: Entry, due_at: datetime | None) -> None:
        """Give a task its next place, unless a newer fact has given it one or ended it meanwhile."""
        if self._index.get(entry.task_id) is entry and entry.due_at is None:
            self._index.place(entry, due_at)

    def _put_back(self, entry: Entry, due: Due) -> None:
        self._place(entry, due.due_at)

    async def _refused(self, entry: Entry, due: Due, plan: Claim) -> None:
        """Find out from the log why, and go on from what it says."""
        try:
            if not await self._claimed_already(entry, due, plan):
                await self._task_changed(entry, due)
        except LogUnavailable:
            self._put_back(entry, due)

    async def _claimed_already(self, entry: Entry, due: Due, plan: Claim) -> bool:
        """Somebody has an execution of the plan: take the place that its first fact names.

        It may be this node's own, stored by an append whose answer was lost.
        """
        for execution_id, _ in plan.facts():
            events = await self._log.read_stream(execution_id)
            execution = fold_execution(execution_id, events)
            if execution is None:
                continue
            first = events[0].fact
            if isinstance(first, ExecutionStarted | ExecutionSkipped):
                self._place(entry, first.next_run_at)
            if self._is_lost_claim(execution):
                self._begin(execution, due)
            return True
        return False

    def _is_lost_claim(self, execution: Execution) -> TypeGuard[Running]:
        return (
            isinstance(execution, Running)
            and execution.node == self._node.name
            and execution.version == 1
            and execution.id not in self._work
        )

    async def _task_changed(self, entry: Entry, due: Due) -> None:
        task = await load_task(self._log, entry.task_id)
        if self._index.get(entry.task_id) is not entry or entry.due_at is not None:
            return
        if not isinstance(task, Scheduled):
            self._index.remove(entry.task_id)
            return
        same = task.definition.trigger == due.definition.trigger
        entry.version, entry.definition = task.version, task.definition
        self._index.place(entry, due.due_at if same else task.placed_at)


def _due(entry: Entry) -> tuple[Entry, Due]:
    due_at = entry.taken
    assert due_at is not None
    return entry, Due(
        task_id=entry.task_id,
        version=entry.version,
        namespace=entry.namespace,
        definition=entry.definition,
        due_at=due_at,
    )
