"""Simulated claims that a change of their task overtakes."""

from __future__ import annotations

from domain.definition import Interval, RetryPolicy
from domain.facts import ExecutionFailed, ExecutionSkipped, TaskFailuresCounted, TaskPaused
from tests.support.given import NOON
from tests.support.mortal import MortalNode
from tests.support.scheduler import World
from tests.support.what_if import SECOND, retold, run_in

FIRST, SECOND_ONE, THIRD = (NOON + seconds * SECOND for seconds in (10, 20, 30))


async def test_a_claim_that_is_overtaken_twice_is_dropped_once() -> None:
    world = World()
    task_id = await world.create(trigger=Interval(every_seconds=10, anchor=NOON))
    async with world.scheduler():
        await world.clock.pass_by(9.995)
        await world.update(task_id, trigger=Interval(every_seconds=7, anchor=NOON))
        await world.update(task_id, trigger=Interval(every_seconds=3, anchor=NOON))
        await world.clock.pass_by(20)
    again = retold(world, task_id)
    skipped = [fact for _, _, fact in again.facts if isinstance(fact, ExecutionSkipped)]
    assert [fact.by for fact in skipped] == ["change"]


async def test_a_claim_that_is_overtaken_and_still_due_is_judged_by_what_is_defined_then() -> None:
    world = World()
    world.caller.takes = SECOND
    world.caller.answers(503)
    task_id = await world.create(trigger=Interval(every_seconds=10, anchor=NOON))
    async with world.scheduler():
        await world.clock.pass_by(9.995)
        once = RetryPolicy(max_attempts=1)
        await world.update(task_id, trigger=Interval(every_seconds=5, anchor=NOON), retry=once)
        await world.clock.pass_by(4)
    again = retold(world, task_id)
    assert again.state.called[run_in(world, FIRST, task_id)].definition.retry == once


async def test_a_claim_that_was_overtaken_before_the_window_is_looked_at_in_it() -> None:
    world = World()
    task_id = await world.create(trigger=Interval(every_seconds=10, anchor=NOON))
    async with world.scheduler():
        await world.clock.pass_by(9.995)
        with world.follower.held():
            await world.update(task_id, trigger=Interval(every_seconds=7, anchor=NOON))
            await world.clock.pass_by(0.004)
        await world.clock.pass_by(1)
    again = retold(world, task_id, NOON + 9.997 * SECOND)
    assert [type(fact).__name__ for _, _, fact in again.facts] == ["ExecutionSkipped"]


async def test_a_claim_that_was_overtaken_and_got_lost_with_its_node_is_lost_again() -> None:
    world = World()
    task_id = await world.create(trigger=Interval(every_seconds=10, anchor=NOON), delivery="at_most_once")
    node = MortalNode(world, "node-1")
    await world.clock.pass_by(9.992)
    await world.update(task_id, trigger=Interval(every_seconds=600, anchor=NOON), delivery="at_most_once")
    node.kill()
    async with world.scheduler("node-2"):
        await world.clock.pass_by(200)
    again = retold(world, task_id)
    [lost] = [fact for _, _, fact in again.facts if isinstance(fact, ExecutionFailed)]
    assert lost.reason.startswith("the outcome of attempt 1 is unknown")


async def test_a_failure_of_what_watched_no_failures_is_not_counted_by_what_does() -> None:
    world = World()
    world.caller.takes = 5 * SECOND
    world.caller.answers(404)
    every = Interval(every_seconds=60, anchor=NOON)
    task_id = await world.create(trigger=every)
    async with world.scheduler():
        await world.clock.pass_by(62)
        await world.update(task_id, trigger=every, retry=RetryPolicy(disable_after_failures=1))
        await world.clock.pass_by(70)
    again = retold(world, task_id)
    [failed] = [fact for _, _, fact in again.facts if isinstance(fact, ExecutionFailed)]
    assert failed.at < again.facts[-1][2].at
    assert not [fact for _, _, fact in again.facts if isinstance(fact, TaskFailuresCounted | TaskPaused)]
