"""Cancelling executions under a running scheduler."""

from datetime import timedelta

from domain.facts import ExecutionCancelled, ExecutionSucceeded
from tests.support.given import after
from tests.support.scheduler import World


async def test_a_cancelled_execution_has_its_call_broken_off_and_no_retries(world: World) -> None:
    world.caller.takes = timedelta(seconds=30)
    task = await world.create(cron="* * * * *")
    async with world.scheduler(concurrency=1):
        await world.clock.reach(after(65))
        run = world.calls[0].execution_id
        await world.cancel_execution(run, "it hangs")
        await world.clock.reach(after(121))
        assert not world.calls[0].over
        await world.clock.reach(after(151))
    assert world.names(run) == ["ExecutionStarted", "ExecutionCancelled"]
    [fact] = world.facts(ExecutionCancelled)
    assert (fact.reason, fact.interrupted) == ("cancelled by a user: it hangs", True)
    assert [call.at for call in world.calls] == [after(60), after(120)]
    assert len(world.facts(ExecutionSucceeded)) == 1
    assert world.names(task) == ["TaskCreated"]


async def test_a_retry_of_a_cancelled_execution_is_not_made(world: World) -> None:
    world.caller.answers(503)
    task = await world.create(at=after(5))
    async with world.scheduler():
        await world.clock.reach(after(5.5))
        await world.cancel_execution(world.calls[0].execution_id)
        await world.clock.reach(after(60))
    assert len(world.calls) == 1
    assert world.names(task) == ["TaskCreated", "TaskCancelled"]


async def test_an_execution_that_is_cancelled_while_it_waits_for_a_worker_is_not_sent(world: World) -> None:
    world.caller.takes = timedelta(seconds=10)
    task = await world.create(cron="0 0 1 1 *")
    async with world.scheduler(concurrency=1):
        first = await world.trigger(task)
        await world.clock.reach(after(1))
        second = await world.trigger(task)
        await world.clock.reach(after(2))
        assert world.names(second) == ["ExecutionRequested", "ExecutionStarted"]
        await world.cancel_execution(second)
        await world.clock.reach(after(30))
    assert [call.execution_id for call in world.calls] == [first]


async def test_an_outcome_that_comes_after_the_cancel_is_refused(world: World) -> None:
    world.caller.takes = timedelta(seconds=5)
    await world.create(at=after(5))
    async with world.scheduler():
        await world.clock.reach(after(7))
        with world.follower.held():
            run = world.calls[0].execution_id
            await world.cancel_execution(run)
            await world.clock.reach(after(15))
    assert world.calls[0].over
    assert world.names(run) == ["ExecutionStarted", "ExecutionCancelled"]
    assert world.observed.ends == []


async def test_a_scheduler_that_stops_while_it_breaks_off_a_call_stops(world: World) -> None:
    world.caller.takes = timedelta(seconds=500)
    await world.create(at=after(5))
    async with world.scheduler(grace=timedelta(seconds=1)):
        await world.clock.reach(after(7))
        await world.cancel_execution(world.calls[0].execution_id)
    assert not world.calls[0].over


async def test_a_requested_execution_may_be_cancelled_before_it_is_claimed(world: World) -> None:
    task = await world.create(cron="0 0 1 1 *")
    run = await world.trigger(task)
    await world.cancel_execution(run)
    await world.run_until(5)
    assert world.calls == []
    assert [fact.interrupted for fact in world.facts(ExecutionCancelled)] == [False]
