"""Running by hand and backfilling under a running scheduler."""

from datetime import timedelta

import pytest

from domain.facts import ExecutionSkipped, ExecutionStarted
from domain.identity import execution_id
from tests.support.fake_log import FakeFollower
from tests.support.given import NOON, after
from tests.support.scheduler import World


async def test_a_run_by_hand_leaves_the_schedule_as_it_is(world: World) -> None:
    task = await world.create(cron="* * * * *")
    async with world.scheduler():
        await world.clock.reach(after(30))
        run = await world.trigger(task)
        await world.clock.reach(after(61))
    assert [call.execution_id for call in world.calls] == [run, execution_id(task, after(60), "scheduled")]
    assert world.names(run) == ["ExecutionRequested", "ExecutionStarted", "ExecutionSucceeded"]
    assert (1, 0) in world.observed.claims


async def test_a_run_by_hand_of_a_one_off_does_not_end_it(world: World) -> None:
    task = await world.create(at=after(5))
    async with world.scheduler():
        await world.trigger(task)
        await world.clock.reach(after(4))
        assert world.names(task) == ["TaskCreated"]
        await world.clock.reach(after(6))
    assert len(world.calls) == 2
    assert world.names(task) == ["TaskCreated", "TaskCompleted"]


async def test_a_run_that_was_asked_for_before_a_scheduler_was_there_is_taken_up(world: World) -> None:
    task = await world.create(cron="0 0 1 1 *")
    run = await world.trigger(task)
    await world.clock.reach(after(30))
    await world.run_until(32)
    assert [call.execution_id for call in world.calls] == [run]


async def test_a_run_is_made_once_by_many_schedulers(world: World) -> None:
    task = await world.create(cron="0 0 1 1 *")
    async with world.scheduler("node-1"), world.scheduler("node-2", follower=FakeFollower(world.log)):
        runs = {await world.trigger(task) for _ in range(10)}
        await world.clock.reach(after(15))
    assert {call.execution_id for call in world.calls} == runs
    assert len(world.calls) == len(runs) == 10


async def test_a_run_is_made_from_the_task_as_it_is_when_it_is_claimed(world: World) -> None:
    task = await world.create(cron="0 0 1 1 *", url="http://target/old")
    run = await world.trigger(task)
    world.log.after_reading[task] = lambda: world.update(task, cron="0 0 1 1 *", url="http://target/new")
    await world.run_until(2)
    assert [(call.execution_id, call.url) for call in world.calls] == [(run, "http://target/new")]


async def test_a_run_of_a_task_that_ends_before_it_is_claimed_is_cancelled(world: World) -> None:
    task = await world.create(cron="0 0 1 1 *")
    run = await world.trigger(task)
    await world.cancel(task)
    await world.run_until(2)
    assert world.calls == []
    assert world.names(run) == ["ExecutionRequested", "ExecutionCancelled"]


async def test_a_run_that_cannot_be_claimed_stops_no_other_and_is_tried_again(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    task = await world.create(cron="* * * * *")
    async with world.scheduler():
        await world.clock.reach(after(1))
        world.log.poison = ExecutionStarted
        run = await world.trigger(task)
        await world.clock.reach(after(5))
        world.log.poison = None
        await world.clock.reach(after(61))
    assert "claiming requested execution" in caplog.text
    assert "claiming requested execution" in world.observed.errors
    scheduled = execution_id(task, after(60), "scheduled")
    assert [call.execution_id for call in world.calls] == [run, scheduled]


async def test_an_outage_only_delays_a_run_by_hand(world: World) -> None:
    task = await world.create(cron="0 0 1 1 *")
    async with world.scheduler():
        with world.follower.held():
            run = await world.trigger(task)
            with world.outage():
                await world.clock.reach(after(3))
        await world.clock.reach(after(6))
    assert [call.execution_id for call in world.calls] == [run]


async def test_an_unsent_run_by_hand_survives_another_schedule(world: World) -> None:
    world.caller.takes = timedelta(seconds=10)
    task = await world.create(cron="0 0 1 1 *")
    async with world.scheduler(concurrency=1):
        await world.trigger(task)
        await world.clock.reach(after(1))
        second = await world.trigger(task)
        await world.clock.reach(after(2))
        await world.update(task, cron="0 0 2 2 *", url="http://target/new")
        await world.clock.reach(after(30))
    assert [(call.execution_id, call.url) for call in world.calls][1:] == [(second, "http://target/new")]


async def test_a_backfill_runs_what_was_skipped_and_repeats_nothing(world: World) -> None:
    task = await world.create(cron="* * * * *")
    await world.clock.reach(after(200))
    async with world.scheduler():
        await world.clock.reach(after(230))
        done = await world.backfill(task, NOON - timedelta(minutes=1), after(200))
        again = await world.backfill(task, NOON - timedelta(minutes=1), after(200))
        await world.clock.reach(after(235))
        after_it_ran = await world.backfill(task, NOON - timedelta(minutes=1), after(200))
    assert [one.due_at for one in done.requested] == [after(-60), NOON, after(60), after(120)]
    assert done.already_run == 1
    assert (again.requested, again.position) == (after_it_ran.requested, None) == ((), None)
    assert sorted(call.execution_id for call in world.calls) == sorted(
        execution_id(task, after(60 * minute), "scheduled") for minute in (-1, 0, 1, 2, 3)
    )


async def test_what_was_backfilled_during_a_pause_is_left_out_when_resumed(world: World) -> None:
    task = await world.create(cron="* * * * *")
    async with world.scheduler():
        await world.pause(task)
        await world.clock.reach(after(185))
        await world.backfill(task, after(120), after(121))
        await world.clock.reach(after(190))
        await world.resume(task)
        await world.clock.reach(after(241))
    assert [call.execution_id for call in world.calls] == [
        execution_id(task, after(60 * minute), "scheduled") for minute in (2, 3, 4)
    ]
    assert [fact.occurrence.due_at for fact in world.facts(ExecutionSkipped)] == [after(60)]


async def test_a_task_that_changes_while_its_backfilled_place_is_passed_is_looked_at_again(
    world: World,
) -> None:
    task = await world.create(cron="* * * * *")
    async with world.scheduler():
        await world.pause(task)
        await world.clock.reach(after(185))
        await world.backfill(task, after(120), after(121))
        await world.clock.reach(after(190))
        missed = execution_id(task, after(60), "scheduled")
        world.log.after_reading[missed] = lambda: world.update(
            task, cron="* * * * *", url="http://target/new"
        )
        await world.resume(task)
        await world.clock.reach(after(200))
    assert [(call.execution_id, call.url) for call in world.calls] == [
        (execution_id(task, after(120), "scheduled"), "http://target/"),
        (execution_id(task, after(180), "scheduled"), "http://target/new"),
    ]
    assert [fact.occurrence.due_at for fact in world.facts(ExecutionSkipped)] == [after(60)]
