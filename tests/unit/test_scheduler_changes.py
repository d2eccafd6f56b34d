"""Users change and end tasks that are due, claimed, running or waiting: the log's order decides."""

from datetime import timedelta

from domain.facts import AttemptStarted, ExecutionCancelled, ExecutionSkipped, ExecutionStarted, TaskCompleted
from domain.identity import execution_id
from tests.support.given import NOON, after
from tests.support.scheduler import World


async def test_an_update_that_commits_before_the_claim_wins(world: World) -> None:
    task = await world.create(at=after(5), url="http://target/old")
    async with world.scheduler():
        with world.follower.held():
            await world.update(task, at=after(5), url="http://target/new")
            await world.clock.reach(after(6))
        await world.clock.reach(after(7))
    assert [(call.at, call.url) for call in world.calls] == [(after(5), "http://target/new")]
    assert [fact.occurrence.task_version for fact in world.facts(ExecutionStarted)] == [2]
    assert (0, 1) in world.observed.claims


async def test_a_rescheduling_that_commits_before_the_claim_wins(world: World) -> None:
    task = await world.create(at=after(5))
    async with world.scheduler():
        with world.follower.held():
            await world.update(task, at=after(30))
            await world.clock.reach(after(20))
        await world.clock.reach(after(60))
    assert [call.at for call in world.calls] == [after(30)]


async def test_a_cancellation_that_commits_before_the_claim_wins(world: World) -> None:
    task = await world.create(at=after(5))
    async with world.scheduler():
        with world.follower.held():
            await world.cancel(task)
            await world.clock.reach(after(60))
    assert world.calls == []
    assert world.facts(ExecutionStarted) == []


async def test_a_cancellation_between_claim_and_send_drops_the_call(world: World) -> None:
    task = await world.create(cron="* * * * *")
    async with world.scheduler():
        await world.clock.reach(after(59.99))
        await world.cancel(task)
        await world.clock.reach(after(300))
    assert world.calls == []
    [skip] = world.facts(ExecutionSkipped)
    assert skip.reason == "the task was cancelled before the call was sent"
    assert world.names(execution_id(task, after(60), "scheduled")) == ["ExecutionStarted", "ExecutionSkipped"]


async def test_another_action_between_claim_and_send_is_the_one_that_is_called(world: World) -> None:
    task = await world.create(at=after(5), url="http://target/old")
    async with world.scheduler():
        await world.clock.reach(after(4.99))
        await world.update(task, at=after(5), url="http://target/new")
        await world.clock.reach(after(10))
    assert [(call.at, call.url, call.number) for call in world.calls] == [(after(5), "http://target/new", 1)]
    assert [fact.task_version for fact in world.facts(AttemptStarted)] == [2]
    assert world.names(task) == ["TaskCreated", "TaskUpdated", "TaskCompleted"]


async def test_a_rescheduling_between_claim_and_send_drops_the_call_and_the_new_place_fires(
    world: World,
) -> None:
    task = await world.create(at=after(5))
    async with world.scheduler():
        await world.clock.reach(after(4.99))
        await world.update(task, at=after(30))
        await world.clock.reach(after(60))
    assert [call.at for call in world.calls] == [after(30)]
    [skip] = world.facts(ExecutionSkipped)
    assert skip.reason == "the task was rescheduled before the call was sent"
    assert world.names(task) == ["TaskCreated", "TaskUpdated", "TaskCompleted"]


async def test_a_change_that_the_follower_tells_before_the_claim_is_answered_still_drops_the_call(
    world: World,
) -> None:
    task = await world.create(at=after(5))

    async def cancel() -> None:
        await world.cancel(task)
        await world.follower.told()

    async with world.scheduler():
        world.log.meanwhile[ExecutionStarted] = cancel
        await world.clock.reach(after(10))
    assert world.calls == []
    assert world.names(execution_id(task, after(5), "scheduled")) == ["ExecutionStarted", "ExecutionSkipped"]


