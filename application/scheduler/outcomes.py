"""Recording what an attempt brought, and what the end of an execution means for its task."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import TYPE_CHECKING, NamedTuple

from application.ports import Group, Unreadable
from application.scheduler.timing import isolate_errors, retry_on_outage
from application.streams import claimed_version, load_task, task_states
from domain import execution as executions
from domain import task as tasks
from domain.execution import Running, Waiting
from domain.facts import AttemptFailed, TaskCancelled, TaskCompleted, TaskPaused
from domain.outcome import Final, consequences, outcome_of, possible

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from application.ports import Exchange
    from application.scheduler.context import Context
    from application.scheduler.jobs import Job
    from domain.definition import Definition

# Outcomes taken in one turn of the event loop, so that calls are not late: half a millisecond of work.
SLICE = 10

log = logging.getLogger(__name__)


class _Concluded(NamedTuple):
    """What an attempt comes to, and how that is appended; `group` None: what follows has to be read first."""

    job: Job
    fact: AttemptFailed | Final
    group: Group | None


class Outcomes:
    """Appends outcomes, waiting through any outage: a call that was made is never forgotten."""

    def __init__(self, context: Context) -> None:
        self._log = context.log
        self._clock = context.clock
        self._node = context.node
        self._jobs = context.jobs
        self._open_executions = context.open_executions
        self._observer = context.observer
        self._chance = context.chance
        self._retries = context.retries

    async def settle(self, brought: Sequence[tuple[Job, Exchange]], handed: Callable[[], None]) -> None:
        """Record attempts, each apart from the others; its job then waits for a retry or is done.

        `handed` is called in the turn in which the log is given them.
        """
        concluded: list[_Concluded] = []
        for place, (job, exchange) in enumerate(brought):
            if place and place % SLICE == 0:
                await asyncio.sleep(0)
            if one := self._concluded(job, exchange):
                concluded.append(one)
        plain = [one for one in concluded if one.group is not None]
        others = [one for one in concluded if one.group is None]
        recording = self._record(plain, handed)
        await (asyncio.gather(recording, *map(self._close_isolated, others)) if others else recording)

    def _concluded(self, job: Job, exchange: Exchange) -> _Concluded | None:
        running = job.execution
        assert isinstance(running, Running)
        try:
            attempt = exchange.attempt()
            assert attempt is not None, "who was cancelled has no outcome"
            fact = executions.conclude(running, attempt, job.definition, self._clock.now(), self._chance())
            return _Concluded(job, fact, self._expected(job, fact))
        except Exception:  # whatever one of them holds, the others are recorded
            self._lost(job, sys.exception())
            return None

    def _expected(self, job: Job, fact: AttemptFailed | Final) -> Group | None:
        """The group for an outcome of which the claim tells what follows; None: that has to be read."""
        if isinstance(fact, AttemptFailed):
            return self._node.group((job.execution.id, job.execution.version + 1, fact))
        return None if _depends_on_task(job, fact) else self._expected_end(job, fact)

    async def _record(self, plain: list[_Concluded], handed: Callable[[], None]) -> None:
        handed()
        answers = await self._log.append_all([one.group for one in plain if one.group], patience="patient")
        refused: list[_Concluded] = []
        for place, (one, answer) in enumerate(zip(plain, answers, strict=True)):
            if place and place % SLICE == 0:
                await asyncio.sleep(0)
            if isinstance(answer, int):
                self._go_on_isolated(one)
            elif answer is not None:
                self._lost(one.job, answer)
            elif isinstance(one.fact, AttemptFailed):
                self._jobs.done(one.job)  # the log went on without us
            else:
                refused.append(one)
        if refused:
            await asyncio.gather(*map(self._close_isolated, refused))

    def _go_on_isolated(self, one: _Concluded) -> None:
        try:
            self._go_on(one)
        except Exception:  # whatever follows from one of them, the others go on
            self._lost(one.job, sys.exception())

    def _go_on(self, one: _Concluded) -> None:
        job, fact = one.job, one.fact
        if isinstance(fact, AttemptFailed):
            waiting = executions.evolve(job.execution, fact)
            assert isinstance(waiting, Waiting)
            job.wait_for_retry(waiting)
            self._retries.add(job)
        else:
            assert one.group is not None
            self._ended(job, fact, one.group)
            self._jobs.done(job)

    def _lost(self, job: Job, error: BaseException | None) -> None:
        """Its lease runs out, and then whoever looks goes on with it."""
        log.error("recording execution %s", job.execution.id, exc_info=error)
        self._jobs.done(job)

    async def _close_isolated(self, one: _Concluded) -> None:
        assert not isinstance(one.fact, AttemptFailed)
        await isolate_errors(
            "recording execution", one.job.execution.id, self._close(one.job, one.fact, one.group)
        )

    async def close(self, job: Job, fact: Final) -> None:
        """Record the end of an execution and what follows from it for its task.

        Nothing is recorded when the log went on without us: another node took the execution over.
        """
        await self._close(job, fact, None)

    async def _close(self, job: Job, fact: Final, refused: Group | None) -> None:
        try:
            if recorded := await self._closed(job, fact, refused):
                self._ended(job, fact, recorded)
        finally:
            self._jobs.done(job)

    def _ended(self, job: Job, fact: Final, recorded: Group) -> None:
        self._open_executions.ended(job.task_id, job.execution.id, job.execution.version + 1)
        self._observer.finished(job.execution.occurrence, fact)
        for new in recorded.facts:
            if isinstance(new.fact, TaskPaused | TaskCancelled):
                self._observer.stopped(job.execution.occurrence, new.fact)

    async def _closed(self, job: Job, fact: Final, refused: Group | None) -> Group | None:
        """What the log has accepted; None: it went on without us. `refused` is what it has not."""
        if refused is None:
            known = not _depends_on_task(job, fact)
            group = self._expected_end(job, fact) if known else await self._end_now(job, fact)
            if await self._log.append(group, patience="patient") is not None:
                return group
        while True:
            events = await retry_on_outage(self._clock, lambda: self._log.read_stream(job.execution.id))
            if len(events) != job.execution.version:
                return None
            group = await self._end_now(job, fact)
            if await self._log.append(group, patience="patient") is not None:
                return group

    def _expected_end(self, job: Job, fact: Final) -> Group:
        """With the task's end if nothing has changed since the claim: the log refuses it otherwise."""
        outcome = (job.execution.id, job.execution.version + 1, fact)
        if not tasks.completes(job.definition, job.execution.occurrence):
            return self._node.group(outcome)
        end = TaskCompleted(at=fact.at, outcome=outcome_of(fact), execution_id=job.execution.id)
        return self._node.group(outcome, (job.task_id, job.task_version + 1, end))

    async def _end_now(self, job: Job, fact: Final) -> Group:
        """With what follows for the task as it is now; the log refuses it when that changes again."""
        outcome = (job.execution.id, job.execution.version + 1, fact)
        try:
            task = await retry_on_outage(self._clock, lambda: load_task(self._log, job.task_id))
            called = await self._called(job, fact)
        except Unreadable:
            task = None  # what follows is for others to decide; what the call brought is known
        if task is None:
            return self._node.group(outcome)
        following = consequences(task, job.execution, called, fact)
        if not following:
            return self._node.group(outcome, guard=(job.task_id, task.version))
        changes = enumerate(following, start=task.version + 1)
        return self._node.group(outcome, *((job.task_id, version, change) for version, change in changes))

    async def _called(self, job: Job, fact: Final) -> Definition:
        """What was executed. A job that ends without making a call has the task's present definition."""
        if fact.attempt is not None:
            return job.definition
        events = await retry_on_outage(self._clock, lambda: self._log.read_stream(job.execution.id))
        version = claimed_version(events)
        history = await retry_on_outage(self._clock, lambda: self._log.read_stream(job.task_id))
        states = task_states(job.task_id, history)
        return next(task.definition for event, task in states if event.version == version)


def _depends_on_task(job: Job, fact: Final) -> bool:
    """Whether the claim does not tell what follows for the task, so that this has to be read."""
    changed = job.task_over or job.task_version != job.execution.occurrence.task_version
    return possible(job.definition, fact, changed=changed)
