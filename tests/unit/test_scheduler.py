"""The whole scheduler, in a world where time is driven by the test."""

from datetime import timedelta

import pytest

from domain.facts import (
    ExecutionFailed,
    ExecutionSkipped,
    ExecutionStarted,
    ExecutionSucceeded,
    TaskCompleted,
)
from domain.identity import execution_id
from tests.support.fake_log import FakeFollower
from tests.support.given import after
from tests.support.scheduler import World


async def test_a_one_off_is_called_once_at_its_instant_and_completes_its_task(world: World) -> None:
    task = await world.create(at=after(5), url="http://target/report")
    await world.run_until(60)
    run = execution_id(task, after(5), "scheduled")
    assert [(call.at, call.url, call.execution_id, call.number) for call in world.calls] == [
        (after(5), "http://target/report", run, 1)
    ]
    assert world.names(task) == ["TaskCreated", "TaskCompleted"]
    assert world.names(run) == ["ExecutionStarted", "ExecutionSucceeded"]


async def test_a_cron_task_is_called_at_each_occurrence(world: World) -> None:
    task = await world.create(cron="* * * * *")
    await world.run_until(200)
    assert [call.at for call in world.calls] == [after(60), after(120), after(180)]
    assert world.names(task) == ["TaskCreated"]
    assert len({call.execution_id for call in world.calls}) == 3


@pytest.mark.parametrize(("last", "outcome"), [(200, "succeeded"), (503, "failed")])
async def test_a_failed_call_is_repeated_with_backoff_and_the_last_attempt_ends_the_task(
    world: World, last: int, outcome: str
) -> None:
    world.caller.answers(503, 503, last)
    task = await world.create(at=after(5))
    await world.run_until(60)
    assert [(call.at, call.number) for call in world.calls] == [(after(5), 1), (after(6), 2), (after(8), 3)]
    assert len({call.execution_id for call in world.calls}) == 1
    assert [fact.outcome for fact in world.facts(TaskCompleted)] == [outcome]
    assert world.names(task) == ["TaskCreated", "TaskCompleted"]


async def test_an_occurrence_is_claimed_ahead_and_sent_not_before_its_instant(world: World) -> None:
    await world.create(at=after(5))
    async with world.scheduler():
        await world.clock.reach(after(4.57))
        assert world.facts(ExecutionStarted) == []
        await world.clock.reach(after(4.575))
        assert len(world.facts(ExecutionStarted)) == 1
        await world.clock.reach(after(4.999))
        assert world.calls == []
        await world.clock.reach(after(5))
        assert len(world.calls) == 1


async def test_what_must_not_be_sent_twice_is_claimed_shortly_before_it_is_sent(world: World) -> None:
    await world.create(at=after(5), delivery="at_most_once")
    other = await world.create(at=after(4.999))
    async with world.scheduler():
        await world.clock.reach(after(4.985))
        assert [fact.occurrence.task_id for fact in world.facts(ExecutionStarted)] == [other]
        await world.clock.reach(after(4.99))
        assert len(world.facts(ExecutionStarted)) == 2
        await world.clock.reach(after(5))
        assert [call.at for call in world.calls] == [after(4.999), after(5)]


async def test_after_a_downtime_the_latest_missed_occurrence_runs_and_the_older_ones_are_skipped(
    world: World,
) -> None:
    await world.create(cron="* * * * *")
    await world.clock.reach(after(200))
    await world.run_until(241)
    assert [fact.occurrence.due_at for fact in world.facts(ExecutionSkipped)] == [after(60), after(120)]
    assert [fact.occurrence.due_at for fact in world.facts(ExecutionStarted)] == [after(180), after(240)]
    assert [call.at for call in world.calls] == [after(200), after(240)]


async def test_two_schedulers_call_each_occurrence_once(world: World) -> None:
    for number in range(20):
        await world.create(cron="* * * * *", name=f"task-{number}")
    other = FakeFollower(world.log)
    async with world.scheduler("node-1"), world.scheduler("node-2", follower=other):
        await world.clock.reach(after(301))
    assert len(world.calls) == 20 * 5
    assert len({call.execution_id for call in world.calls}) == 20 * 5
    assert all(call.at in {after(60 * minute) for minute in range(1, 6)} for call in world.calls)


async def test_a_scheduler_beats_every_second(world: World) -> None:
    async with world.scheduler():
        await world.clock.reach(after(7.5))
        assert world.nodes.known == {"node-1": after(7)}


async def test_the_observer_hears_of_claims_calls_and_ends(world: World) -> None:
    world.caller.answers(200, 404)
    world.caller.takes = timedelta(seconds=0.9)
    await world.create(at=after(4.5), name="good")
    await world.create(at=after(5.5), name="bad")
    await world.run_until(10)
    assert world.observed.claims == [(1, 0), (1, 0)]
    assert (world.observed.calls.count(1), world.observed.calls[-1]) == (2, 0)  # told every second
    assert max(world.observed.entries) == 2
    assert world.observed.entries[-1] == 0
    assert [(occurrence.task_name, type(end)) for occurrence, end in world.observed.ends] == [
        ("good", ExecutionSucceeded),
        ("bad", ExecutionFailed),
    ]
