"""Executions that end without a call of their own, when their task has changed since the last one."""

from datetime import timedelta

import pytest

from domain.definition import Delivery, RetryPolicy
from domain.facts import ExecutionFailed, TaskFailuresCounted, TaskPaused
from tests.support.given import after
from tests.support.mortal import MortalNode
from tests.support.scheduler import World

WATCHED = RetryPolicy(disable_after_failures=1, initial_delay_seconds=20, jitter="none")
AT_MOST_ONCE: Delivery = "at_most_once"


@pytest.mark.parametrize(("url", "failures"), [("http://target/", [1]), ("http://target/mended", [])])
async def test_a_retry_that_lapses_counts_as_a_failure_of_the_target_that_was_called(
    world: World, url: str, failures: list[int]
) -> None:
    world.caller.answers(503)
    task = await world.create(retry=WATCHED)
    async with world.scheduler():
        await world.clock.reach(after(65))
        await world.update(task, retry=WATCHED, url=url, delivery=AT_MOST_ONCE)
        await world.clock.reach(after(90))
    assert [fact.lapsed for fact in world.facts(ExecutionFailed)] == [True]
    assert [fact.failures for fact in world.facts(TaskFailuresCounted)] == failures
    assert len(world.facts(TaskPaused)) == len(failures)


@pytest.mark.parametrize(("url", "failures"), [("http://target/", [1]), ("http://target/mended", [])])
async def test_what_a_dead_node_left_counts_as_a_failure_of_the_target_that_was_called(
    world: World, url: str, failures: list[int]
) -> None:
    world.caller.takes = timedelta(seconds=30)
    task = await world.create(retry=WATCHED, delivery=AT_MOST_ONCE)
    dying = MortalNode(world, "node-1")
    await world.clock.reach(after(61))
    dying.kill()
    await world.update(task, retry=WATCHED, url=url, delivery=AT_MOST_ONCE)
    await world.run_until(110, "node-2")
    assert len(world.facts(ExecutionFailed)) == 1
    assert [fact.failures for fact in world.facts(TaskFailuresCounted)] == failures


async def test_a_retry_is_not_made_when_an_update_allows_it_no_longer(world: World) -> None:
    world.caller.answers(503)
    task = await world.create(retry=WATCHED)
    async with world.scheduler():
        await world.clock.reach(after(65))
        shorter = RetryPolicy(max_elapsed_seconds=10)
        await world.update(task, retry=shorter)
        await world.clock.reach(after(90))
    [end] = world.facts(ExecutionFailed)
    assert end.reason == (
        "the next attempt would begin 20 s after the first one; retry.max_elapsed_seconds is 10"
    )
    assert len(world.calls) == 1


async def test_a_retry_that_found_no_free_worker_in_time_is_not_made(world: World) -> None:
    world.caller.answers(503)
    await world.create(at=after(5), retry=RetryPolicy(initial_delay_seconds=1, max_elapsed_seconds=10))
    for _ in range(2):
        await world.create(at=after(5.5))
    async with world.scheduler(concurrency=1):
        await world.clock.reach(after(5.2))
        world.caller.takes = timedelta(seconds=8)
        await world.clock.reach(after(40))
    [end] = world.facts(ExecutionFailed)
    assert end.lapsed
    assert end.reason == (
        "the next attempt would begin 16.5 s after the first one; retry.max_elapsed_seconds is 10"
    )
    assert len(world.calls) == 3
