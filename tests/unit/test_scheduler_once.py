"""At-most-once amid races: whether an attempt may follow is decided for the task as it is by then."""

from __future__ import annotations

import contextlib
from datetime import timedelta

from application.ports import LogUnavailable
from application.scheduler.claims import ClaimAppender, claim_request
from application.scheduler.index import Entry
from application.scheduler.jobs import Job
from application.scheduler.requests import StartAppender
from application.streams import load_execution, load_task
from domain import requesting as queueing
from domain.definition import Overlap, RetryPolicy
from domain.execution import Requested
from domain.facts import AttemptStarted, ExecutionFailed, ExecutionSucceeded, TaskUpdated
from projections.task_results import fold
from tests.support.given import NOON, after, attempt, definition
from tests.support.mortal import MortalNode
from tests.support.scheduler import World

ONE_WAITS = Overlap(mode="queue_one")


async def test_what_is_taken_over_amid_an_update_to_at_most_once_is_not_sent_again() -> None:
    world = World()
    task = await world.create(at=after(5))
    world.caller.takes = timedelta(seconds=30)
    first = MortalNode(world, "node-1")
    await world.clock.reach(after(6))
    first.kill()

    async def update() -> None:
        await world.update(task, at=after(5), delivery="at_most_once")

    async with world.scheduler("node-2"):
        world.log.after_reading[task] = update
        await world.clock.reach(after(200))
    assert len(world.facts(TaskUpdated)) == 1
    assert len(world.calls) == 1
    [end] = world.facts(ExecutionFailed)
    assert "at_most_once allows no second call" in end.reason


async def test_a_claimed_retry_is_not_sent_once_its_task_is_at_most_once() -> None:
    world = World()
    task = await world.create(at=after(5), retry=RetryPolicy(initial_delay_seconds=10.0))
    await world.create(at=after(10))
    world.caller.answers(503)
    async with world.scheduler(concurrency=1):
        await world.clock.reach(after(9))
        world.caller.takes = timedelta(seconds=9)
        await world.clock.reach(after(16))
        assert len(world.facts(AttemptStarted)) == 1, "claimed, and waits for the worker"
        await world.update(task, at=after(5), delivery="at_most_once")
        await world.clock.reach(after(100))
    assert [call.number for call in world.calls] == [1, 1]
    [end] = world.facts(ExecutionFailed)
    assert end.lapsed
    [row] = [row for row in fold({}, world.log.recorded).rows.values() if row.status == "failed"]
    assert (row.attempts, len(row.attempt_log), row.status_code) == (1, 1, 503)


async def test_a_retry_does_not_lapse_by_a_policy_that_an_update_has_replaced() -> None:
    world = World()
    retry = RetryPolicy(initial_delay_seconds=30.0, max_elapsed_seconds=60.0)
    task = await world.create(at=after(5), retry=retry)
    world.caller.answers(503)
    async with world.scheduler():
        await world.clock.reach(after(10))
        with world.follower.held():
            await world.update(task, at=after(5), retry=RetryPolicy(initial_delay_seconds=30.0))
            world.nodes.now = lambda: world.clock.now() + timedelta(seconds=60)  # so it claims nothing
            await world.clock.reach(after(100))
            world.nodes.now = world.clock.now
            await world.clock.reach(after(200))
    assert world.facts(ExecutionFailed) == []
    assert [call.number for call in world.calls] == [1, 2]


async def test_a_claim_that_never_arrived_is_not_mistaken_for_a_later_start_from_the_queue() -> None:
    world = World()
    task, due = await world.create(overlap=ONE_WAITS, delivery="at_most_once"), after(60)
    context, begun = world.context("node-1"), list[Job]()
    appender, starts = ClaimAppender(context, begun.append), StartAppender(context, begun.append)
    entry = Entry(task, 1, "default", definition(overlap=ONE_WAITS, delivery="at_most_once"), due)
    with world.log.away(), contextlib.suppress(LogUnavailable):
        await appender.append(claim_request(entry, context.node, NOON))
    behind = await world.claim(task, NOON, next_run_at=due)
    run = await world.queue(task, due, behind.id, after(120))
    await world.append(behind.id, ExecutionSucceeded(at=NOON, task_id=task, attempt=attempt()))
    queued, now = await load_execution(world.log, run), await load_task(world.log, task)
    assert isinstance(queued, Requested)
    assert now is not None
    started = queueing.start_queued(queued, now, starts.lease(now, NOON), NOON)
    assert await starts.append(queued, started, now, NOON)
    await appender.look()
    assert len(begun) == 1
