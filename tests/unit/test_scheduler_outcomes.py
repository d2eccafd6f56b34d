"""Recording what an attempt brought, and closing a one-off with its last one."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from application.scheduler.jobs import Job, RetryQueue
from application.scheduler.outcomes import Outcomes
from domain import execution as executions
from domain.facts import (
    AttemptFailed,
    ExecutionSucceeded,
    ExecutionTakenOver,
    TaskCompleted,
)
from tests.support.exchanging import brought
from tests.support.given import NOON, after, definition
from tests.support.scheduler import World

if TYPE_CHECKING:
    from uuid import UUID

    import pytest


async def called(world: World, task: UUID, **words: Any) -> Job:
    """A job of node-1 whose call has been made, claimed from version 1 of its task."""
    return Job(await world.claim(task, NOON, node="node-1"), definition(**words), 1, NOON)


class Noted(RetryQueue):
    """Keeps what is added, and has no room for the odd one."""

    def __init__(self, odd: Job | None = None) -> None:
        super().__init__()
        self.odd = odd
        self.jobs: list[Job] = []

    def add(self, job: Job) -> None:
        if job is self.odd:
            raise ValueError("no room")
        self.jobs.append(job)


def outcomes(world: World, odd: Job | None = None) -> tuple[Outcomes, list[Job]]:
    """Outcomes, and the jobs that then wait for a retry."""
    waiting = Noted(odd)
    return Outcomes(replace(world.context(), retries=waiting)), waiting.jobs


async def taken_over(world: World, job: Job) -> None:
    lost = ExecutionTakenOver(
        at=NOON,
        task_id=job.task_id,
        task_version=1,
        number=2,
        node="node-2",
        lost_by="node-1",
        lease_until=after(70),
    )
    await world.append(job.execution.id, lost)


async def test_success_ends_the_execution_and_its_one_off_together() -> None:
    world = World()
    job = await called(world, await world.create(at=NOON), at=NOON)
    settling, _ = outcomes(world)
    await settling.settle([(job, brought(1, 204))], lambda: None)
    assert [type(fact) for fact in world.log.facts()][-2:] == [ExecutionSucceeded, TaskCompleted]
    assert [(end.outcome, end.execution_id) for end in world.facts(TaskCompleted)] == [
        ("succeeded", job.execution.id)
    ]
    assert [occurrence.due_at for occurrence, _ in world.observed.ends] == [NOON]


async def test_it_is_told_when_the_log_is_given_outcomes() -> None:
    world = World()
    job = await called(world, await world.create(at=NOON), at=NOON)
    recorded: list[int] = []
    settling, _ = outcomes(world)
    await settling.settle([(job, brought(1, 204))], lambda: recorded.append(len(world.log.facts())))
    assert recorded == [len(world.log.facts()) - 2], "before the log answers"


async def test_the_end_of_a_cron_task_s_execution_leaves_the_task_alone() -> None:
    world = World()
    job = await called(world, await world.create(), cron="* * * * *")
    settling, _ = outcomes(world)
    await settling.settle([(job, brought(1, 200))], lambda: None)
    assert world.names(job.task_id) == ["TaskCreated"]


async def test_a_failure_that_may_pass_waits_for_its_retry() -> None:
    world = World()
    job = await called(world, await world.create(at=NOON), at=NOON)
    settling, waiting = outcomes(world)
    await settling.settle([(job, brought(1, 503))], lambda: None)
    assert waiting == [job]
    assert isinstance(job.execution, executions.Waiting)
    assert [fact.retry_at for fact in world.facts(AttemptFailed)] == [after(1)]
    assert world.observed.ends == []


async def test_a_failure_of_what_another_node_took_over_waits_for_nothing() -> None:
    world = World()
    job = await called(world, await world.create(at=NOON), at=NOON)
    await taken_over(world, job)
    settling, waiting = outcomes(world)
    await settling.settle([(job, brought(1, 503))], lambda: None)
    assert waiting == []
    assert world.facts(AttemptFailed) == []


async def test_an_outcome_of_what_another_node_took_over_is_not_recorded() -> None:
    world = World()
    job = await called(world, await world.create(at=NOON), at=NOON)
    await taken_over(world, job)
    settling, _ = outcomes(world)
    await settling.settle([(job, brought(1, 200))], lambda: None)
    assert world.names(job.execution.id) == ["ExecutionStarted", "ExecutionTakenOver"]
    assert world.names(job.task_id) == ["TaskCreated"]
    assert world.observed.ends == []


async def test_a_one_off_whose_action_changed_meanwhile_is_completed() -> None:
    world = World()
    job = await called(world, await world.create(at=NOON), at=NOON)
    await world.update(job.task_id, at=NOON, name="other")
    settling, _ = outcomes(world)
    await settling.settle([(job, brought(1, 200))], lambda: None)
    assert world.names(job.task_id) == ["TaskCreated", "TaskUpdated", "TaskCompleted"]


async def test_a_one_off_that_was_moved_meanwhile_goes_on() -> None:
    world = World()
    job = await called(world, await world.create(at=NOON), at=NOON)
    await world.update(job.task_id, at=after(600))
    settling, _ = outcomes(world)
    await settling.settle([(job, brought(1, 200))], lambda: None)
    assert world.names(job.task_id) == ["TaskCreated", "TaskUpdated"]
    assert world.names(job.execution.id) == ["ExecutionStarted", "ExecutionSucceeded"]


async def test_a_one_off_that_moves_back_in_the_very_moment_of_recording_is_completed() -> None:
    world = World()
    job = await called(world, await world.create(at=NOON), at=NOON)
    await world.update(job.task_id, at=after(600))

    async def move_back() -> None:
        await world.update(job.task_id, at=NOON)

    world.log.after_reading[job.task_id] = move_back
    settling, _ = outcomes(world)
    await settling.settle([(job, brought(1, 200))], lambda: None)
    assert world.names(job.task_id) == ["TaskCreated", "TaskUpdated", "TaskUpdated", "TaskCompleted"]
    assert world.names(job.execution.id) == ["ExecutionStarted", "ExecutionSucceeded"]


async def test_a_task_that_was_cancelled_meanwhile_stays_cancelled() -> None:
    world = World()
    job = await called(world, await world.create(at=NOON), at=NOON)
    await world.cancel(job.task_id)
    settling, _ = outcomes(world)
    await settling.settle([(job, brought(1, 404))], lambda: None)
    assert world.names(job.task_id) == ["TaskCreated", "TaskCancelled"]
    assert world.names(job.execution.id) == ["ExecutionStarted", "ExecutionFailed"]


async def test_an_outcome_is_recorded_even_when_its_task_cannot_be_read() -> None:
    world = World()
    job = await called(world, await world.create(at=NOON), at=NOON)
    world.log.plant(job.task_id, 2, "task.renamed.v9", b"{}")
    settling, _ = outcomes(world)
    await settling.settle([(job, brought(1, 200))], lambda: None)
    assert world.names(job.execution.id) == ["ExecutionStarted", "ExecutionSucceeded"]
    assert len(world.observed.ends) == 1


async def test_an_outcome_that_cannot_be_concluded_leaves_the_others_recorded(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world = World()
    odd, other = [await called(world, await world.create(at=NOON), at=NOON) for _ in range(2)]
    conclude = executions.conclude

    def picky(running: executions.Running, *rest: Any) -> Any:
        if running.id == odd.execution.id:
            raise ValueError("no such policy")
        return conclude(running, *rest)

    monkeypatch.setattr(executions, "conclude", picky)
    settling, _ = outcomes(world)
    await settling.settle([(odd, brought(1, 200)), (other, brought(1, 200))], lambda: None)
    assert world.names(odd.execution.id) == ["ExecutionStarted"]
    assert world.names(other.execution.id) == ["ExecutionStarted", "ExecutionSucceeded"]
    assert f"recording execution {odd.execution.id}" in caplog.text


async def test_an_outcome_from_which_nothing_can_follow_leaves_the_others_going_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    odd, other = [await called(world, await world.create(at=NOON), at=NOON) for _ in range(2)]
    settling, waiting = outcomes(world, odd)
    await settling.settle([(odd, brought(1, 503)), (other, brought(1, 503))], lambda: None)
    assert waiting == [other]
    assert len(world.facts(AttemptFailed)) == 2
    assert f"recording execution {odd.execution.id}" in caplog.text


async def test_recording_many_outcomes_gives_way_to_calls_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("application.scheduler.outcomes.SLICE", 2)
    world = World()
    jobs = [await called(world, await world.create(at=NOON), at=NOON) for _ in range(7)]
    settling, _ = outcomes(world)
    recording = asyncio.create_task(settling.settle([(job, brought(1, 200)) for job in jobs], lambda: None))
    await asyncio.sleep(0)
    seen = {len(world.facts(ExecutionSucceeded)), len(world.observed.ends)}
    while not recording.done():
        await asyncio.sleep(0)
        seen.add(len(world.observed.ends))
    assert seen >= {0, 2, 4, 6, 7}


async def test_an_outcome_waits_through_an_outage() -> None:
    world = World()
    world.caller.takes = after(5) - NOON
    task = await world.create(at=NOON)
    async with world.scheduler():
        await world.clock.reach(after(1))
        await world.update(task, at=NOON, name="other")
        await world.clock.reach(after(2))
        with world.log.away():
            await world.clock.reach(after(30))
        await world.clock.reach(after(31))
    assert len(world.calls) == 1
    assert world.names(task) == ["TaskCreated", "TaskUpdated", "TaskCompleted"]
