"""The whole scheduler, in a world where time is driven by the test."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from application.scheduler import claimer
from domain.facts import (
    AttemptStarted,
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionSkipped,
    ExecutionStarted,
    ExecutionSucceeded,
    ExecutionTakenOver,
    TaskCompleted,
)
from domain.identity import execution_id
from tests.support.fake_log import FakeFollower
from tests.support.given import NOON, after
from tests.support.scheduler import World

if TYPE_CHECKING:
    pass


async def test_a_one_off_is_called_once_at_its_instant_and_completes_its_task() -> None:
    world = World()
    task = await world.create(at=after(5), url="http://target/report")
    async with world.scheduler():
        await world.clock.reach(after(60))
    run = execution_id(task, after(5), "scheduled")
    assert [(call.at, call.url, call.execution_id, call.number) for call in world.calls] == [
        (after(5), "http://target/report", run, 1)
    ]
    assert world.names(task) == ["TaskCreated", "TaskCompleted"]
    assert world.names(run) == ["ExecutionStarted", "ExecutionSucceeded"]


async def test_a_cron_task_is_called_at_each_occurrence() -> None:
    world = World()
    task = await world.create(cron="* * * * *")
    async with world.scheduler():
        await world.clock.reach(after(200))
    assert [call.at for call in world.calls] == [after(60), after(120), after(180)]
    assert world.names(task) == ["TaskCreated"]
    assert len({call.execution_id for call in world.calls}) == 3


async def test_a_task_that_is_created_while_the_scheduler_runs_is_called() -> None:
    world = World()
    async with world.scheduler():
        await world.create(at=after(5))
        await world.clock.reach(after(6))
    assert [call.at for call in world.calls] == [after(5)]


async def test_an_occurrence_is_claimed_ahead_and_sent_not_before_its_instant() -> None:
    world = World()
    await world.create(at=after(5))
    async with world.scheduler():
        await world.clock.reach(after(4.985))
        assert world.facts(ExecutionStarted) == []
        await world.clock.reach(after(4.99))
        assert len(world.facts(ExecutionStarted)) == 1
        await world.clock.reach(after(4.999))
        assert world.calls == []
        await world.clock.reach(after(5))
        assert len(world.calls) == 1


async def test_after_a_downtime_the_latest_missed_occurrence_runs_and_the_older_ones_are_skipped() -> None:
    world = World()
    await world.create(cron="* * * * *")
    await world.clock.reach(after(200))
    async with world.scheduler():
        await world.clock.reach(after(241))
    assert [fact.occurrence.due_at for fact in world.facts(ExecutionSkipped)] == [after(60), after(120)]
    assert [fact.occurrence.due_at for fact in world.facts(ExecutionStarted)] == [after(180), after(240)]
    assert [call.at for call in world.calls] == [after(200), after(240)]


async def test_an_update_that_commits_before_the_claim_wins() -> None:
    world = World()
    task = await world.create(at=after(5), url="http://target/old")
    async with world.scheduler():
        with world.follower.held():
            await world.update(task, at=after(5), url="http://target/new")
            await world.clock.reach(after(6))
        await world.clock.reach(after(7))
    assert [(call.at, call.url) for call in world.calls] == [(after(5), "http://target/new")]
    assert [fact.occurrence.task_version for fact in world.facts(ExecutionStarted)] == [2]
    assert (0, 1) in world.observed.claims


async def test_a_rescheduling_that_commits_before_the_claim_wins() -> None:
    world = World()
    task = await world.create(at=after(5))
    async with world.scheduler():
        with world.follower.held():
            await world.update(task, at=after(30))
            await world.clock.reach(after(20))
        await world.clock.reach(after(60))
    assert [call.at for call in world.calls] == [after(30)]


async def test_a_cancellation_that_commits_before_the_claim_wins() -> None:
    world = World()
    task = await world.create(at=after(5))
    async with world.scheduler():
        with world.follower.held():
            await world.cancel(task)
            await world.clock.reach(after(60))
    assert world.calls == []
    assert world.facts(ExecutionStarted) == []


async def test_a_cancellation_between_claim_and_send_drops_the_call() -> None:
    world = World()
    task = await world.create(cron="* * * * *")
    async with world.scheduler():
        await world.clock.reach(after(59.99))
        await world.cancel(task)
        await world.clock.reach(after(300))
    assert world.calls == []
    [skip] = world.facts(ExecutionSkipped)
    assert skip.reason == "the task was cancelled before the call was sent"
    assert world.names(execution_id(task, after(60), "scheduled")) == ["ExecutionStarted", "ExecutionSkipped"]


async def test_another_action_between_claim_and_send_is_the_one_that_is_called() -> None:
    world = World()
    task = await world.create(at=after(5), url="http://target/old")
    async with world.scheduler():
        await world.clock.reach(after(4.99))
        await world.update(task, at=after(5), url="http://target/new")
        await world.clock.reach(after(10))
    assert [(call.at, call.url, call.number) for call in world.calls] == [(after(5), "http://target/new", 1)]
    assert [fact.task_version for fact in world.facts(AttemptStarted)] == [2]
    assert world.names(task) == ["TaskCreated", "TaskUpdated", "TaskCompleted"]


async def test_a_rescheduling_between_claim_and_send_drops_the_call_and_the_new_place_fires() -> None:
    world = World()
    task = await world.create(at=after(5))
    async with world.scheduler():
        await world.clock.reach(after(4.99))
        await world.update(task, at=after(30))
        await world.clock.reach(after(60))
    assert [call.at for call in world.calls] == [after(30)]
    [skip] = world.facts(ExecutionSkipped)
    assert skip.reason == "the task was rescheduled before the call was sent"
    assert world.names(task) == ["TaskCreated", "TaskUpdated", "TaskCompleted"]


async def test_a_change_that_the_follower_tells_before_the_claim_is_answered_still_drops_the_call() -> None:
    world = World()
    task = await world.create(at=after(5))

    async def cancel() -> None:
        await world.cancel(task)
        await world.follower.told()

    async with world.scheduler():
        world.log.meanwhile[ExecutionStarted] = cancel
        await world.clock.reach(after(10))
    assert world.calls == []
    assert world.names(execution_id(task, after(5), "scheduled")) == ["ExecutionStarted", "ExecutionSkipped"]


async def test_a_new_trigger_that_is_due_at_the_claimed_instant_goes_on_from_its_own_schedule() -> None:
    world = World()
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


async def test_a_one_off_that_is_moved_away_unsent_and_back_runs_after_all() -> None:
    world = World()
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


async def test_a_one_off_that_is_moved_away_while_it_runs_and_back_when_it_has_run_is_completed() -> None:
    world = World()
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


async def test_a_one_off_that_is_moved_while_it_runs_is_completed_by_its_new_instant() -> None:
    world = World()
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


async def test_a_failed_call_is_repeated_with_backoff_until_it_succeeds() -> None:
    world = World()
    world.caller.answers(503, 503, 200)
    task = await world.create(at=after(5))
    async with world.scheduler():
        await world.clock.reach(after(60))
    assert [(call.at, call.number) for call in world.calls] == [(after(5), 1), (after(6), 2), (after(8), 3)]
    assert len({call.execution_id for call in world.calls}) == 1
    assert [fact.outcome for fact in world.facts(TaskCompleted)] == ["succeeded"]
    assert world.names(task) == ["TaskCreated", "TaskCompleted"]


async def test_the_last_failure_ends_the_task() -> None:
    world = World()
    world.caller.answers(503, 503, 503)
    await world.create(at=after(5))
    async with world.scheduler():
        await world.clock.reach(after(60))
    assert len(world.calls) == 3
    assert [fact.reason for fact in world.facts(ExecutionFailed)] == ["attempt 3 of 3 failed"]
    assert [fact.outcome for fact in world.facts(TaskCompleted)] == ["failed"]


async def test_a_retry_calls_the_action_as_it_is_by_then() -> None:
    world = World()
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


async def test_a_cancellation_ends_a_waiting_retry_at_once() -> None:
    world = World()
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


async def test_a_cancellation_during_a_call_that_fails_leaves_no_retry_waiting() -> None:
    world = World()
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


async def test_an_outage_at_the_claim_loses_nothing_and_repeats_nothing() -> None:
    world = World()
    await world.create(at=after(5))
    async with world.scheduler():
        await world.clock.reach(after(4))
        with world.log.away():
            await world.clock.reach(after(30))
            assert world.calls == []
        await world.clock.reach(after(60))
    assert len(world.calls) == 1
    assert after(30) <= world.calls[0].at <= after(31)


async def test_an_outage_during_the_call_loses_no_outcome() -> None:
    world = World()
    world.caller.takes = timedelta(seconds=5)
    task = await world.create(at=after(5))
    async with world.scheduler("node-1"), world.scheduler("node-2", follower=FakeFollower(world.log)):
        await world.clock.reach(after(6))
        with away(world):
            await world.clock.reach(after(400))  # far longer than the lease
            assert world.facts(ExecutionSucceeded) == []
        await world.clock.reach(after(460))
    assert len(world.calls) == 1
    assert world.names(task) == ["TaskCreated", "TaskCompleted"]


@contextlib.contextmanager
def away(world: World):  # type: ignore[no-untyped-def]
    world.due_tasks.away = world.nodes.away = True
    with world.log.away():
        yield
    world.due_tasks.away = world.nodes.away = False


@pytest.mark.parametrize("held", [True, False], ids=["found before the follower tells", "told first"])
async def test_a_claim_whose_answer_was_lost_is_recognised_and_sent_once(held: bool) -> None:
    world = World()
    await world.create(cron="* * * * *")
    async with world.scheduler():
        with contextlib.ExitStack() as stack:
            if held:
                stack.enter_context(world.follower.held())
            with world.log.losing_answers():
                await world.clock.reach(after(60.2))
                assert world.calls == []
            await world.clock.reach(after(62))
        await world.clock.reach(after(121))
    assert [call.number for call in world.calls] == [1, 1]
    assert world.calls[0].at < after(61)
    assert world.calls[1].at == after(120)
    assert world.facts(ExecutionTakenOver) == []


async def test_two_schedulers_call_each_occurrence_once() -> None:
    world = World()
    for number in range(20):
        await world.create(cron="* * * * *", name=f"task-{number}")
    other = FakeFollower(world.log)
    async with world.scheduler("node-1"), world.scheduler("node-2", follower=other):
        await world.clock.reach(after(301))
    assert len(world.calls) == 20 * 5
    assert len({call.execution_id for call in world.calls}) == 20 * 5
    assert all(call.at in {after(60 * minute) for minute in range(1, 6)} for call in world.calls)


async def test_a_retry_that_a_dead_node_left_waiting_is_made_by_another() -> None:
    world = World()
    world.caller.answers(503)
    await world.create(at=after(5))
    async with world.scheduler("node-1"):
        await world.clock.reach(after(5.5))
    async with world.scheduler("node-2"):
        await world.clock.reach(after(20))
    assert [call.number for call in world.calls] == [1, 2]
    assert [fact.node for fact in world.facts(AttemptStarted)] == ["node-2"]


async def test_a_stopping_scheduler_lets_its_calls_finish_and_records_them() -> None:
    world = World()
    world.caller.takes = timedelta(seconds=5)
    task = await world.create(at=after(5))
    await world.create(at=after(8))
    async with world.scheduler() as running:
        await world.clock.reach(after(6))
        running.cancel()
        await world.clock.until(running.done)
    assert [(call.at, call.over) for call in world.calls] == [(after(5), True)]
    assert world.names(task) == ["TaskCreated", "TaskCompleted"]
    assert after(10) <= world.clock.now() < after(10.1)
    assert world.nodes.known == {}


async def test_what_outlasts_the_grace_is_left_to_be_taken_over() -> None:
    world = World()
    world.caller.takes = timedelta(seconds=9)
    await world.create(at=after(5))
    async with world.scheduler(grace=timedelta(seconds=3)) as running:
        await world.clock.reach(after(6))
        running.cancel()
        await world.clock.until(running.done)
    assert world.clock.now() == after(9)
    assert [call.over for call in world.calls] == [False]
    async with world.scheduler("node-2"):
        await world.clock.reach(after(30))
    assert [call.number for call in world.calls] == [1, 2]
    assert [fact.lost_by for fact in world.facts(ExecutionTakenOver)] == ["node-1"]


async def test_a_claim_on_its_way_when_the_scheduler_stops_is_still_sent() -> None:
    world = World()
    await world.create(at=after(5))
    async with world.scheduler() as running:

        async def stop() -> None:
            running.cancel()
            await world.follower.told()

        world.log.meanwhile[ExecutionStarted] = stop
        await world.clock.until(running.done)
    assert [call.over for call in world.calls] == [True]
    assert len(world.facts(ExecutionSucceeded)) == 1


async def test_an_outage_does_not_keep_a_scheduler_from_stopping() -> None:
    world = World()
    await world.create(at=after(5))
    async with world.scheduler(grace=timedelta(seconds=3)) as running:
        await world.clock.reach(after(4))
        with away(world):
            await world.clock.reach(after(6))
            running.cancel()
            await world.clock.until(running.done)
            assert world.clock.now() <= after(9)


async def test_a_scheduler_beats_before_it_claims() -> None:
    world = World()
    await world.create(at=NOON)
    world.nodes.away = True
    async with world.scheduler():
        await world.clock.reach(after(3))
        assert world.facts(ExecutionStarted) == []
        world.nodes.away = False
        await world.clock.reach(after(5))
    assert len(world.calls) == 1


async def test_a_scheduler_beats_every_second() -> None:
    world = World()
    async with world.scheduler():
        await world.clock.reach(after(7.5))
        assert world.nodes.known == {"node-1": after(7)}


async def test_an_error_of_any_part_ends_the_scheduler_and_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()

    async def broken(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(claimer.Claimer, "_wait", broken)
    with pytest.raises(RuntimeError, match="broken"):
        async with world.scheduler() as running:
            await world.clock.until(running.done)
    assert world.nodes.known == {}


async def test_the_observer_hears_of_claims_calls_and_ends() -> None:
    world = World()
    world.caller.answers(200, 404)
    await world.create(at=after(5), name="good")
    await world.create(at=after(6), name="bad")
    async with world.scheduler():
        await world.clock.reach(after(10))
    assert world.observed.claims == [(1, 0), (1, 0)]
    assert world.observed.calls == [1, 0, 1, 0]
    assert max(world.observed.entries) == 2
    assert world.observed.entries[-1] == 0
    assert [(occurrence.task_name, type(end)) for occurrence, end in world.observed.ends] == [
        ("good", ExecutionSucceeded),
        ("bad", ExecutionFailed),
    ]
