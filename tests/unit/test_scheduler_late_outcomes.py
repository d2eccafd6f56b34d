"""Outcomes that come, or never come, when the task is no longer the one that was called."""

from datetime import timedelta

from domain.definition import RetryPolicy
from domain.facts import ExecutionCancelled, ExecutionFailed, TaskFailuresCounted, TaskPaused
from tests.support.given import after
from tests.support.mortal import MortalNode
from tests.support.scheduler import World

TEN_SECONDS = timedelta(seconds=10)


def watched(failures: int) -> RetryPolicy:
    return RetryPolicy(disable_after_failures=failures)


async def test_a_failure_of_the_target_that_was_replaced_meanwhile_does_not_pause_the_task(
    world: World,
) -> None:
    task = await world.create(retry=watched(1))
    world.caller.takes = TEN_SECONDS
    world.caller.answers(404)
    async with world.scheduler():
        await world.clock.reach(after(65))
        await world.update(task, retry=watched(1), url="http://target/mended")
        await world.clock.reach(after(140))
    assert len(world.facts(ExecutionFailed)) == 1
    assert world.facts(TaskFailuresCounted) == []
    assert world.facts(TaskPaused) == []
    assert [call.url for call in world.calls][1:] == ["http://target/mended"]


async def test_a_success_of_the_target_that_was_replaced_meanwhile_ends_no_row_of_failures(
    world: World,
) -> None:
    task = await world.create(retry=watched(3))
    world.caller.takes = timedelta(seconds=130)
    async with world.scheduler():
        await world.clock.reach(after(65))
        await world.update(task, retry=watched(3), url="http://target/new")
        world.caller.takes = timedelta()
        world.caller.answers(404, 404)
        await world.clock.reach(after(195))
    assert [fact.failures for fact in world.facts(TaskFailuresCounted)] == [1, 2]


async def test_a_failure_counts_when_an_update_has_left_the_target_as_it_was(world: World) -> None:
    task = await world.create(retry=watched(3))
    world.caller.takes = TEN_SECONDS
    world.caller.answers(404)
    async with world.scheduler():
        await world.clock.reach(after(65))
        await world.update(task, retry=watched(2))
        await world.clock.reach(after(75))
    assert [fact.failures for fact in world.facts(TaskFailuresCounted)] == [1]


async def test_a_call_whose_node_died_before_its_task_was_cancelled_is_told_of_as_unknown(
    world: World,
) -> None:
    task = await world.create(at=after(5))
    world.caller.takes = TEN_SECONDS
    first = MortalNode(world, "node-1")
    await world.clock.reach(after(6))
    first.kill()
    await world.cancel(task)
    await world.run_until(200, "node-2")
    assert len(world.calls) == 1
    [end] = world.facts(ExecutionCancelled)
    assert end.interrupted
