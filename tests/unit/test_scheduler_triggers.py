"""Intervals, bounds and jitter through the whole scheduler."""

import pytest

from application.scheduler import loader
from domain.definition import Cron, Interval, RetryPolicy, Trigger
from domain.facts import ExecutionSkipped, ExecutionStarted, Outcome, TaskCompleted
from domain.identity import execution_id
from domain.schedule import fires_at
from tests.support.given import NOON, after
from tests.support.scheduler import World

PATIENT = RetryPolicy(initial_delay_seconds=20, max_delay_seconds=20)


ENDINGS: dict[str, tuple[Trigger, list[int], list[float], Outcome]] = {
    "after max_runs": (Interval(every_seconds=10, max_runs=3), [200], [10, 20, 30], "succeeded"),
    "with the last occurrence up to end_at":
        (Cron(cron="* * * * *", end_at=after(150)), [200, 404], [60, 120], "failed"),
}  # fmt: skip


@pytest.mark.parametrize(("trigger", "answers", "calls", "outcome"), ENDINGS.values(), ids=ENDINGS)
async def test_a_task_ends_by_its_last_occurrence(
    world: World, trigger: Trigger, answers: list[int], calls: list[float], outcome: Outcome
) -> None:
    world.caller.answers(*answers)
    task = await world.create(trigger=trigger)
    await world.run_until(300)
    assert [call.at for call in world.calls] == [after(second) for second in calls]
    assert world.names(task) == ["TaskCreated", "TaskCompleted"]
    [end] = world.facts(TaskCompleted)
    assert (end.outcome, end.execution_id) == (outcome, world.calls[-1].execution_id)


async def test_what_was_missed_takes_no_run_away(world: World) -> None:
    task = await world.create(trigger=Interval(every_seconds=10, max_runs=2))
    await world.clock.reach(after(45))
    await world.run_until(120)
    assert len(world.facts(ExecutionSkipped)) == 3
    assert [fact.occurrence.due_at for fact in world.facts(ExecutionStarted)] == [after(40), after(50)]
    assert world.names(task)[-1] == "TaskCompleted"


async def test_the_runs_of_a_task_are_counted_over_a_restart(world: World) -> None:
    task = await world.create(trigger=Interval(every_seconds=10, max_runs=4))
    await world.run_until(25)
    await world.run_until(120, "node-2")
    assert [fact.occurrence.run for fact in world.facts(ExecutionStarted)] == [1, 2, 3, 4]
    assert world.names(task) == ["TaskCreated", "TaskCompleted"]


async def test_an_earlier_execution_is_still_retried_when_the_last_one_has_completed_the_task(
    world: World,
) -> None:
    world.caller.answers(503, 200, 200)
    task = await world.create(trigger=Interval(every_seconds=1, max_runs=2), retry=PATIENT)
    await world.run_until(60)
    first = execution_id(task, after(1), "scheduled")
    assert world.names(first) == ["ExecutionStarted", "AttemptFailed", "AttemptStarted", "ExecutionSucceeded"]
    assert world.names(task) == ["TaskCreated", "TaskCompleted"]


async def test_a_new_trigger_counts_its_runs_anew(world: World) -> None:
    task = await world.create(trigger=Interval(every_seconds=10, max_runs=3))
    async with world.scheduler():
        await world.clock.reach(after(25))
        await world.update(task, trigger=Interval(every_seconds=20, max_runs=2))
        await world.clock.reach(after(200))
    assert [fact.occurrence.run for fact in world.facts(ExecutionStarted)] == [1, 2, 1, 2]
    assert world.names(task) == ["TaskCreated", "TaskUpdated", "TaskCompleted"]


async def test_an_execution_that_outlives_a_change_of_the_rest_completes_its_task(world: World) -> None:
    world.caller.answers(503, 200)
    task = await world.create(trigger=Interval(every_seconds=10, max_runs=1), retry=PATIENT)
    async with world.scheduler():
        await world.clock.reach(after(11))
        await world.update(
            task, trigger=Interval(every_seconds=10, max_runs=1), name="renamed", retry=PATIENT
        )
        await world.clock.reach(after(200))
    assert world.names(task) == ["TaskCreated", "TaskUpdated", "TaskCompleted"]


async def test_a_run_by_the_trigger_before_does_not_end_the_new_schedule(world: World) -> None:
    world.caller.answers(503, 200)
    task = await world.create(trigger=Interval(every_seconds=10), retry=PATIENT)
    async with world.scheduler():
        await world.clock.reach(after(11))
        await world.update(task, trigger=Interval(every_seconds=100, max_runs=1))
        await world.clock.reach(after(100))
        assert world.names(task) == ["TaskCreated", "TaskUpdated"]
        await world.clock.reach(after(200))
    assert world.names(task) == ["TaskCreated", "TaskUpdated", "TaskCompleted"]


async def test_a_jittered_call_is_sent_at_its_own_instant_on_whatever_node(world: World) -> None:
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


async def test_a_jittered_task_beyond_the_window_is_called_when_its_time_comes(world: World) -> None:
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
    await world.run_until(100)
    assert len(world.calls) == 7
    assert {call.at for call in world.calls} == {fires_at(trigger, task, after(60)) for task in tasks}
