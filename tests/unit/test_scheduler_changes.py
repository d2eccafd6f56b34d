"""Users change, cancel and end what is due, claimed, running or waiting: the log's order decides."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import UUID

import pytest

from domain.definition import Overlap
from domain.facts import (
    AttemptStarted,
    ExecutionCancelled,
    ExecutionSkipped,
    ExecutionStarted,
    ExecutionSucceeded,
    TaskCompleted,
)
from domain.identity import execution_id
from tests.support.books import check_books
from tests.support.given import NOON, after, every
from tests.support.mortal import MortalNode
from tests.support.scheduler import World

type Change = Callable[[World, UUID], Awaitable[None]]

OTHER_ACTION = "http://target/new"
CHANGES: dict[str, tuple[Change, list[tuple[float, str]], str]] = {
    "another action": (lambda world, task: world.update(task, at=after(5), url=OTHER_ACTION),
        [(5, OTHER_ACTION)], ""),
    "another instant": (lambda world, task: world.update(task, at=after(30)), [(30, "http://target/")],
        "the task was rescheduled before the call was sent"),
    "a cancellation": (lambda world, task: world.cancel(task), [],
        "the task was cancelled before the call was sent"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "calls", "_"), CHANGES.values(), ids=CHANGES)
async def test_a_change_that_commits_before_the_claim_wins(
    world: World, change: Change, calls: list[tuple[float, str]], _: str
) -> None:
    task = await world.create(at=after(5))
    async with world.scheduler():
        with world.follower.held():
            await change(world, task)
            await world.clock.reach(after(6))
        await world.clock.reach(after(60))
    assert [(call.at, call.url) for call in world.calls] == [(after(at), url) for at, url in calls]
    assert [fact.occurrence.task_version for fact in world.facts(ExecutionStarted)] == [2] * len(calls)
    assert (0, 1) in world.observed.claims


@pytest.mark.parametrize(("change", "calls", "reason"), CHANGES.values(), ids=CHANGES)
async def test_a_change_between_claim_and_send_renews_the_claim_or_drops_the_call(
    world: World, change: Change, calls: list[tuple[float, str]], reason: str
) -> None:
    task = await world.create(at=after(5))
    async with world.scheduler():
        await world.clock.reach(after(4.99))
        await change(world, task)
        await world.clock.reach(after(60))
    assert [(call.at, call.url, call.number) for call in world.calls] == [
        (after(at), url, 1) for at, url in calls
    ]
    assert [fact.reason for fact in world.facts(ExecutionSkipped)] == [reason] * bool(reason)
    assert [fact.task_version for fact in world.facts(AttemptStarted)] == [2] * (not reason)
    assert world.names(task)[-1] == ("TaskCompleted" if calls else "TaskCancelled")


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


BOUNDED = every(10, max_runs=50)


async def schedule(world: World, until: float) -> None:
    """A scheduler's time, up to so many seconds after noon."""
    node = MortalNode(world, "node-1")
    await world.clock.reach(after(until))
    await node.stop()


async def test_what_was_skipped_before_runs_now_beside_others_that_keep_their_entries(world: World) -> None:
    task = await world.create(trigger=every(10))
    await world.clock.reach(after(35))
    await schedule(world, 36)
    assert world.skips("catch_up") == [10, 20]
    await world.clock.step(-30)
    await world.update(task, trigger=BOUNDED)
    await world.clock.reach(after(25))
    await schedule(world, 41)
    assert world.skips("catch_up") == [10, 20]
    assert [due for due, _ in world.runs()] == [30, 20, 40]
    await world.cancel(task)
    check_books(world)


async def test_what_is_due_before_what_has_run_already_is_recorded(world: World) -> None:
    task = await world.create(trigger=every(20))
    await schedule(world, 25)
    await world.clock.step(-20)
    await world.update(task, trigger=every(10))
    await world.clock.reach(after(22))
    await schedule(world, 31)
    assert world.skips("catch_up") == [10]
    assert world.runs() == [(20, 20), (30, 30)]
    await world.cancel(task)
    check_books(world)


async def test_what_is_queued_and_lies_ahead_again_waits_for_its_turn(world: World) -> None:
    queue = Overlap(mode="queue_all")
    world.caller.takes = timedelta(seconds=32)
    task = await world.create(trigger=every(10, max_runs=40), overlap=queue)
    node = MortalNode(world, "node-1")
    await world.clock.reach(after(41))
    assert [fact.occurrence.due_at for fact in world.facts(ExecutionStarted)] == [after(10)]
    await world.clock.step(-36)
    world.caller.takes = timedelta()
    await world.update(task, trigger=BOUNDED, overlap=queue)
    await world.clock.reach(after(61))
    await node.stop()
    assert [fact.by for fact in world.facts(ExecutionSkipped)] == ["change"] * 3
    assert [due for due, _ in world.runs()] == [10, 20, 30, 40, 50, 60]
    await world.cancel(task)
    check_books(world)