async def test_a_new_trigger_that_is_due_at_the_claimed_instant_goes_on_from_its_own_schedule(
    world: World,
) -> None:
    task = await world.create(cron="* * * * *", url="http://target/old")
    async with world.scheduler():
        await world.clock.reach(after(59.99))
        await world.update(task, cron="1 * * * *", url="http://target/new")
        await world.clock.reach(after(3700))
    assert [(call.at, call.url) for call in world.calls] == [
        (after(60), "http://target/new"),
        (after(3660), "http://target/new"),
    ]
    assert world.names(task) == ["TaskCreated", "TaskUpdated", "TaskUpdated"]
    assert world.facts(ExecutionSkipped) == []


async def test_a_one_off_that_is_moved_away_unsent_and_back_runs_after_all(world: World) -> None:
    world.caller.takes = timedelta(seconds=10)
    await world.create(at=NOON, url="http://target/busy")
    task = await world.create(at=after(1), url="http://target/moved")
    async with world.scheduler(concurrency=1):
        await world.clock.reach(after(2))  # claimed, but the only worker is busy
        await world.update(task, at=after(600))
        await world.clock.reach(after(11))
        assert len(world.facts(ExecutionSkipped)) == 1
        await world.update(task, at=after(1), url="http://target/moved")
        await world.clock.reach(after(60))
    run = execution_id(task, after(1), "scheduled")
    assert [call.execution_id for call in world.calls if "moved" in call.url] == [run]
    assert world.names(run) == [
        "ExecutionStarted",
        "ExecutionSkipped",
        "ExecutionStarted",
        "ExecutionSucceeded",
    ]
    assert world.names(task)[-1] == "TaskCompleted"


async def test_a_one_off_that_is_moved_away_while_it_runs_and_back_when_it_has_run_is_completed(
    world: World,
) -> None:
    world.caller.takes = timedelta(seconds=10)
    task = await world.create(at=after(1))
    async with world.scheduler():
        await world.clock.reach(after(5))
        await world.update(task, at=after(600))
        await world.clock.reach(after(20))
        assert world.facts(TaskCompleted) == []
        await world.update(task, at=after(1))
        await world.clock.reach(after(30))
    assert len(world.calls) == 1
    [end] = world.facts(TaskCompleted)
    assert end.outcome == "succeeded"


async def test_a_one_off_that_is_moved_while_it_runs_is_completed_by_its_new_instant(world: World) -> None:
    world.caller.takes = timedelta(seconds=10)
    task = await world.create(at=after(1))
    async with world.scheduler():
        await world.clock.reach(after(5))
        await world.update(task, at=after(60))
        await world.clock.reach(after(50))
        assert world.names(task) == ["TaskCreated", "TaskUpdated"]
        await world.clock.reach(after(120))
    assert [call.at for call in world.calls] == [after(1), after(60)]
    [end] = world.facts(TaskCompleted)
    assert end.execution_id == execution_id(task, after(60), "scheduled")


async def test_a_retry_calls_the_action_as_it_is_by_then(world: World) -> None:
    world.caller.answers(503)
    task = await world.create(at=after(5), url="http://target/old")
    async with world.scheduler():
        await world.clock.reach(after(5.5))
        await world.update(task, at=after(5), url="http://target/new")
        await world.clock.reach(after(20))
    assert [(call.at, call.url) for call in world.calls] == [
        (after(5), "http://target/old"),
        (after(6), "http://target/new"),
    ]


async def test_a_cancellation_ends_a_waiting_retry_at_once(world: World) -> None:
    world.caller.answers(503)
    task = await world.create(at=after(5))
    async with world.scheduler():
        await world.clock.reach(after(5.5))
        await world.cancel(task)
        await world.clock.settle()
        [end] = world.facts(ExecutionCancelled)
        assert end.reason == "the task was cancelled: no further attempt is made"
        await world.clock.reach(after(60))
    assert len(world.calls) == 1


async def test_a_cancellation_during_a_call_that_fails_leaves_no_retry_waiting(world: World) -> None:
    world.caller.takes = timedelta(seconds=2)
    world.caller.answers(503)
    task = await world.create(at=after(5))
    async with world.scheduler():
        await world.clock.reach(after(6))
        await world.cancel(task)
        await world.clock.reach(after(7))
        assert len(world.facts(ExecutionCancelled)) == 1
        await world.clock.reach(after(60))
    assert len(world.calls) == 1
