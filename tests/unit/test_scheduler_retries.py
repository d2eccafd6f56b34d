"""Waiting for the next attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from application.scheduler import attempts
from application.scheduler.jobs import Job, Jobs, RetryQueue
from domain import execution as executions
from domain.definition import RetryPolicy
from domain.facts import AttemptStarted, ExecutionCancelled
from domain.identity import execution_id
from tests.support.given import NOON, RUN, after, definition, failed_attempt, started
from tests.support.scheduler import World

if TYPE_CHECKING:
    import pytest


async def test_retries_are_made_in_the_order_of_their_time() -> None:
    world = World()
    world.caller.answers(503, 503, 503, 503)
    for number, second in ((1, 1), (2, 1.3)):
        await world.create(at=after(second), url=f"http://target/{number}")
    async with world.scheduler():
        await world.clock.reach(after(10))
    assert [(call.at, call.url[-1]) for call in world.calls] == [
        (after(1), "1"),
        (after(1.3), "2"),
        (after(2), "1"),
        (after(2.3), "2"),
        (after(4), "1"),
        (after(4.3), "2"),
    ]


async def test_a_retry_that_is_due_earlier_does_not_wait_for_a_later_one() -> None:
    world = World()
    patient = RetryPolicy(initial_delay_seconds=60)
    world.caller.answers(503, 503)
    await world.create(at=after(1), url="http://target/patient", retry=patient)
    await world.create(at=after(2), url="http://target/hasty")
    async with world.scheduler():
        await world.clock.reach(after(70))
    assert [(call.at, call.url) for call in world.calls][2:] == [
        (after(3), "http://target/hasty"),
        (after(61), "http://target/patient"),
    ]


async def test_many_retries_that_fall_due_together_are_claimed_in_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attempts, "MAX_TOGETHER", 3)
    world = World()
    world.caller.answers(*[503] * 10)
    for _ in range(10):
        await world.create(at=after(1))
    async with world.scheduler(concurrency=20):
        await world.clock.reach(after(2))
    assert [call.at for call in world.calls] == [after(1)] * 10 + [after(2)] * 10


async def test_a_retry_waits_through_an_outage() -> None:
    world = World()
    world.caller.answers(503)
    await world.create(at=after(1))
    async with world.scheduler():
        await world.clock.reach(after(1.5))
        with world.log.away():
            await world.clock.reach(after(60))
            assert len(world.calls) == 1
        await world.clock.reach(after(62))
    assert [call.number for call in world.calls] == [1, 2]


async def test_a_retry_that_another_node_has_made_is_left_to_it() -> None:
    world = World()
    world.caller.answers(503)
    task = await world.create(at=after(1))
    run = execution_id(task, after(1), "scheduled")
    async with world.scheduler():
        await world.clock.reach(after(1.5))
        world.nodes.alive.add("node-2")
        claimed = AttemptStarted(
            at=after(1.5), task_id=task, task_version=1, number=2, node="node-2", lease_until=after(600)
        )
        await world.append(run, claimed)
        await world.clock.reach(after(60))
    assert len(world.calls) == 1
    assert world.names(run)[-1] == "AttemptStarted"


async def test_a_retry_of_a_task_that_was_cancelled_unheard_makes_no_call() -> None:
    world = World()
    world.caller.answers(503)
    task = await world.create(at=after(1))
    async with world.scheduler():
        await world.clock.reach(after(1.5))
        with world.follower.held():
            await world.cancel(task)
            await world.clock.reach(after(10))
    assert len(world.calls) == 1
    assert len(world.facts(ExecutionCancelled)) == 1


async def test_a_retry_that_cannot_be_read_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    world.caller.answers(503, 503)
    unreadable = await world.create(at=after(1))
    await world.create(at=after(1))
    async with world.scheduler():
        await world.clock.reach(after(1.5))
        with world.follower.held():
            world.log.plant(unreadable, 2, "task.renamed.v9", b"{}")
            await world.clock.reach(after(4))
    assert [call.number for call in world.calls] == [1, 1, 2]
    assert "task.renamed.v9" in caplog.text


def test_a_running_job_is_no_retry() -> None:
    jobs, queue = Jobs(), RetryQueue()
    job = Job(executions.start(RUN, started()), definition(), 1, NOON)
    jobs.add(job)
    queue.add(job)
    assert queue.pop(after(60), 10, jobs) == []


def test_a_retry_is_claimed_once_and_not_after_it_was_given_up() -> None:
    jobs, queue = Jobs(), RetryQueue()
    failed = executions.evolve(executions.start(RUN, started()), failed_attempt())
    assert isinstance(failed, executions.Waiting)
    job = Job(failed, definition(), 1, NOON)
    jobs.add(job)
    queue.add(job)
    assert queue.pop(NOON, 10, jobs) == []
    job.supersede(for_good=True)
    queue.add(job)
    assert queue.pop(NOON, 10, jobs) == [job], "the log is to say at once that it is over"
    jobs.done(job)
    assert queue.pop(failed.retry_at, 10, jobs) == []
