"""Intervals, bounds and jitter through the whole scheduler."""

from __future__ import annotations

import pytest

from application.scheduler import loader
from domain.definition import Cron, Interval, RetryPolicy
from domain.facts import ExecutionSkipped, ExecutionStarted, TaskCompleted
from domain.identity import execution_id
from domain.schedule import fires_at
from tests.support.given import NOON, after
from tests.support.scheduler import World

PATIENT = RetryPolicy(initial_delay_seconds=20, max_delay_seconds=20)


async def test_an_interval_is_called_at_each_multiple_from_the_creation_of_its_task() -> None:
    world = World()
    await world.create(trigger=Interval(every_seconds=7))
    async with world.scheduler():
        await world.clock.reach(after(30))
    assert [call.at for call in world.calls] == [after(7), after(14), after(21), after(28)]


async def test_after_its_last_run_a_task_is_completed() -> None:
    world = World()
    task = await world.create(trigger=Interval(every_seconds=10, max_runs=3))
    async with world.scheduler():
        await world.clock.reach(after(120))
    assert [call.at for call in world.calls] == [after(10), after(20), after(30)]
    assert world.names(task) == ["TaskCreated", "TaskCompleted"]
    [end] = world.facts(TaskCompleted)
    assert (end.outcome, end.execution_id) == ("succeeded", execution_id(task, after(30), "scheduled"))


async def test_the_runs_of_a_task_are_counted_over_a_restart() -> None:
    world = World()
    task = await world.create(trigger=Interval(every_seconds=10, max_runs=4))
    async with world.scheduler():
        await world.clock.reach(after(25))
    async with world.scheduler("node-2"):
        await world.clock.reach(after(120))
    assert [fact.occurrence.run for fact in world.facts(ExecutionStarted)] == [1, 2, 3, 4]
    assert world.names(task) == ["TaskCreated", "TaskCompleted"]


async def test_what_was_missed_takes_no_run_away() -> None:
    world = World()
    task = await world.create(trigger=Interval(every_seconds=10, max_runs=2))
    await world.clock.reach(after(45))
    async with world.scheduler():
        await world.clock.reach(after(120))
    assert len(world.facts(ExecutionSkipped)) == 3
    assert [fact.occurrence.due_at for fact in world.facts(ExecutionStarted)] == [after(40), after(50)]
    assert world.names(task)[-1] == "TaskCompleted"


async def test_a_failure_of_the_last_occurrence_up_to_end_at_fails_the_task() -> None:
    world = World()
    world.caller.answers(200, 404)
    task = await world.create(trigger=Cron(cron="* * * * *", end_at=after(150)))
    async with world.scheduler():
        await world.clock.reach(after(300))
    assert [call.at for call in world.calls] == [after(60), after(120)]
    assert world.names(task) == ["TaskCreated", "TaskCompleted"]
    [end] = world.facts(TaskCompleted)
    assert end.outcome == "failed"


async def test_an_earlier_execution_is_still_retried_when_the_last_one_has_completed_the_task() -> None:
    world = World()
    world.caller.answers(503, 200, 200)
    task = await world.create(trigger=Interval(every_seconds=1, max_runs=2), retry=PATIENT)
    async with world.scheduler():
        await world.clock.reach(after(60))
    first = execution_id(task, after(1), "scheduled")
    assert world.names(first) == ["ExecutionStarted", "AttemptFailed", "AttemptStarted", "ExecutionSucceeded"]
    assert world.names(task) == ["TaskCreated", "TaskCompleted"]


async def test_a_new_trigger_counts_its_runs_anew() -> None:
    world = World()
    task = await world.create(trigger=Interval(every_seconds=10, max_runs=3))
    async with world.scheduler():
        await world.clock.reach(after(25))
        await world.update(task, trigger=Interval(every_seconds=20, max_runs=2))
        await world.clock.reach(after(200))
    assert [fact.occurrence.run for fact in world.facts(ExecutionStarted)] == [1, 2, 1, 2]
    assert world.names(task) == ["TaskCreated", "TaskUpdated", "TaskCompleted"]


async def test_an_update_of_the_rest_keeps_the_anchor_and_the_count() -> None:
    world = World()
    task = await world.create(trigger=Interval(every_seconds=10, max_runs=3))
    async with world.scheduler():
        await world.clock.reach(after(25))
        await world.update(task, trigger=Interval(every_seconds=10, max_runs=3), name="renamed")
        await world.clock.reach(after(200))
    assert [call.at for call in world.calls] == [after(10), after(20), after(30)]
    assert world.names(task) == ["TaskCreated", "TaskUpdated", "TaskCompleted"]


async def test_an_execution_that_outlives_a_change_of_the_rest_completes_its_task() -> None:
    world = World()
    world.caller.answers(503, 200)
    task = await world.create(trigger=Interval(every_seconds=10, max_runs=1), retry=PATIENT)
    async with world.scheduler():
        await world.clock.reach(after(11))
        await world.update(
            task, trigger=Interval(every_seconds=10, max_runs=1), name="renamed", retry=PATIENT
        )
        await world.clock.reach(after(200))
    assert world.names(task) == ["TaskCreated", "TaskUpdated", "TaskCompleted"]


async def test_a_run_by_the_trigger_before_does_not_end_the_new_schedule() -> None:
    world = World()
    world.caller.answers(503, 200)
    task = await world.create(trigger=Interval(every_seconds=10), retry=PATIENT)
    async with world.scheduler():
        await world.clock.reach(after(11))
        await world.update(task, trigger=Interval(every_seconds=100, max_runs=1))
        await world.clock.reach(after(100))
        assert world.names(task) == ["TaskCreated", "TaskUpdated"]
        await world.clock.reach(after(200))
    assert world.names(task) == ["TaskCreated", "TaskUpdated", "TaskCompleted"]


async def test_a_jittered_call_is_sent_at_its_own_instant_on_whatever_node() -> None:
    world = World()
    trigger = Interval(every_seconds=60, anchor=NOON, jitter_seconds=60)
    tasks = [await world.create(trigger=trigger) for _ in range(5)]
    async with world.scheduler(), world.scheduler("node-2"):
        await world.clock.reach(after(240))
    nominal = {
        execution_id(task, after(at), "scheduled"): (task, after(at)) for task in tasks for at in (60, 120)
    }
    sent = {call.execution_id: call.at for call in world.calls}
    assert {run: sent[run] for run in nominal} == {
        run: fires_at(trigger, task, due_at) for run, (task, due_at) in nominal.items()
    }
    assert world.facts(ExecutionSkipped) == []


async def test_a_jittered_task_beyond_the_window_is_called_when_its_time_comes() -> None:
    world = World()
    trigger = Cron(cron="5 12 * * *", jitter_seconds=3600)
    tasks = [await world.create(trigger=trigger) for _ in range(4)]
    expected = sorted(fires_at(trigger, task, after(300)) for task in tasks)
    assert expected[-1] > NOON + 2 * loader.WINDOW
    async with world.scheduler():
        await world.clock.reach(expected[-1])
    assert [call.at for call in world.calls] == expected


@pytest.mark.parametrize("delay", [0.0, 30.0])
async def test_pages_of_the_read_model_are_in_the_order_of_the_calls(
    delay: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader, "PAGE", 2)
    world = World()
    trigger = Interval(every_seconds=60, anchor=NOON, jitter_seconds=delay)
    tasks = [await world.create(trigger=trigger) for _ in range(7)]
    async with world.scheduler():
        await world.clock.reach(after(100))
    assert len(world.calls) == 7
    assert {call.at for call in world.calls} == {fires_at(trigger, task, after(60)) for task in tasks}
